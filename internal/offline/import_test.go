package offline_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const jwt = "eyJhbGciOiJIUzUxMiJ9.e30.c2ln"

// importKeys are those of an operator that seals with the first key.
func importKeys(t *testing.T, content string) offline.ImportKeys {
	t.Helper()
	return offline.ImportKeys{File: keyFile(t, content), Sessions: keyring(t, first)}
}

// TestTheSpecificationsToken decrypts a token of the Fernet specification (generate.json), as other software writes it.
func TestTheSpecificationsToken(t *testing.T) {
	const token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
	for name, tc := range map[string]struct{ keys, value, want, fails string }{
		"the key is the second one":       {"apps " + second + "\n\n# of the old store\napps\t" + first, token, "hello", ""},
		"what is not encrypted stays":     {"apps " + first, jwt, jwt, ""},
		"not encrypted and without a key": {"", jwt, jwt, ""},
		"no key":                          {"", token, "", `of namespace "apps" in --import-keys-file fits`},
		"no key fits":                     {"apps " + second, token, "", `of namespace "apps" in --import-keys-file fits`},
		"the key of another namespace":    {"other " + first, token, "", `of namespace "apps" in --import-keys-file fits`},
		"cut off":                         {"apps " + first, token[:40], "", `of namespace "apps" in --import-keys-file fits`},
	} {
		t.Run(name, func(t *testing.T) {
			k := offline.ImportKeys{File: keyFile(t, tc.keys)}
			got, err := k.Token(sensitive.New(tc.value), "apps")
			if got.Reveal() != tc.want || (err == nil) != (tc.fails == "") || err != nil && (!errors.Is(err, offline.ErrNoKey) || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("got %d characters, error %v", len(got.Reveal()), err)
			}
		})
	}
}

// TestStatesOfTheOperatorAreNoLogins, whoever has got hold of one, and whatever key decrypts it.
func TestStatesOfTheOperatorAreNoLogins(t *testing.T) {
	const state = `{"grant":"apps/notes","source":"s","refreshToken":"refresh-canary"}`
	now := sealed(t, keyring(t, first), offline.State{RefreshToken: sensitive.New("refresh-canary")}, grant)
	for name, tc := range map[string]struct {
		value string
		want  error
	}{
		"sealed":                                 {now, offline.ErrNotImported},
		"sealed by an older operator":            {encrypted(t, first, state), offline.ErrNoKey},
		"encrypted with an import key":           {encrypted(t, second, state), offline.ErrNotImported},
		"the same, of an operator without names": {encrypted(t, second, `{"source":"s","refreshToken":"refresh-canary"}`), offline.ErrNotImported},
		"the same, with a space before":          {encrypted(t, second, " "+state), offline.ErrNotImported},
		"sealed, then encrypted":                 {encrypted(t, second, now), offline.ErrNotImported},
		"encrypted twice":                        {encrypted(t, second, encrypted(t, first, state)), offline.ErrNotImported},
		"nothing, encrypted":                     {encrypted(t, second, ""), offline.ErrNotImported},
		"bytes":                                  {encrypted(t, second, "\x00\x01"), offline.ErrNotImported},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := importKeys(t, "apps "+second).Token(sensitive.New(tc.value), "apps")
			if !errors.Is(err, tc.want) || !got.IsZero() || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %d characters, error %v", len(got.Reveal()), err)
			}
		})
	}
}

func TestImportKeysThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct{ keys, want string }{
		"good":                       {"# old store\n\napps " + second + "\nother " + second, ""},
		"empty":                      {"", ""},
		"no namespace":               {second, "line 1 is invalid: want NAMESPACE KEY"},
		"no key":                     {"apps " + second + "\napps", "line 2 is invalid: want NAMESPACE KEY"},
		"the other way round":        {second + " apps", "line 1 is invalid: want NAMESPACE KEY"},
		"a path":                     {"../apps " + second, "line 1 is invalid: want NAMESPACE KEY"},
		"a password":                 {"apps horse", "line 1 holds no key"},
		"a key of sessions":          {"apps " + second + "\napps " + first, "the key of line 2 is in --encryption-keys-file, too"},
		"the same in other letters":  {"apps " + strings.NewReplacer("_", "/", "-", "+").Replace(first), "the key of line 1 is in --encryption-keys-file, too"},
		"the same without its end =": {"apps " + strings.TrimSuffix(first, "="), "the key of line 1 is in --encryption-keys-file, too"},
	} {
		t.Run(name, func(t *testing.T) {
			k := importKeys(t, tc.keys)
			_, err := k.Token(sensitive.New(encrypted(t, second, jwt)), "apps")
			for _, err := range []error{k.Check(), err} {
				switch {
				case tc.want == "" && err != nil && !errors.Is(err, offline.ErrNoKey), tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("error %v, want %q", err, tc.want)
				case err != nil && (strings.Contains(err.Error(), second[:9]) || strings.Contains(err.Error(), "horse")):
					t.Errorf("the error shows what stands in the file: %v", err)
				}
			}
		})
	}
	for name, k := range map[string]offline.ImportKeys{
		"no file named":        {},
		"a file not there yet": {File: filepath.Join(t.TempDir(), "none")},
	} {
		if err := k.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := k.Token(sensitive.New(encrypted(t, second, jwt)), "apps"); !errors.Is(err, offline.ErrNoKey) || !strings.Contains(err.Error(), "--import-keys-file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := offline.ImportKeys{File: keyFile(t, "apps "+second), Sessions: keyring(t, "horse")}
	if got, err := broken.Token(sensitive.New(encrypted(t, second, jwt)), "apps"); err == nil || !got.IsZero() {
		t.Error("decrypted, although the keys of sessions cannot be told")
	}
}
