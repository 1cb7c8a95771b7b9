// Package offline seals what the operator keeps for a grant between two mints: the refresh token of a user's session, and
// app passwords until they are deleted. It also opens refresh tokens that other software has encrypted in its store.
//
// The keys of these two purposes are in two files, and no key may be in both: what a tenant writes into a login's Secret
// must never be decrypted with a key that seals sessions.
package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/fernet/fernet-go"
)

// Keyring is a file of the keys that seal sessions, one on each line: 32 random bytes as URL-safe base64. The first seals,
// all open. Empty lines, and lines that begin with #, are ignored. The file is read at each use, so that a mounted Secret
// can be changed without a restart.
type Keyring struct{ File string }

// ErrNoKey is the error where there is no key to seal with, or none that decrypts.
var ErrNoKey = errors.New("no encryption key")

const encryptionKeysFlag = "--encryption-keys-file"

// Check reports a file that exists and cannot be used. A file that does not exist yet is no error: nothing may need it.
func (k Keyring) Check() error {
	return unlessMissing(k.Ready())
}

// Ready reports why nothing can be sealed; ErrNoKey where the file has no key.
func (k Keyring) Ready() error {
	_, err := k.keys()
	return err
}

func unlessMissing(err error) error {
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	return err
}

func (k Keyring) keys() ([]*fernet.Key, error) {
	content, err := readKeys(k.File, encryptionKeysFlag)
	if err != nil {
		return nil, err
	}
	var keys []*fernet.Key
	for number, line := range lines(content) {
		key, err := decodeKey(line, encryptionKeysFlag, number)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: the file of %s is empty", ErrNoKey, encryptionKeysFlag)
	}
	return keys, nil
}

// readKeys reads the file of a flag.
func readKeys(file, flag string) ([]byte, error) {
	if file == "" {
		return nil, fmt.Errorf("%w: the operator was started without %s", ErrNoKey, flag)
	}
	content, err := os.ReadFile(file) //nolint:gosec // whoever starts the operator names the file
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: the file of %s does not exist", ErrNoKey, flag)
	case err != nil:
		return nil, fmt.Errorf("reading the file of %s: %w", flag, err)
	case len(content) > maxFile:
		return nil, fmt.Errorf("the file of %s is larger than %d KiB", flag, maxFile>>10)
	}
	return content, nil
}

// maxFile bounds a file of keys: the kubelet mounts no Secret that is larger.
const maxFile = 1 << 20

// lines gives the lines that hold something, each with its number.
func lines(content []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		scanner := bufio.NewScanner(bytes.NewReader(content))
		scanner.Buffer(nil, maxFile+1)
		for number := 1; scanner.Scan(); number++ {
			line := strings.TrimSpace(scanner.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if !yield(number, line) {
				return
			}
		}
	}
}

// decodeKey decodes one key. The error names the line, and nothing of its content.
func decodeKey(text, flag string, number int) (*fernet.Key, error) {
	if len(text) == 43 {
		text += "=" // Some tools leave the padding out.
	}
	key, err := fernet.DecodeKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: line %d holds no key: want 32 bytes as URL-safe base64 (44 characters)", flag, number)
	}
	return key, nil
}
