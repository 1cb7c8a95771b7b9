package nextcloudtest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// User is an account.
type User struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Email       string `json:"email,omitempty"`
	// Backend is "Database" for a local account and "user_oidc" for one that a token created.
	Backend  string   `json:"backend"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
	// TwoFactor: a second factor is enforced.
	TwoFactor bool `json:"twoFactor"`
	// Password is for HTTP Basic; without one no password fits.
	Password sensitive.String `json:"-"`
}

// state is everything that changes, behind one mutex that is never held while a request to the issuer runs.
type state struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	settings Settings
	users    map[string]*User
	apps     []*appPassword
	retired  map[string]retiredSecret
	failures map[string][]time.Time
	counts   map[string]int
	files    map[string]map[string]*node
	lastFile int
	issuer   issuerCache
}

func (s *state) init(o Options) {
	s.clock = o.Clock
	s.settings = defaults(o)
	s.users = map[string]*User{}
	s.retired = map[string]retiredSecret{}
	s.failures = map[string][]time.Time{}
	s.counts = map[string]int{}
	s.files = map[string]map[string]*node{}
	for _, u := range o.Users {
		s.putUser(u)
	}
}

func (s *state) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// user returns a copy.
func (s *state) user(id string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[id]
	if !ok {
		return User{}, false
	}
	out := *u
	out.Groups = slices.Clone(u.Groups)
	return out, true
}

func (s *state) putUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Backend == "" {
		u.Backend = backendDatabase
	}
	if u.DisplayName == "" {
		u.DisplayName = u.ID
	}
	u.Groups = slices.Clone(u.Groups)
	s.users[u.ID] = &u
}

func (s *state) change(id string, f func(*User)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[id]
	if ok {
		f(u)
	}
	return ok
}

// groups lists every group there is; admin always is.
func (s *state) groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{groupAdmin: true}
	for _, u := range s.users {
		for _, g := range u.Groups {
			all[g] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (s *state) userIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.users))
}

const (
	backendDatabase = "Database"
	backendOIDC     = "user_oidc"
	groupAdmin      = "admin"
)

// endpoint is a path without the names in it, so that counts have a bounded number of keys.
func endpoint(path string) string {
	for _, dir := range []string{"/remote.php/dav/files/", "/remote.php/webdav/"} {
		if strings.HasPrefix(path, dir) {
			return dir
		}
	}
	for _, version := range []string{"v1", "v2"} {
		users := "/ocs/" + version + ".php/cloud/users/"
		if strings.HasPrefix(path, users) {
			return users + "{id}"
		}
	}
	return path
}

// PutUser adds an account, or replaces the one of that id.
func (s *Server) PutUser(u User) { s.state.putUser(u) }

// User returns the account as it is now.
func (s *Server) User(id string) (User, bool) { return s.state.user(id) }

// DisableUser is occ user:disable. It reports whether the account exists, as do the methods below.
func (s *Server) DisableUser(id string) bool {
	return s.state.change(id, func(u *User) { u.Disabled = true })
}

// EnableUser is occ user:enable.
func (s *Server) EnableUser(id string) bool {
	return s.state.change(id, func(u *User) { u.Disabled = false })
}

// AddToGroup is occ group:adduser.
func (s *Server) AddToGroup(id, group string) bool {
	return s.state.change(id, func(u *User) {
		if !slices.Contains(u.Groups, group) {
			u.Groups = append(u.Groups, group)
		}
	})
}

// RemoveFromGroup is occ group:removeuser.
func (s *Server) RemoveFromGroup(id, group string) bool {
	return s.state.change(id, func(u *User) {
		u.Groups = slices.DeleteFunc(u.Groups, func(g string) bool { return g == group })
	})
}

// Count says how often an endpoint was asked, such as "GET /ocs/v2.php/cloud/user", "PROPFIND /remote.php/dav/files/"
// or, at the issuer, "issuer discovery", "issuer jwks", "issuer userinfo".
func (s *Server) Count(endpoint string) int { return s.Counts()[endpoint] }

// Counts returns all counters.
func (s *Server) Counts() map[string]int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return maps.Clone(s.state.counts)
}
