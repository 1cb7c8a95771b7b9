package keycloaktest

import (
	"net/http"
	"slices"
)

// jwtBearer answers the JWT authorization grant.
func (s *Server) jwtBearer(c Client, req Request) (map[string]any, *refusal) {
	if c.JWTBearer == nil {
		return nil, bad("invalid_grant", "JWT Authorization Grant is not supported for the requested client")
	}
	assertion := req.Form.Get("assertion")
	_, claims, err := unverified(assertion)
	if err != nil {
		return nil, bad("invalid_grant", "The provided assertion is not a valid JWT")
	}
	p, known := s.providerOf(claims["iss"])
	switch {
	case !known:
		return nil, bad("invalid_grant", "No Identity Provider for provided issuer")
	case !slices.Contains(c.JWTBearer, p.Alias):
		return nil, bad("invalid_grant", "Identity Provider is not allowed for the client")
	}
	if _, err := verified(assertion, p.Keys().Keys); err != nil {
		return nil, bad("invalid_grant", "Invalid signature")
	}
	if says := s.unfit(claims); says == "Multiple audiences not allowed" {
		return nil, bad("invalid_grant", "Invalid token audience")
	} else if says != "" {
		return nil, bad("invalid_grant", says)
	}
	if !p.Reuse && s.usedBefore(claims) {
		return nil, bad("invalid_grant", "Token reuse detected")
	}
	sub, _ := claims["sub"].(string)
	username, linked := p.Links[sub]
	if !linked {
		return nil, bad("invalid_grant", "User not found")
	}
	available, no := c.available(req.Scopes)
	if no != nil {
		return nil, no
	}
	user := s.Claims(username, c.ID, available...)
	user["scope"] = scopeOf(req.Scopes)
	return user, nil
}

// impersonate answers an exchange for another user's token.
func (s *Server) impersonate(c Client, req Request, fields map[string]any) (map[string]any, *refusal) {
	if !s.legacyExchange {
		return nil, bad("invalid_request", "Parameter 'requested_subject' is not supported for standard token exchange")
	}
	if _, err := s.claimsOf(req.Form.Get("subject_token")); err != nil {
		return nil, bad("invalid_token", "Invalid token")
	}
	username := req.Form.Get("requested_subject")
	s.mu.Lock()
	known := s.users[username]
	s.mu.Unlock()
	allowed := c.Impersonates && known
	for _, name := range req.Audience {
		allowed = allowed && slices.Contains(c.ImpersonatesFor, name)
	}
	if !allowed {
		return nil, &refusal{http.StatusForbidden, "access_denied", "Client not allowed to exchange"}
	}
	available, no := c.available(req.Scopes)
	if no != nil {
		return nil, no
	}
	if len(req.Audience) > 0 {
		available = req.Audience
	}
	opened := s.open(c.ID, username, req.Scopes, false)
	fields["issued_token_type"] = typeAccessToken
	if req.Form.Get("requested_token_type") != typeAccessToken {
		fields["issued_token_type"] = "urn:ietf:params:oauth:token-type:refresh_token"
		s.describe(opened, fields)
	}
	return s.userClaims(c, opened, append(slices.Clone(available), "account")), nil
}
