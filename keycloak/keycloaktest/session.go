package keycloaktest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"
)

// idle is how long a session lives that nobody uses: the default of a realm.
const idle = 30 * time.Minute

// session is a user's session with one client.
type session struct {
	id, username, clientID string
	scopes                 []string
	offline                bool

	// Refresh tokens are numbered. current is the newest that was used, and how often.
	issued, current, uses int
	// detached is what is left of a session whose refresh token was used too often.
	detached bool
}

// SetUser adds a user, enabled or not. The user alice is there from the start.
func (s *Server) SetUser(name string, enabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[name] = enabled
}

// OfflineToken returns an offline token of a user, as a login at the client with the scope offline_access brings it.
func (s *Server) OfflineToken(clientID, username string) string {
	return s.refreshToken(s.open(clientID, username, []string{"offline_access"}, true))
}

// SetRotation sets the realm's "Revoke Refresh Token" and "Refresh Token Max Reuse".
func (s *Server) SetRotation(revoke bool, maxReuse int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotates, s.maxReuse = revoke, maxReuse
}

// Sessions counts the sessions of a user that are no offline sessions.
func (s *Server) Sessions(username string) int { return s.countSessions(username, false) }

// OfflineSessions counts the offline sessions of a user.
func (s *Server) OfflineSessions(username string) int { return s.countSessions(username, true) }

func (s *Server) countSessions(username string, offline bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, open := range s.sessions {
		if open.username == username && open.offline == offline && !open.detached {
			n++
		}
	}
	return n
}

// EndSessions ends all sessions of a user, as an administrator does.
func (s *Server) EndSessions(username string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, open := range s.sessions {
		if open.username == username {
			delete(s.sessions, id)
		}
	}
}

func (s *Server) open(clientID, username string, scopes []string, offline bool) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	opened := &session{id: rand.Text(), username: username, clientID: clientID, scopes: scopes, offline: offline}
	s.sessions[opened.id] = opened
	return opened
}

// refreshToken issues the next refresh token of a session.
func (s *Server) refreshToken(of *session) string {
	s.mu.Lock()
	of.issued++
	claims := map[string]any{
		"iat": s.now().Unix(), "jti": rand.Text(), "iss": s.URL, "aud": s.URL, "sub": subjectOf(of.username), "typ": "Refresh",
		"azp": of.clientID, "sid": of.id, "scope": scopeOf(of.scopes), "number": of.issued,
	}
	if of.offline {
		claims["typ"] = "Offline"
	} else {
		claims["exp"] = s.now().Add(idle).Unix()
	}
	s.mu.Unlock()
	return s.Sign(claims)
}

// refresh answers the refresh token grant.
func (s *Server) refresh(c Client, req Request, fields map[string]any) (map[string]any, *refusal) {
	current, number, no := s.sessionOf(c, req.Form.Get("refresh_token"))
	if no != nil {
		return nil, no
	}
	available, no := c.available(slices.DeleteFunc(slices.Clone(req.Scopes), func(scope string) bool { return scope == "offline_access" }))
	if no != nil {
		return nil, no
	}
	if no := s.use(current, number); no != nil {
		return nil, no
	}
	s.describe(current, fields)
	return s.userClaims(c, current, append(available, "account")), nil
}

// sessionOf finds the session of a refresh token, and the token's number in it.
func (s *Server) sessionOf(c Client, token string) (*session, int, *refusal) {
	claims, err := verified(token, s.Keys().Keys)
	offline := claims["typ"] == "Offline"
	switch {
	case err != nil || !offline && claims["typ"] != "Refresh":
		return nil, 0, bad("invalid_grant", "Invalid refresh token")
	case claims["azp"] != c.ID:
		return nil, 0, bad("invalid_grant", "Invalid refresh token. Token client and authorized client don't match")
	}
	sid, _ := claims["sid"].(string)
	number, _ := claims["number"].(float64)
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.sessions[sid]
	switch {
	case found == nil && offline:
		return nil, 0, bad("invalid_grant", "Offline user session not found")
	case found == nil:
		return nil, 0, bad("invalid_grant", "Session not active")
	case !s.users[found.username]:
		return nil, 0, bad("invalid_grant", "User disabled")
	case found.detached:
		return nil, 0, bad("invalid_grant", "Session doesn't have required client")
	}
	return found, int(number), nil
}

// use counts the uses of a refresh token where the realm rotates them. One too many ends the session.
func (s *Server) use(of *session, number int) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.rotates {
		return nil
	}
	if number > of.current {
		of.current, of.uses = number, 0
	}
	of.uses++
	if number < of.current || of.uses > s.maxReuse+1 {
		of.detached = true
		return bad("invalid_grant", "Maximum allowed refresh token reuse exceeded")
	}
	return nil
}

// describe adds a session to an answer.
func (s *Server) describe(of *session, fields map[string]any) {
	fields["refresh_token"], fields["session_state"] = s.refreshToken(of), of.id
	if !of.offline {
		fields["refresh_expires_in"] = int64(idle / time.Second)
	}
}

func (s *Server) userClaims(c Client, of *session, audience []string) map[string]any {
	claims := s.Claims(of.username, c.ID, audience...)
	claims["sid"], claims["scope"] = of.id, scopeOf(of.scopes)
	return claims
}

// isRevoked reports whether an access token was revoked or its session has ended.
func (s *Server) isRevoked(claims map[string]any) bool {
	jti, _ := claims["jti"].(string)
	sid, ofSession := claims["sid"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked[jti] || ofSession && s.sessions[sid] == nil
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request, _ Answer) {
	req, secret, ok := s.receive(w, r)
	if !ok {
		return
	}
	c, no := s.authenticate(r, req, secret)
	if no == nil {
		no = s.end(c, req.Form.Get("refresh_token"))
	}
	if no != nil {
		no.write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// end ends the session of a refresh token. One that has ended already is no error.
func (s *Server) end(c Client, token string) *refusal {
	claims, err := verified(token, s.Keys().Keys)
	switch {
	case err != nil:
		return bad("invalid_grant", "Invalid refresh token")
	case claims["azp"] != c.ID:
		return bad("invalid_grant", "Invalid refresh token. Token client and authorized client don't match")
	}
	sid, _ := claims["sid"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sid)
	return nil
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request, _ Answer) {
	req, secret, ok := s.receive(w, r)
	if !ok {
		return
	}
	c, no := s.authenticate(r, req, secret)
	if no != nil {
		no.write(w)
		return
	}
	token := req.Form.Get("token")
	claims, err := verified(token, s.Keys().Keys)
	switch {
	case err != nil:
		writeJSON(w, http.StatusOK, map[string]any{"error": "invalid_token", "error_description": "Invalid token"})
		return
	case claims["azp"] != c.ID:
		bad("invalid_request", "Unmatching clients").write(w)
		return
	case claims["typ"] != "Bearer":
		_ = s.end(c, token)
	}
	jti, _ := claims["jti"].(string)
	s.mu.Lock()
	s.revoked[jti] = true
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// Revoked reports whether an access token of the server was revoked, or its session has ended.
func (s *Server) Revoked(token string) bool {
	_, claims, err := unverified(token)
	return err == nil && s.isRevoked(claims)
}
