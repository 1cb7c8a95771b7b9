package offline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"

	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	first  = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	second = "y9vVWQTMg1vFb2mFVvO8ZtXv8pJxvqfmX3n7m7lQxkE="
)

var grant = offline.Grant{Namespace: "apps", Name: "notes", UID: "3f2c"}

func keyring(t *testing.T, content string) offline.Keyring {
	t.Helper()
	return offline.Keyring{File: keyFile(t, content)}
}

func keyFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// encrypted is Fernet, as older operators and other software write it.
func encrypted(t *testing.T, key, plain string) string {
	t.Helper()
	token, err := fernet.EncryptAndSign([]byte(plain), fernet.MustDecodeKeys(key)[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

func sealed(t *testing.T, k offline.Keyring, s offline.State, g offline.Grant) string {
	t.Helper()
	text, err := k.Seal(s, g)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAStateComesBack(t *testing.T) {
	k := keyring(t, first+"\n")
	state := offline.State{Source: "s", RefreshToken: sensitive.New("refresh-canary")}
	text := sealed(t, k, state, grant)
	if strings.Contains(text, "refresh") || text == sealed(t, k, state, grant) {
		t.Errorf("sealed %s, and the same once more", text)
	}
	s, err := k.Open([]byte(text), grant)
	if err != nil || s.Source != "s" || s.RefreshToken.Reveal() != "refresh-canary" || offline.Outdated([]byte(text)) {
		t.Errorf("opened %v, error %v", s, err)
	}
	if _, err := k.Open([]byte("edited by hand"), grant); err == nil || errors.Is(err, offline.ErrNoKey) {
		t.Errorf("error %v: no key helps against an edit", err)
	}
}

// TestAStateOfLastYearComesBack opens what was sealed when the form was made.
func TestAStateOfLastYearComesBack(t *testing.T) {
	const text = "tokengrant.session.v1.kJGMGeFAv0bUxP5S64XJVILUYoXKbpwoKFKbqjyz-JEP6JkB0RdCa7pnOBPLAIOuoNd_hxN1LJ-zroxbxKPH8o2HRm_tXDjASdhCGXauNKQszw"
	s, err := keyring(t, first).Open([]byte(text), grant)
	if err != nil || s.RefreshToken.Reveal() != "refresh-canary" {
		t.Errorf("opened %v, error %v", s, err)
	}
}

func TestAStateIsOfOneGrant(t *testing.T) {
	k := keyring(t, first)
	for name, other := range map[string]offline.Grant{
		"another name":           {Namespace: "apps", Name: "other", UID: grant.UID},
		"another namespace":      {Namespace: "other", Name: "notes", UID: grant.UID},
		"made anew":              {Namespace: "apps", Name: "notes", UID: "9d1e"},
		"the border moved left":  {Namespace: "app", Name: "snotes", UID: grant.UID},
		"the border moved right": {Namespace: "apps", Name: "notes3", UID: "f2c"},
		"none":                   {},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]offline.Grant{{grant, other}, {other, grant}} {
				text := sealed(t, k, offline.State{RefreshToken: sensitive.New("refresh-canary")}, pair[0])
				s, err := k.Open([]byte(text), pair[1])
				if !errors.Is(err, offline.ErrOtherGrant) || errors.Is(err, offline.ErrNoKey) || !s.Empty() {
					t.Errorf("opened %v, error %v", s, err)
				}
			}
		})
	}
}

// TestOldStatesOpenForTheGrantTheyName and for no other; those that name none open for nobody.
func TestOldStatesOpenForTheGrantTheyName(t *testing.T) {
	const says = "it was not sealed for this TokenGrant"
	for name, tc := range map[string]struct{ plain, fails string }{
		"its own":                        {`{"grant":"apps/notes","source":"s","refreshToken":"refresh-canary"}`, ""},
		"another's":                      {`{"grant":"apps/other","source":"s","refreshToken":"refresh-canary"}`, says},
		"one of that name elsewhere":     {`{"grant":"other/notes","source":"s","refreshToken":"refresh-canary"}`, says},
		"of an operator that named none": {`{"source":"s","refreshToken":"refresh-canary"}`, says + ": an older operator sealed it for none"},
		"no state":                       {"eyJhbGciOiJIUzUxMiJ9.e30.c2ln", "no state of this operator"},
	} {
		t.Run(name, func(t *testing.T) {
			text := []byte(encrypted(t, first, tc.plain))
			s, err := keyring(t, second+"\n"+first).Open(text, grant)
			if !offline.Outdated(text) || (err == nil) != (tc.fails == "") || err != nil && (!strings.HasSuffix(err.Error(), tc.fails) || !s.Empty()) {
				t.Errorf("opened %v, error %v", s, err)
			}
			if err == nil && s.RefreshToken.Reveal() != "refresh-canary" {
				t.Errorf("opened %v", s)
			}
		})
	}
}

func TestKeysAreRotated(t *testing.T) {
	text := []byte(sealed(t, keyring(t, first), offline.State{Source: "s"}, grant))
	both := keyring(t, "# the new one first\n"+second+"\n\n"+strings.TrimSuffix(first, "=")+"\n")
	if _, err := both.Open(text, grant); err != nil {
		t.Errorf("error %v: want the old key to fit", err)
	}
	again := []byte(sealed(t, both, offline.State{Source: "s"}, grant))
	if _, err := keyring(t, second).Open(again, grant); err != nil {
		t.Errorf("error %v: want the new key to fit", err)
	}
	for _, lost := range [][]byte{text, []byte(encrypted(t, first, `{"grant":"apps/notes","source":"s"}`))} {
		if _, err := keyring(t, second).Open(lost, grant); !errors.Is(err, offline.ErrNoKey) || errors.Is(err, offline.ErrOtherGrant) {
			t.Errorf("error %v: want none of the keys to fit", err)
		}
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		keyring offline.Keyring
		want    string
		fault   bool // and not only missing
	}{
		"no file named":        {offline.Keyring{}, "without --encryption-keys-file", false},
		"a file not there yet": {offline.Keyring{File: filepath.Join(t.TempDir(), "none")}, "does not exist", false},
		"an empty file":        {keyring(t, "\n# nothing\n"), "is empty", false},
		"a key that is short":  {keyring(t, first+"\nc2hvcnQ=\n"), "line 2 holds no key", true},
		"a password":           {keyring(t, "correct horse battery staple"), "line 1 holds no key", true},
		"a line without end":   {keyring(t, strings.Repeat("k", 70_000)), "line 1 holds no key", true},
		"a disk":               {keyring(t, strings.Repeat(first+"\n", 30_000)), "larger than 1024 KiB", true},
		"a directory":          {offline.Keyring{File: t.TempDir()}, "reading the file of --encryption-keys-file", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.keyring.Seal(offline.State{}, grant)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "horse") {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if check := tc.keyring.Check(); (check != nil) != tc.fault {
				t.Errorf("checked: %v", check)
			}
		})
	}
}
