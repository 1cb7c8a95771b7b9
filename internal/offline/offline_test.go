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

const (
	first  = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	grant  = "apps/notes"
	second = "y9vVWQTMg1vFb2mFVvO8ZtXv8pJxvqfmX3n7m7lQxkE="
)

func keyring(t *testing.T, content string) offline.Keyring {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return offline.Keyring{File: file}
}

func TestAStateComesBack(t *testing.T) {
	k := keyring(t, first+"\n")
	sealed, err := k.Seal(offline.State{Source: "s", RefreshToken: sensitive.New("refresh-canary")})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "refresh") {
		t.Error("the sealed state can be read")
	}
	s, err := k.Open(sealed, grant)
	if err != nil || s.Source != "s" || s.RefreshToken.Reveal() != "refresh-canary" {
		t.Errorf("opened %v, error %v", s, err)
	}
	if _, err := k.Open([]byte("edited by hand"), grant); err == nil || errors.Is(err, offline.ErrNoKey) {
		t.Errorf("error %v: no key helps against an edit", err)
	}
}

func TestAStateIsOfOneGrant(t *testing.T) {
	k := keyring(t, first)
	for name, tc := range map[string]struct{ sealedFor, want string }{
		"its own":                    {grant, ""},
		"another's":                  {"apps/other", "apps/other"},
		"one of that name elsewhere": {"other/notes", "other/notes"},
		"one of before":              {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, err := k.Seal(offline.State{Grant: tc.sealedFor, RefreshToken: sensitive.New("refresh-canary")})
			if err != nil {
				t.Fatal(err)
			}
			s, err := k.Open(sealed, grant)
			other, refused := errors.AsType[*offline.OtherGrantError](err)
			if refused != (tc.want != "") || refused && (other.Grant != tc.want || !s.Empty()) || !refused && s.Grant != tc.sealedFor {
				t.Errorf("opened %v, error %v", s, err)
			}
		})
	}
}

// TestTheSpecificationsToken decrypts a token of the Fernet specification (generate.json), as other software writes it.
func TestTheSpecificationsToken(t *testing.T) {
	const token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
	for name, tc := range map[string]struct{ keys, value, want, fails string }{
		"the key is the second one":       {second + "\n" + first, token, "hello", ""},
		"what is not encrypted stays":     {first, "eyJhbGciOiJIUzUxMiJ9.e30.c2ln", "eyJhbGciOiJIUzUxMiJ9.e30.c2ln", ""},
		"not encrypted and without a key": {"", "eyJhbGciOiJIUzUxMiJ9.e30.c2ln", "eyJhbGciOiJIUzUxMiJ9.e30.c2ln", ""},
		"no key fits":                     {second, token, "", "add the one that was in use before"},
		"cut off":                         {first, token[:40], "", "add the one that was in use before"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := keyring(t, tc.keys).Decrypt(sensitive.New(tc.value))
			if got.Reveal() != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("got %d characters, error %v", len(got.Reveal()), err)
			}
		})
	}
}

func TestKeysAreRotated(t *testing.T) {
	sealed, err := keyring(t, first).Seal(offline.State{Source: "s"})
	if err != nil {
		t.Fatal(err)
	}
	both := keyring(t, "# the new one first\n"+second+"\n\n"+strings.TrimSuffix(first, "=")+"\n")
	if _, err := both.Open(sealed, grant); err != nil {
		t.Errorf("error %v: want the old key to fit", err)
	}
	again, err := both.Seal(offline.State{Source: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyring(t, second).Open(again, grant); err != nil {
		t.Errorf("error %v: want the new key to fit", err)
	}
	if _, err := keyring(t, second).Open(sealed, grant); !errors.Is(err, offline.ErrNoKey) {
		t.Errorf("error %v: want none of the keys to fit", err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		keyring offline.Keyring
		want    string
		fault   bool // and not only missing
	}{
		"no file named":        {offline.Keyring{}, "without --encryption-keys-file", false},
		"a file not there yet": {offline.Keyring{File: filepath.Join(t.TempDir(), "none")}, "is not there", false},
		"an empty file":        {keyring(t, "\n# nothing\n"), "is empty", false},
		"a key that is short":  {keyring(t, first+"\nc2hvcnQ=\n"), "line 2 is no Fernet key", true},
		"a password":           {keyring(t, "correct horse battery staple"), "line 1 is no Fernet key", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.keyring.Seal(offline.State{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "horse") {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if check := tc.keyring.Check(); (check != nil) != tc.fault {
				t.Errorf("checked: %v", check)
			}
		})
	}
}
