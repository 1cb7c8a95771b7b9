package offline

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fernet/fernet-go"
)

// Grant identifies the TokenGrant that a state is sealed for. A grant that is deleted and created again has another UID.
type Grant struct{ Namespace, Name, UID string }

// ErrOtherGrant is the error for a state that was not sealed for the grant that wants to open it. It does not name the
// other one: a copy must not tell whose it is.
var ErrOtherGrant = errors.New("it was not sealed for this TokenGrant")

// A sealed state is sealedPrefix and, in base64, the ID of the file's key, the nonce and the ciphertext of AES-256-GCM.
// The key is derived from the file's key by HKDF-SHA-256 (RFC 5869) for one grant; the grant is the associated data, too.
const (
	anyVersion   = "tokengrant.session."
	sealedPrefix = anyVersion + "v1."
	purpose      = "tokengrant session v1"
	idPurpose    = "tokengrant session v1: ID of a key"
	idSize       = 8
)

var encoding = base64.RawURLEncoding.Strict() // Each state has one form only.

// Seal encrypts a state for a grant, with the first key.
func (k Keyring) Seal(s State, g Grant) ([]byte, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	plain, err := s.marshal()
	if err != nil {
		return nil, err
	}
	aead, err := g.aead(keys[0])
	if err != nil {
		return nil, err
	}
	id, err := keyID(keys[0])
	if err != nil {
		return nil, err
	}
	return encoding.AppendEncode([]byte(sealedPrefix), aead.Seal(id, nil, plain, g.context())), nil //nolint:gosec // the AEAD makes a random nonce
}

// Open decrypts what was sealed for a grant. Of what an older operator has sealed, it opens what names the grant; see
// Outdated.
func (k Keyring) Open(sealed []byte, g Grant) (State, error) {
	if Outdated(sealed) {
		return k.openOutdated(sealed, g)
	}
	body, ok := bytes.CutPrefix(sealed, []byte(sealedPrefix))
	if !ok {
		return State{}, errors.New("it is not encrypted as this operator does")
	}
	body, err := encoding.AppendDecode(nil, body)
	if err != nil || len(body) < idSize {
		return State{}, errors.New("it was changed or cut off")
	}
	key, err := k.byID(body[:idSize])
	if err != nil {
		return State{}, err
	}
	aead, err := g.aead(key)
	if err != nil {
		return State{}, err
	}
	plain, err := aead.Open(nil, nil, body[idSize:], g.context())
	if err != nil {
		return State{}, fmt.Errorf("%w, or was changed since", ErrOtherGrant)
	}
	s, _, err := unmarshal(plain)
	return s, err
}

// context is what a state is bound to. Each part follows its length, so that no two grants have the same context.
func (g Grant) context() []byte {
	var c []byte
	for _, part := range []string{purpose, g.Namespace, g.Name, g.UID} {
		c = binary.BigEndian.AppendUint64(c, uint64(len(part)))
		c = append(c, part...)
	}
	return c
}

func (g Grant) aead(key *fernet.Key) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key[:], nil, string(g.context()), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// keyID tells the keys of a file apart, and nothing about them.
func keyID(key *fernet.Key) ([]byte, error) {
	return hkdf.Key(sha256.New, key[:], nil, idPurpose, idSize)
}

func (k Keyring) byID(id []byte) (*fernet.Key, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		own, err := keyID(key)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(own, id) {
			return key, nil
		}
	}
	return nil, errNoneFits
}

var errNoneFits = fmt.Errorf("%w of %s fits: add the one that was in use before", ErrNoKey, encryptionKeysFlag)

// fernetPrefix is how every Fernet token begins until the year 2106: its version, and the first bytes of its time.
const fernetPrefix = "gAAAA"

// Outdated reports whether something is in the form of an older operator: Fernet, with the file's key itself. It must be
// sealed again as soon as it was opened.
func Outdated(sealed []byte) bool { return bytes.HasPrefix(sealed, []byte(fernetPrefix)) }

// openOutdated refuses a state that names no grant: any grant's Secret could hold a copy of it.
func (k Keyring) openOutdated(sealed []byte, g Grant) (State, error) {
	keys, err := k.keys()
	if err != nil {
		return State{}, err
	}
	plain := fernet.VerifyAndDecrypt(sealed, -1, keys) // There is no age limit.
	if plain == nil {
		return State{}, errNoneFits
	}
	s, owner, err := unmarshal(plain)
	switch {
	case err != nil:
		return State{}, err
	case owner == "":
		return State{}, fmt.Errorf("%w: an older operator sealed it for none", ErrOtherGrant)
	case owner != g.Namespace+"/"+g.Name:
		return State{}, ErrOtherGrant
	}
	return s, nil
}

var errNoState = errors.New("what was decrypted is no state of this operator")

func unmarshal(plain []byte) (s State, owner string, err error) {
	var w wire
	if json.Unmarshal(plain, &w) != nil {
		return State{}, "", errNoState
	}
	return w.state(), w.Grant, nil
}
