package keycloaktest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) exchange(c Client, req Request) (map[string]any, *refusal) {
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
