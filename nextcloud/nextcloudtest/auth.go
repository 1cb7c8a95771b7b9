package nextcloudtest

import (
	"net/http"
	"strings"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// session is who a request is.
type session struct {
	user User
	kind credential
	app  *appPassword // with kind credAppPassword
}

type credential int

const (
	credNone        credential = iota // no Authorization header
	credRefused                       // a bearer token that is nobody's
	credOIDC                          // a bearer token of the issuer
	credAppPassword                   // an app password, as Basic or as Bearer
	credPassword                      // Basic with the account's password

	// The next ones end a request before its endpoint is asked.
	credWrongBasic
	credDisabledBasic
	credThrottled
)

// identify reads the Authorization header. Only Basic is throttled and only Basic is challenged: a bearer token that is
// nobody's makes an anonymous request, which capabilities answers and cloud/user does not.
func (s *Server) identify(r *http.Request) session {
	header := r.Header.Get("Authorization")
	scheme, secret, _ := strings.Cut(header, " ")
	switch scheme {
	case "":
		return session{kind: credNone}
	case "Basic":
		return s.basic(r)
	case "Bearer", "bearer": // BEARER is not understood
		return s.bearer(r, sensitive.New(strings.TrimSpace(secret)))
	}
	return session{kind: credRefused}
}

func (s *Server) bearer(r *http.Request, secret sensitive.String) session {
	if id, ok := s.oidcUser(r.Context(), secret); ok {
		if u, ok := s.User(id); ok {
			return session{user: u, kind: credOIDC}
		}
	}
	if u, app, ok := s.state.appLogin(secret); ok && !u.Disabled {
		return session{user: u, kind: credAppPassword, app: app}
	}
	return session{kind: credRefused}
}

func (s *Server) basic(r *http.Request) session {
	address := client(r)
	if s.state.throttled(address) {
		return session{kind: credThrottled}
	}
	name, password, _ := r.BasicAuth()
	secret := sensitive.New(password)
	out := session{kind: credWrongBasic}
	if u, ok := s.User(name); ok && !u.Password.IsZero() && u.Password.Equal(secret) {
		out = session{user: u, kind: credPassword}
	} else if u, app, ok := s.state.appLogin(secret); ok && u.ID == name {
		out = session{user: u, kind: credAppPassword, app: app}
	}
	switch {
	case out.kind == credWrongBasic:
		s.state.failed(address)
	case out.user.Disabled:
		out.kind = credDisabledBasic
	default:
		s.state.succeeded(address)
	}
	return out
}

// loggedIn is true for OCS, which knows no disabled users. WebDAV of user_oidc 8.10.1 does not ask: see dav.
func (c session) loggedIn() bool {
	return (c.kind == credOIDC || c.kind == credAppPassword || c.kind == credPassword) && !c.user.Disabled
}
