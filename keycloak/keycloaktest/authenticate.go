package keycloaktest

import (
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	assertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	rejected         = "Invalid client or Invalid client credentials"
)

// IdentityProvider is another issuer that the realm trusts: a cluster, or another realm.
type IdentityProvider struct {
	Alias string
	// Issuer is the iss of its JWTs.
	Issuer string
	// Keys are its signing keys; Server.Keys of another server.
	Keys func() jose.JSONWebKeySet
	// Links maps the sub of its JWTs to the realm's users, for the JWT authorization grant.
	Links map[string]string
	// Reuse lets a JWT be used for more than one grant. As client authentication every JWT may be used again.
	Reuse bool
}

// SetIdentityProvider adds an identity provider or replaces the one with its alias.
func (s *Server) SetIdentityProvider(p IdentityProvider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.providers[p.Alias] = p
}

// providerOf finds the identity provider of an issuer.
func (s *Server) providerOf(issuer any) (IdentityProvider, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.providers {
		if p.Issuer == issuer {
			return p, true
		}
	}
	return IdentityProvider{}, false
}

// authenticate decides which client a request is from.
func (s *Server) authenticate(r *http.Request, req Request, secret string) (Client, *refusal) {
	if req.Form.Has("client_assertion") {
		return s.byAssertion(req)
	}
	c, known := s.client(req.ClientID)
	invalid := &refusal{http.StatusUnauthorized, "invalid_client", rejected}
	switch {
	case !known || c.Disabled:
		return c, invalid
	case len(c.Keys) > 0:
		return c, bad("invalid_client", "Parameter client_assertion_type is missing")
	case c.Federated != nil:
		return c, invalid
	case c.Certificate != "":
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.String() != c.Certificate {
			return c, invalid
		}
	case secret == "" || secret != c.Secret:
		return c, &refusal{http.StatusUnauthorized, "unauthorized_client", rejected}
	}
	return c, nil
}

// byAssertion authenticates by a JWT that the client signed itself, where iss and sub are its ID, or that somebody else
// signed for it.
func (s *Server) byAssertion(req Request) (Client, *refusal) {
	invalid := &refusal{http.StatusUnauthorized, "invalid_client", rejected}
	assertion := req.Form.Get("client_assertion")
	jws, claims, err := unverified(assertion)
	if err != nil || req.Form.Get("client_assertion_type") != assertionTypeJWT {
		return Client{}, invalid
	}
	sub, _ := claims["sub"].(string)
	c, own := s.client(sub)
	keys := c.Keys
	if own = own && claims["iss"] == claims["sub"]; !own {
		p, known := s.providerOf(claims["iss"])
		if c = s.federatedBy(p.Alias, sub); !known || c.ID == "" {
			return c, invalid
		}
		keys = p.Keys().Keys
	}
	named := slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool { return k.KeyID == jws.Signatures[0].Header.KeyID })
	_, err = verified(assertion, keys)
	switch {
	case c.Disabled:
		return c, invalid
	case req.ClientID != "" && req.ClientID != c.ID:
		return c, &refusal{http.StatusUnauthorized, "unauthorized_client", rejected}
	case own && len(keys) == 0, !own && err != nil:
		return c, invalid
	case own && !named:
		return c, bad("invalid_client", "Unable to load public key")
	case err != nil:
		return c, bad("invalid_client", "Client authentication with signed JWT failed: Signature on JWT token failed validation")
	}
	if says := s.unfit(claims); says != "" {
		return c, bad("invalid_client", says)
	}
	if own && s.usedBefore(claims) {
		return c, bad("invalid_client", "Token reuse detected")
	}
	return c, nil
}

// unfit says why a JWT of somebody else cannot be used here and now.
func (s *Server) unfit(claims map[string]any) string {
	audience := audienceOf(claims)
	iat, _ := claims["iat"].(float64)
	switch {
	case len(audience) > 1:
		return "Multiple audiences not allowed"
	case !slices.Contains(audience, s.URL):
		return "Invalid token audience"
	case s.expired(claims):
		return "Token is not active"
	case int64(iat) > s.now().Unix()+15:
		return "Token was issued in the future"
	}
	return ""
}

// usedBefore remembers the JWT.
func (s *Server) usedBefore(claims map[string]any) bool {
	jti, _ := claims["jti"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.usedJWTs[jti]
	s.usedJWTs[jti] = true
	return before
}

func (s *Server) federatedBy(alias, subject string) Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		if c.Federated != nil && *c.Federated == (Federation{alias, subject}) {
			return c
		}
	}
	return Client{}
}
