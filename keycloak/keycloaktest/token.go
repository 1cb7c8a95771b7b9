package keycloaktest

import (
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantJWTBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	// defaultScopes is what Keycloak's built-in default client scopes show in scope.
	defaultScopes = "profile email"
)

// Client is an OAuth client of the realm. Its zero flags make a working requester. It authenticates with Secret, or else
// with what is set: Keys, Certificate or Federated.
type Client struct {
	ID, Secret string
	// Keys are the public keys of private_key_jwt, each with its kid.
	Keys []jose.JSONWebKey
	// Certificate is the subject of the certificate of tls_client_auth, as "CN=notes-sync". Needs Options.TLS.
	Certificate string
	// Federated says whose JWTs authenticate the client.
	Federated *Federation

	// Audience is available through the client's default client scopes.
	Audience []string
	// OptionalScopes maps each optional client scope to the audiences it makes available.
	OptionalScopes map[string][]string
	// Lifespan of its tokens; the server's when zero.
	Lifespan time.Duration
	// JWTBearer enables the JWT authorization grant, for the identity providers with these aliases.
	JWTBearer []string
	// Impersonates lets it impersonate users without naming an audience, ImpersonatesFor with one of these. Both need
	// Options.LegacyExchange.
	Impersonates    bool
	ImpersonatesFor []string

	Disabled         bool
	NoServiceAccount bool
	NoExchange       bool
}

// Federation is the sub that an identity provider gives to a client.
type Federation struct{ Alias, Subject string }

// Request is a request that reached the token endpoint.
type Request struct {
	GrantType string
	ClientID  string
	// AuthStyle is how the client authenticated: basic, post, assertion, certificate or none.
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

// refusal is an error answer.
type refusal struct {
	status            int
	code, description string
}

func (no refusal) write(w http.ResponseWriter) {
	writeJSON(w, no.status, map[string]any{"error": no.code, "error_description": no.description})
}

func bad(code, description string) *refusal {
	return &refusal{http.StatusBadRequest, code, description}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	req, secret, ok := s.receive(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()

	s.scripted(tokenPath, func(w http.ResponseWriter, _ *http.Request, a Answer) {
		fields, claims, no := s.grant(r, req, secret)
		if no != nil {
			no.write(w)
			return
		}
		if a.Claims != nil {
			a.Claims(claims)
		}
		token := s.Sign(claims)
		s.enter(req, token, claims)
		fields["access_token"] = token
		if a.Fields != nil {
			a.Fields(fields)
		}
		if a.Lost {
			panic(http.ErrAbortHandler)
		}
		writeJSON(w, http.StatusOK, fields)
	})(w, r)
}

// receive reads a request of a client, and the secret it carries.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) (req Request, secret string, ok bool) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return req, "", false
	}
	req = Request{
		GrantType: r.PostForm.Get("grant_type"), ClientID: r.PostForm.Get("client_id"), AuthStyle: "none",
		Audience: r.PostForm["audience"], Scopes: strings.Fields(r.PostForm.Get("scope")), Form: r.PostForm, At: s.now(),
	}
	secret = r.PostForm.Get("client_secret")
	switch id, password, basic := r.BasicAuth(); {
	case basic:
		req.AuthStyle = "basic"
		// RFC 6749 §2.3.1: form-urlencoded within Basic.
		req.ClientID, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(password)
	case secret != "":
		req.AuthStyle = "post"
	case r.PostForm.Has("client_assertion"):
		req.AuthStyle = "assertion"
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		req.AuthStyle = "certificate"
	}
	return req, secret, true
}

// grant decides in Keycloak's order and with its words.
func (s *Server) grant(r *http.Request, req Request, secret string) (fields, claims map[string]any, no *refusal) {
	c, no := s.authenticate(r, req, secret)
	if no != nil {
		return nil, nil, no
	}
	fields = map[string]any{
		"expires_in": int64(s.lifespanOf(c.ID) / time.Second), "refresh_expires_in": 0, "token_type": "Bearer", "not-before-policy": 0,
	}
	switch req.GrantType {
	case "client_credentials":
		claims, no = s.serviceAccount(c, req)
	case "refresh_token":
		claims, no = s.refresh(c, req, fields)
	case grantJWTBearer:
		claims, no = s.jwtBearer(c, req)
	case grantExchange:
		if req.Form.Has("requested_subject") {
			claims, no = s.impersonate(c, req, fields)
			break
		}
		fields["issued_token_type"] = typeAccessToken
		claims, no = s.exchange(c, req)
	default:
		no = bad("unsupported_grant_type", "Unsupported grant_type")
	}
	if no != nil {
		return nil, nil, no
	}
	fields["scope"] = claims["scope"]
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
