package offline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fernet/fernet-go"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// ImportKeys is a file of the Fernet keys by which other software has encrypted the refresh tokens in its store, one on
// each line after the namespace whose logins it decrypts: "NAMESPACE KEY". Empty lines, and lines that begin with #, are
// ignored. The file is read at each use.
type ImportKeys struct {
	File string
	// Sessions has the keys that are refused here. A key has one purpose: with one of both, a tenant could have a copy of
	// another's session decrypted as a login.
	Sessions Keyring
}

const importKeysFlag = "--import-keys-file"

// ErrNotImported is the error for a login that is no refresh token of other software.
var ErrNotImported = errors.New("it is no refresh token")

// Check reports a file that exists and cannot be used.
func (k ImportKeys) Check() error {
	if k.File == "" {
		return nil
	}
	_, err := k.keys("")
	return unlessMissing(err)
}

// keys gives those of a namespace, and checks all.
func (k ImportKeys) keys(namespace string) ([]*fernet.Key, error) {
	content, err := readKeys(k.File, importKeysFlag)
	if err != nil {
		return nil, err
	}
	sessions, err := k.Sessions.keys()
	if unlessMissing(err) != nil {
		return nil, err
	}
	var keys []*fernet.Key
	for number, line := range lines(content) {
		fields := strings.Fields(line)
		if len(fields) != 2 || len(validation.IsDNS1123Label(fields[0])) > 0 {
			return nil, fmt.Errorf("%s: line %d is invalid: want NAMESPACE KEY", importKeysFlag, number)
		}
		key, err := decodeKey(fields[1], importKeysFlag, number)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(sessions, func(s *fernet.Key) bool { return *s == *key }) {
			return nil, fmt.Errorf("%s: the key of line %d is in %s, too: a key has one purpose; take it out of one of the files", importKeysFlag, number, encryptionKeysFlag)
		}
		if fields[0] == namespace {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Token gives the refresh token in a login of a namespace: decrypted where it is Fernet, else as it is. States of this
// operator are refused, whatever key they were encrypted with. ErrNoKey is the error where no key of the namespace fits.
func (k ImportKeys) Token(login sensitive.String, namespace string) (sensitive.String, error) {
	value := login.Reveal()
	switch {
	case strings.HasPrefix(value, anyVersion):
		return sensitive.String{}, fmt.Errorf("%w, but a sealed session of this operator", ErrNotImported)
	case !strings.HasPrefix(value, fernetPrefix):
		return login, nil
	}
	keys, err := k.keys(namespace)
	if err != nil {
		return sensitive.String{}, err
	}
	plain := fernet.VerifyAndDecrypt([]byte(value), -1, keys) // There is no age limit.
	switch {
	case plain == nil:
		return sensitive.String{}, fmt.Errorf("%w of namespace %q in %s fits", ErrNoKey, namespace, importKeysFlag)
	case !isRefreshToken(string(plain)):
		return sensitive.String{}, fmt.Errorf("%w that was encrypted", ErrNotImported)
	}
	return sensitive.New(string(plain)), nil
}

// isRefreshToken reports whether a text can be one: printable ASCII (RFC 6749, A.17). A state of this operator, in any of
// its forms, is none.
func isRefreshToken(text string) bool {
	printable := func(r rune) bool { return r >= '!' && r <= '~' }
	return text != "" && !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, anyVersion) && !strings.HasPrefix(text, fernetPrefix) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !printable(r) })
}
