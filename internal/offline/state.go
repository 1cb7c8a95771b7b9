package offline

import (
	"encoding/json"
	"errors"

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
	// Grant is NAMESPACE/NAME in a state that an older operator sealed. It is empty in older ones, and in newer ones, which
	// are bound to their grant by their key.
	Grant        string `json:"grant,omitempty"`
	Source       string `json:"source"`
	RefreshToken string `json:"refreshToken,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	ClientID     string `json:"clientID,omitempty"`
	User         string `json:"user,omitempty"`

	AppPasswords []wireAppPassword `json:"appPasswords,omitempty"`
	Login        *Login            `json:"login,omitempty"`
}

func (s State) marshal() ([]byte, error) {
	plain, err := json.Marshal(wire{"", s.Source, s.RefreshToken.Reveal(), s.Issuer, s.ClientID, s.User, toWire(s.AppPasswords), s.Login}) //nolint:gosec // the caller encrypts it
	if err != nil {
		return nil, errors.New("a state without a JSON form") // The cause could quote it.
	}
	return plain, nil
}

func (w wire) state() State {
	return State{w.Source, sensitive.New(w.RefreshToken), w.Issuer, w.ClientID, w.User, fromWire(w.AppPasswords), w.Login}
}
