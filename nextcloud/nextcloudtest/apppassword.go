package nextcloudtest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	appPasswordLength = 72
	appPasswordRunes  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	// overlap is how long a rotated app password still works: Nextcloud caches it that long. Measured: right after
	// the rotation it works, 12 s later it does not, and deleting does not end it sooner.
	overlap = 10 * time.Second
)

type appPassword struct {
	user, name string
	secret     sensitive.String
}

// retiredSecret is a rotated app password during the overlap.
type retiredSecret struct {
	app   *appPassword
	until time.Time
}

func newSecret() sensitive.String {
	secret := make([]byte, 0, appPasswordLength)
	random := make([]byte, appPasswordLength)
	for len(secret) < appPasswordLength {
		_, _ = rand.Read(random) // never fails, see crypto/rand
		for _, b := range random {
			// The last bytes would favour the first runes: leave them out.
			if int(b) < 256/len(appPasswordRunes)*len(appPasswordRunes) && len(secret) < appPasswordLength {
				secret = append(secret, appPasswordRunes[int(b)%len(appPasswordRunes)])
			}
		}
	}
	return sensitive.New(string(secret))
}

func (s *state) addApp(user, name string) *appPassword {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := &appPassword{user: user, name: name, secret: newSecret()}
	s.apps = append(s.apps, app)
	return app
}

// appLogin finds the account of an app password.
func (s *state) appLogin(secret sensitive.String) (User, *appPassword, bool) {
	s.mu.Lock()
	var app *appPassword
	if i := slices.IndexFunc(s.apps, func(a *appPassword) bool { return a.secret.Equal(secret) }); i >= 0 {
		app = s.apps[i]
	} else if old, ok := s.retired[secret.Reveal()]; ok && s.clock.Now().Before(old.until) {
		app = old.app
	}
	s.mu.Unlock()
	if app == nil {
		return User{}, nil, false
	}
	u, ok := s.user(app.user)
	return u, app, ok
}

func (s *state) rotate(app *appPassword) sensitive.String {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired[app.secret.Reveal()] = retiredSecret{app, s.clock.Now().Add(overlap)}
	app.secret = newSecret()
	return app.secret
}

func (s *state) deleteApp(app *appPassword) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps = slices.DeleteFunc(s.apps, func(a *appPassword) bool { return a == app })
}

// AddAppPassword creates an app password as the user's settings page does.
func (s *Server) AddAppPassword(user, name string) sensitive.String {
	return s.state.addApp(user, name).secret
}

// AppPasswordNames lists a user's app passwords by name, the oldest first.
func (s *Server) AppPasswordNames(user string) []string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var names []string
	for _, a := range s.state.apps {
		if a.user == user {
			names = append(names, a.name)
		}
	}
	return names
}

// getAppPassword makes one from the account's password; the User-Agent becomes its name. Neither an app password nor,
// from 8.7 to 8.10, a bearer token makes one.
func (s *Server) getAppPassword(r *http.Request, who session) reply {
	switch who.kind {
	case credPassword:
		return ok(fields{"apppassword": s.state.addApp(who.user.ID, r.UserAgent()).secret.Reveal()})
	case credAppPassword:
		return refuse(http.StatusForbidden, "You cannot request an new apppassword with an apppassword")
	default:
		return refuse(http.StatusForbidden, "")
	}
}

func (s *Server) rotateAppPassword(_ *http.Request, who session) reply {
	if who.kind != credAppPassword {
		return refuse(http.StatusForbidden, "no app password in use")
	}
	return ok(fields{"apppassword": s.state.rotate(who.app).Reveal()})
}

func (s *Server) deleteAppPassword(_ *http.Request, who session) reply {
	if who.kind != credAppPassword {
		return refuse(http.StatusForbidden, "no app password in use")
	}
	s.state.deleteApp(who.app)
	return ok(nil)
}
