// Package offline encrypts what the operator keeps for a grant between two mints: the refresh token of a user's session,
// and app passwords on their way out. It is Fernet (AES-128-CBC with HMAC-SHA-256) with keys from a file, so that the
// Secret that holds it tells nothing to whoever can read Secrets or a backup of etcd, and so that the
// TOKEN_ENCRYPTION_KEY of older set-ups goes on working.
package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/fernet/fernet-go"
)

// Keyring is a file of Fernet keys, one on each line: 32 bytes as url-safe base64. The first encrypts, all decrypt.
// Empty lines, and lines that begin with #, are left out. The file is read at each use, so that a mounted Secret can
// be changed without a restart.
type Keyring struct{ File string }

// ErrNoKey is the error where there is no key to encrypt with, or none that decrypts.
var ErrNoKey = errors.New("no encryption key")

// Check reports a file that is there and cannot be used. One that is not there yet is no fault: nothing may need it.
func (k Keyring) Check() error {
	if _, err := k.keys(); err != nil && !errors.Is(err, ErrNoKey) {
		return err
	}
	return nil
}

func (k Keyring) keys() ([]*fernet.Key, error) {
	if k.File == "" {
		return nil, fmt.Errorf("%w: the operator was started without --encryption-keys-file", ErrNoKey)
	}
	content, err := os.ReadFile(k.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the file of --encryption-keys-file is not there", ErrNoKey)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the file of --encryption-keys-file: %w", err)
	}
	keys, err := parse(content)
	if err == nil && len(keys) == 0 {
		return nil, fmt.Errorf("%w: the file of --encryption-keys-file is empty", ErrNoKey)
	}
	return keys, err
}

// parse reads the lines of a file. Its errors name the line, and nothing of what stands in it.
func parse(content []byte) ([]*fernet.Key, error) {
	var keys []*fernet.Key
	lines := bufio.NewScanner(bytes.NewReader(content))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := fernet.DecodeKey(padded(line))
		if err != nil {
			return nil, fmt.Errorf("--encryption-keys-file: line %d is no Fernet key: it must be 32 bytes as url-safe base64 (44 characters)", number)
		}
		keys = append(keys, key)
	}
	if lines.Err() != nil {
		return nil, errors.New("--encryption-keys-file: a line is too long for a key")
	}
	return keys, nil
}

// padded adds the = that some tools leave out.
func padded(key string) string {
	if len(key) == 43 {
		return key + "="
	}
	return key
}
