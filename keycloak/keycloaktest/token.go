package keycloaktest

import (
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	// defaultScopes is what Keycloak's built-in default client scopes show in scope.
	defaultScopes = "profile email"
)

// Client is an OAuth client of the realm. Its zero flags make a working requester.
type Client struct {
	ID, Secret string
	// Audience is available through the client's default client scopes.
	Audience []string
	// OptionalScopes maps each optional client scope to the audiences it makes available.
	OptionalScopes map[string][]string
	// Lifespan of its tokens; the server's when zero.
	Lifespan time.Duration

	Disabled         bool
	NoServiceAccount bool
	NoExchange       bool
}

// Request is a request that reached the token endpoint.
type Request struct {
	GrantType string
	ClientID  string
	// AuthStyle is how the client authenticated: basic, post or none.
	AuthStyle string
	Audience  []string
	Scopes    []string
	// Form is everything that was sent in the body.
	Form url.Values
	// At is the server's time.
	At time.Time
}

// Client adds a client that has a service account and may exchange its tokens for nextcloud.
func (s *Server) Client(id, secret string) Client {
	c := Client{ID: id, Secret: secret, Audience: []string{"nextcloud"}}
	s.SetClient(c)
	return c
}

// SetClient adds a client or replaces the one with its ID. The client nextcloud is there from the start.
func (s *Server) SetClient(c Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

func (s *Server) client(id string) (Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok
}

// Claims returns the claims of an access token of a user as Keycloak makes them, issued now to client azp.
// One audience becomes a string, more an array, none no claim.
func (s *Server) Claims(username, azp string, audience ...string) map[string]any {
	now := s.now()
	claims := map[string]any{
		"exp": now.Add(s.lifespanOf(azp)).Unix(), "iat": now.Unix(), "jti": "trrtcc:" + rand.Text(), "iss": s.URL,
		"sub": subjectOf(username), "typ": "Bearer", "azp": azp, "acr": "1",
		"realm_access":    map[string]any{"roles": []string{"offline_access", "default-roles-tokengrant", "uma_authorization"}},
		"resource_access": map[string]any{}, "scope": defaultScopes, "email_verified": false, "preferred_username": username,
	}
	setAudience(claims, audience)
	return claims
}

func setAudience(claims map[string]any, audience []string) {
	switch len(audience) {
	case 0:
		delete(claims, "aud")
	case 1:
		claims["aud"] = audience[0]
	default:
		claims["aud"] = audience
	}
}

func (s *Server) lifespanOf(clientID string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := s.clients[clientID].Lifespan; own != 0 {
		return own
	}
	return s.lifespan
}

// subjectOf makes a stable UUID of a name.
func subjectOf(username string) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(username))
	b := h.Sum(nil)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// refusal is an error answer of the token endpoint.
type refusal struct {
	status            int
	code, description string
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := Request{
		GrantType: r.PostForm.Get("grant_type"), ClientID: r.PostForm.Get("client_id"), AuthStyle: "none",
		Audience: r.PostForm["audience"], Scopes: strings.Fields(r.PostForm.Get("scope")), Form: r.PostForm, At: s.now(),
	}
	secret := r.PostForm.Get("client_secret")
	if secret != "" {
		req.AuthStyle = "post"
	}
	if id, password, ok := r.BasicAuth(); ok {
		req.AuthStyle = "basic"
		// RFC 6749 §2.3.1: form-urlencoded within Basic.
		req.ClientID, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(password)
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()

	s.scripted(tokenPath, func(w http.ResponseWriter, _ *http.Request, a Answer) {
		fields, claims, no := s.grant(req, secret)
		if no != nil {
			writeJSON(w, no.status, map[string]any{"error": no.code, "error_description": no.description})
			return
		}
		if a.Claims != nil {
			a.Claims(claims)
		}
		fields["access_token"] = s.Sign(claims)
		if a.Fields != nil {
			a.Fields(fields)
		}
		writeJSON(w, http.StatusOK, fields)
	})(w, r)
}

// grant decides in Keycloak's order and with its words.
func (s *Server) grant(req Request, secret string) (fields, claims map[string]any, no *refusal) {
	const rejected = "Invalid client or Invalid client credentials"
	c, known := s.client(req.ClientID)
	switch {
	case !known || c.Disabled:
		return nil, nil, &refusal{http.StatusUnauthorized, "invalid_client", rejected}
	case secret == "" || secret != c.Secret:
		return nil, nil, &refusal{http.StatusUnauthorized, "unauthorized_client", rejected}
	}
	switch req.GrantType {
	case "client_credentials":
		claims, no = s.serviceAccount(c, req)
	case grantExchange:
		claims, no = s.exchange(c, req)
	default:
		no = &refusal{http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type"}
	}
	if no != nil {
		return nil, nil, no
	}
	fields = map[string]any{
		"expires_in": int64(s.lifespanOf(c.ID) / time.Second), "refresh_expires_in": 0, "token_type": "Bearer",
		"not-before-policy": 0, "scope": claims["scope"],
	}
	if req.GrantType == grantExchange {
		fields["issued_token_type"] = typeAccessToken
	}
	return fields, claims, nil
}

func (s *Server) serviceAccount(c Client, req Request) (map[string]any, *refusal) {
	if c.NoServiceAccount {
		return nil, &refusal{http.StatusUnauthorized, "unauthorized_client", "Client not enabled to retrieve service account"}
	}
	available, no := c.available(req.Scopes)
	if no != nil {
		return nil, no
	}
	claims := s.Claims("service-account-"+c.ID, c.ID, append(available, "account")...)
	claims["scope"] = scopeOf(req.Scopes)
	claims["client_id"], claims["clientHost"], claims["clientAddress"] = c.ID, "127.0.0.1", "127.0.0.1"
	return claims, nil
}

func (s *Server) exchange(c Client, req Request) (map[string]any, *refusal) {
	bad := func(code, description string) *refusal { return &refusal{http.StatusBadRequest, code, description} }
	if c.NoExchange {
		return nil, bad("invalid_request", "Standard token exchange is not enabled for the requested client")
	}
	if req.Form.Get("subject_token_type") != typeAccessToken {
		return nil, bad("invalid_request", "Parameter 'subject_token' supports access tokens only")
	}
	subject, err := s.claimsOf(req.Form.Get("subject_token"))
	if err != nil {
		return nil, bad("invalid_request", "Invalid token")
	}
	if subject["azp"] != c.ID && !slices.Contains(audienceOf(subject), c.ID) {
		return nil, &refusal{http.StatusForbidden, "access_denied", "Client is not within the token audience"}
	}
	for _, name := range req.Audience {
		switch target, known := s.client(name); {
		case !known:
			return nil, bad("invalid_client", "Audience not found")
		case target.Disabled:
			return nil, bad("invalid_client", "Client disabled")
		}
	}
	available, no := c.available(req.Scopes)
	if no != nil {
		return nil, no
	}
	for _, name := range req.Audience {
		if !slices.Contains(available, name) {
			return nil, bad("invalid_request", "Requested audience not available: "+name)
		}
	}
	claims := maps.Clone(subject)
	for _, own := range []string{"client_id", "clientHost", "clientAddress"} {
		delete(claims, own)
	}
	now := s.now()
	claims["exp"], claims["iat"] = now.Add(s.lifespanOf(c.ID)).Unix(), now.Unix()
	claims["jti"], claims["azp"], claims["scope"] = "trrtte:"+rand.Text(), c.ID, scopeOf(req.Scopes)
	if len(req.Audience) > 0 {
		available = req.Audience
	}
	setAudience(claims, available)
	return claims, nil
}

// available returns the audiences the client can get with these scopes.
func (c Client) available(scopes []string) ([]string, *refusal) {
	audience := slices.Clone(c.Audience)
	for _, scope := range scopes {
		switch optional, known := c.OptionalScopes[scope]; {
		case known:
			audience = append(audience, optional...)
		case !slices.Contains([]string{"openid", "profile", "email"}, scope):
			return nil, &refusal{http.StatusBadRequest, "invalid_scope", "Invalid scopes: " + strings.Join(scopes, " ")}
		}
	}
	return audience, nil
}

func scopeOf(asked []string) string {
	scopes := asked
	for s := range strings.FieldsSeq(defaultScopes) {
		if !slices.Contains(scopes, s) {
			scopes = append(slices.Clone(scopes), s)
		}
	}
	return strings.Join(scopes, " ")
}

func audienceOf(claims map[string]any) []string {
	switch aud := claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		var names []string
		for _, a := range aud {
			if name, ok := a.(string); ok {
				names = append(names, name)
			}
		}
		return names
	}
	return nil
}
