package offline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// FuzzOpen: what is sealed comes back whole, to its own grant only; what was changed in any place does not come back at all.
func FuzzOpen(f *testing.F) {
	f.Add("apps", "notes", "3f2c", "source", "refresh-canary", 0, byte(1))
	f.Add("apps", "notes", "", "s\x00", "eyJ.\u2028", 40, byte('A'))
	f.Add("", "", "", "", "", 9999, byte(0))
	file := filepath.Join(f.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		f.Fatal(err)
	}
	k := offline.Keyring{File: file}
	f.Fuzz(func(t *testing.T, namespace, name, uid, source, refreshToken string, at int, change byte) {
		owner := offline.Grant{Namespace: namespace, Name: name, UID: uid}
		text := []byte(sealed(t, k, offline.State{Source: source, RefreshToken: sensitive.New(refreshToken)}, owner))
		if len(refreshToken) > 8 && strings.Contains(string(text), refreshToken) {
			t.Error("the sealed state can be read")
		}
		// JSON has no form for a text that is not UTF-8.
		if s, err := k.Open(text, owner); err != nil || utf8.ValidString(refreshToken) && s.RefreshToken.Reveal() != refreshToken {
			t.Errorf("opened %v, %v", s, err)
		}
		for _, other := range []offline.Grant{
			{Namespace: namespace + "x", Name: name, UID: uid},
			{Namespace: namespace, Name: name + "x", UID: uid},
			{Namespace: namespace, Name: name, UID: uid + "x"},
			{Namespace: namespace + name, UID: uid},
			{Namespace: namespace, Name: name + uid},
		} {
			if s, err := k.Open(text, other); other != owner && (!errors.Is(err, offline.ErrOtherGrant) || !s.Empty()) {
				t.Errorf("opened for another grant: %v, %v", s, err)
			}
		}
		at = int(uint(at) % uint(len(text)))
		if text[at] ^= change; change == 0 {
			text = text[:at]
		}
		if s, err := k.Open(text, owner); err == nil || !s.Empty() {
			t.Errorf("opened although byte %d of %d was changed", at, len(text))
		}
	})
}

// FuzzKeyring: whatever stands in the files of the keys and in a Secret, an error shows nothing of either, and no state
// comes out as a login.
func FuzzKeyring(f *testing.F) {
	const token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
	f.Add(first+"\n"+second, token)
	f.Add("apps "+first+"\n# another\napps "+second, token)
	f.Add("# a comment\n\n"+first[:43], "gAAAA")
	f.Add("correct horse battery staple", token[:40])
	f.Add(strings.Repeat("k", 70_000), "gAAAA"+strings.Repeat("=", 9))
	f.Add(second, "tokengrant.session.v1.")
	file := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, keys, value string) {
		if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		k, imports := offline.Keyring{File: file}, offline.ImportKeys{File: file}
		_, sealing := k.Seal(offline.State{}, grant)
		_, opening := k.Open([]byte(value), grant)
		got, importing := imports.Token(sensitive.New(value), "apps")
		for _, err := range []error{sealing, opening, importing, k.Check(), imports.Check()} {
			if err == nil {
				continue
			}
			for _, secret := range append(strings.Fields(keys), value) {
				if len(secret) > 15 && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows what it was given: %v", err)
				}
			}
		}
		if importing == nil && !strings.HasPrefix(value, "gAAAA") && got.Reveal() != value {
			t.Error("what is not encrypted was changed")
		}
		if importing == nil && (strings.HasPrefix(value, "tokengrant.session.") || strings.HasPrefix(value, "gAAAA") && strings.HasPrefix(got.Reveal(), "{")) {
			t.Error("a state was taken for a login")
		}
		if (sealing == nil) != (k.Check() == nil) && !errors.Is(sealing, offline.ErrNoKey) {
			t.Errorf("sealing %v, checking %v", sealing, k.Check())
		}
	})
}
