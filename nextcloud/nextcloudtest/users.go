package nextcloudtest

import (
	"net/http"
	"slices"
	"strings"
)

// version is what the stand-in claims to be.
const version = "31.0.6"

func (s *Server) currentUser(_ *http.Request, who session) reply { return ok(userFields(who.user)) }

func userFields(u User) fields {
	groups := u.Groups
	if groups == nil {
		groups = []string{}
	}
	var email any
	if u.Email != "" {
		email = u.Email
	}
	return fields{
		"id": u.ID, "displayname": u.DisplayName, "display-name": u.DisplayName, "email": email,
		"enabled": !u.Disabled, "groups": groups, "subadmin": []string{}, "backend": u.Backend, "language": "en",
		"quota": fields{"free": -3, "used": 0, "total": -3, "relative": 0, "quota": -3},
	}
}

func isAdmin(u User) bool { return slices.Contains(u.Groups, groupAdmin) }

var adminOnly = refuse(http.StatusForbidden, "Logged in account must be at least a sub admin")

func (s *Server) listUsers(_ *http.Request, who session) reply {
	if !isAdmin(who.user) {
		return adminOnly
	}
	return ok(fields{"users": s.state.userIDs()})
}

func (s *Server) listGroups(_ *http.Request, who session) reply {
	if !isAdmin(who.user) {
		return adminOnly
	}
	return ok(fields{"groups": s.state.groups()})
}

// oneUser: others than admins see themselves only, and get no message with the 404.
func (s *Server) oneUser(r *http.Request, who session) reply {
	id := strings.TrimPrefix(ocsPath(r), usersPath)
	u, found := s.User(id)
	switch {
	case !isAdmin(who.user) && id != who.user.ID:
		return refuse(codeNotFound, "")
	case !found:
		return refuse(http.StatusNotFound, "User does not exist")
	}
	return ok(userFields(u))
}

// capabilities answers anybody; a login only adds to the answer. It proves nothing about a token.
func (s *Server) capabilities(r *http.Request, who session) reply {
	delay := s.state.delay(client(r)).Milliseconds()
	if who.loggedIn() {
		delay = 0 // as recorded, even at an address that is throttled
	}
	what := fields{
		"bruteforce": fields{"delay": delay, "allow-listed": false},
		"theming":    fields{"name": "Nextcloud"},
	}
	if who.loggedIn() {
		what["core"] = fields{"pollinterval": 60, "webdav-root": "remote.php/webdav"}
		what["dav"] = fields{"chunking": "1.0"}
	}
	return ok(fields{
		"version":      fields{"major": 31, "minor": 0, "micro": 6, "string": version, "edition": "", "extendedSupport": false},
		"capabilities": what,
	})
}
