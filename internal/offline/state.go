package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fernet/fernet-go"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// State is what is kept for one grant.
type State struct {
	// Grant is NAMESPACE/NAME of the grant that it is kept for. One key encrypts for all namespaces: without this, who can
	// write Secrets in one of them could have a copy of another's session opened there. It is empty in states that an older
	// operator sealed; whoever opens one seals it anew.
	Grant string
	// Source names what the session was opened from. A session of another source is not used.
	Source string
	// RefreshToken is the newest one of the session.
	RefreshToken sensitive.String
	// Issuer and ClientID say to whom, and by whom, that may be shown.
	Issuer, ClientID string
	// User is as whom the client acts in the session; empty where the user has logged in.
	User string

	// AppPasswords that are not deleted at their Nextcloud yet, the newest last.
	AppPasswords []AppPassword
	// Login is the latest try to make one, unless that succeeded.
	Login *Login
}

// Empty says that there is nothing to lose.
func (s State) Empty() bool {
	return s.RefreshToken.IsZero() && len(s.AppPasswords) == 0 && s.Login == nil
}

// wire is how a State looks before it is encrypted.
type wire struct {
	Grant        string `json:"grant,omitempty"`
	Source       string `json:"source"`
	RefreshToken string `json:"refreshToken,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	ClientID     string `json:"clientID,omitempty"`
	User         string `json:"user,omitempty"`

	AppPasswords []wireAppPassword `json:"appPasswords,omitempty"`
	Login        *Login            `json:"login,omitempty"`
}

// Seal encrypts a state with the first key.
func (k Keyring) Seal(s State) ([]byte, error) {
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(wire{s.Grant, s.Source, s.RefreshToken.Reveal(), s.Issuer, s.ClientID, s.User, toWire(s.AppPasswords), s.Login}) //nolint:gosec // it is encrypted right below
	if err != nil {
		return nil, errors.New("a state without a JSON form") // The cause could quote it.
	}
	sealed, err := fernet.EncryptAndSign(plain, keys[0])
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return sealed, nil
}

// OtherGrantError says that a state is kept for another grant than the one it was opened for.
type OtherGrantError struct{ Grant string }

func (e *OtherGrantError) Error() string { return "it is the session of TokenGrant " + e.Grant }

// Open decrypts a state of a grant, NAMESPACE/NAME, with whichever key fits.
func (k Keyring) Open(sealed []byte, grant string) (State, error) {
	plain, err := k.decrypt(sealed)
	if err != nil {
		return State{}, err
	}
	var w wire
	if json.Unmarshal(plain, &w) != nil {
		return State{}, errors.New("what was decrypted is no state of this operator")
	}
	if w.Grant != "" && w.Grant != grant {
		return State{}, &OtherGrantError{w.Grant}
	}
	return State{w.Grant, w.Source, sensitive.New(w.RefreshToken), w.Issuer, w.ClientID, w.User, fromWire(w.AppPasswords), w.Login}, nil
}

// Decrypt gives the text that other software encrypted with one of the keys, as older set-ups keep refresh tokens. What
// is not encrypted is given back as it is.
func (k Keyring) Decrypt(value sensitive.String) (sensitive.String, error) {
	if !strings.HasPrefix(value.Reveal(), fernetPrefix) {
		return value, nil
	}
	plain, err := k.decrypt([]byte(value.Reveal()))
	return sensitive.New(string(plain)), err
}

// fernetPrefix is how every Fernet token begins until the year 2106: its version, and the first bytes of its time.
const fernetPrefix = "gAAAA"

func (k Keyring) decrypt(sealed []byte) ([]byte, error) {
	if !bytes.HasPrefix(sealed, []byte(fernetPrefix)) {
		return nil, errors.New("it is not encrypted as this operator does")
	}
	keys, err := k.keys()
	if err != nil {
		return nil, err
	}
	if plain := fernet.VerifyAndDecrypt(sealed, -1, keys); plain != nil { // There is no age limit.
		return plain, nil
	}
	return nil, fmt.Errorf("%w of --encryption-keys-file fits: add the one that was in use before", ErrNoKey)
}
