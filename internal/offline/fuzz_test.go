package offline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// FuzzOpen: what is sealed comes back whole, to its own grant only; what was changed in any place does not come back at all.
func FuzzOpen(f *testing.F) {
	f.Add("apps/notes", "source", "refresh-canary", 0, byte(1))
	f.Add("apps/notes", "s\x00", "eyJ.\u2028", 40, byte('A'))
	f.Add("", "", "", 9999, byte(0))
	file := filepath.Join(f.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		f.Fatal(err)
	}
	k := offline.Keyring{File: file}
	f.Fuzz(func(t *testing.T, owner, source, refreshToken string, at int, change byte) {
		want := offline.State{Grant: owner, Source: source, RefreshToken: sensitive.New(refreshToken)}
		sealed, err := k.Seal(want)
		if err != nil {
			t.Fatal(err)
		}
		if len(refreshToken) > 8 && strings.Contains(string(sealed), refreshToken) {
			t.Error("the sealed state can be read")
		}
		same := func(s offline.State) bool {
			valid := func(text string) string { return strings.ToValidUTF8(text, "\ufffd") } // as JSON writes text that is none
			return valid(s.RefreshToken.Reveal()) == valid(refreshToken) || strings.ToValidUTF8(refreshToken, "") != refreshToken
		}
		if s, err := k.Open(sealed, owner); owner == strings.ToValidUTF8(owner, "") && (err != nil || !same(s)) {
			t.Errorf("opened %v, %v", s, err)
		}
		if s, err := k.Open(sealed, owner+"x"); owner != "" && (err == nil || !s.Empty()) {
			t.Errorf("opened for another grant: %v", s)
		}
		at = int(uint(at) % uint(len(sealed)))
		if sealed[at] ^= change; change == 0 {
			sealed = sealed[:at]
		}
		// The last characters of base64 have bits that mean nothing.
		if s, err := k.Open(sealed, owner); err == nil && (!same(s) || at < len(sealed)-4) {
			t.Errorf("opened although byte %d of %d was changed", at, len(sealed))
		}
	})
}

// FuzzKeyring: whatever stands in the file of the keys and in a Secret, an error shows nothing of either.
func FuzzKeyring(f *testing.F) {
	const token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
	f.Add(first+"\n"+second, token)
	f.Add("# a comment\n\n"+first[:43], "gAAAA")
	f.Add("correct horse battery staple", token[:40])
	f.Add(strings.Repeat("k", 70_000), "gAAAA"+strings.Repeat("=", 9))
	file := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, keys, value string) {
		if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		k := offline.Keyring{File: file}
		_, sealing := k.Seal(offline.State{})
		_, opening := k.Open([]byte(value), grant)
		got, decrypting := k.Decrypt(sensitive.New(value))
		for _, err := range []error{sealing, opening, decrypting, k.Check()} {
			if err == nil {
				continue
			}
			for _, secret := range append(strings.Fields(keys), value) {
				if len(secret) > 15 && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows what it was given: %v", err)
				}
			}
		}
		if decrypting == nil && !strings.HasPrefix(value, "gAAAA") && got.Reveal() != value {
			t.Error("what is not encrypted was changed")
		}
		if (sealing == nil) != (k.Check() == nil) && !errors.Is(sealing, offline.ErrNoKey) {
			t.Errorf("sealing %v, checking %v", sealing, k.Check())
		}
	})
}
