package offline

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fernet/fernet-go"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// State is what is kept for one grant.
type State struct {
	// Source names what the session was opened from. A session of another source is not used.
	Source string
	// RefreshToken is the newest one of the session.
	RefreshToken sensitive.String
	// Issuer and ClientID say to whom, and by whom, that may be shown.
	Issuer, ClientID string
	// User is as whom the client acts in the session; empty where the user has logged in.
	User string
}

// wire is how a State looks before it is encrypted.
type wire struct {
	Source       string `json:"source"`
	RefreshToken string `json:"refreshToken,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	ClientID     string `json:"clientID,omitempty"`
	User         string `json:"user,omitempty"`
}

// Seal encrypts a state with the first key.
func (k Keyring) Seal(s State) ([]byte, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(wire{s.Source, s.RefreshToken.Reveal(), s.Issuer, s.ClientID, s.User}) //nolint:gosec // it is encrypted right below
	if err != nil {
		return nil, errors.New("a state without a JSON form") // The cause could quote it.
	}
	sealed, err := fernet.EncryptAndSign(plain, keys[0])
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return sealed, nil
}

// Open decrypts a state with whichever key fits. aged says that it was not the first one, so that the state should be
// sealed again before that key is taken away.
func (k Keyring) Open(sealed []byte) (s State, aged bool, err error) {
	keys, err := k.keys()
	if err != nil {
		return State{}, false, err
	}
	for i, key := range keys {
		plain := fernet.VerifyAndDecrypt(sealed, -1, []*fernet.Key{key}) // A state has no age limit.
		if plain == nil {
			continue
		}
		var w wire
		if json.Unmarshal(plain, &w) != nil {
			return State{}, false, errors.New("what was decrypted is no state of this operator")
		}
		return State{w.Source, sensitive.New(w.RefreshToken), w.Issuer, w.ClientID, w.User}, i > 0, nil
	}
	return State{}, false, fmt.Errorf("%w of --encryption-keys-file fits: add the one that was in use before", ErrNoKey)
}
