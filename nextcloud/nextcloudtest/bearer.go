package nextcloudtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// algorithms that user_oidc verifies. None of them is symmetric, so a token signed with the client secret is refused.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384}

// futureLeeway is for iat and nbf only. exp has none.
const futureLeeway = 60 * time.Second

// oidcUser returns the id of the user a bearer token stands for, creating the user where that is configured.
func (s *Server) oidcUser(ctx context.Context, bearer sensitive.String) (string, bool) {
	set := s.Settings()
	if set.Issuer == "" || !set.CheckBearer || bearer.IsZero() {
		return "", false
	}
	for _, validate := range []func() (map[string]any, bool){
		func() (map[string]any, bool) { return s.selfEncoded(ctx, set, bearer) },
		func() (map[string]any, bool) { return s.userInfo(ctx, set, bearer) },
	} {
		claims, ok := validate()
		if !ok {
			continue
		}
		if name, _ := claims[set.MappingClaim].(string); name != "" {
			return s.provision(set, name, claims)
		}
	}
	return "", false
}

// selfEncoded validates by signature and claims. It has no leeway on exp, does not look at typ (an ID token passes),
// and never notices a logout or a revocation.
func (s *Server) selfEncoded(ctx context.Context, set Settings, bearer sensitive.String) (map[string]any, bool) {
	token, err := jwt.ParseSigned(bearer.Reveal(), algorithms)
	if !set.SelfEncoded || err != nil || len(token.Headers) != 1 {
		return nil, false
	}
	header := token.Headers[0]
	key, err := s.provider.key(ctx, set, header.KeyID)
	if err != nil || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, false
	}
	var registered jwt.Claims
	claims := map[string]any{}
	if token.Claims(key.Key, &registered, &claims) != nil {
		return nil, false
	}
	d, err := s.provider.metadata(ctx, set)
	if err != nil || registered.Issuer != d.Issuer {
		return nil, false
	}
	now := s.state.clock.Now()
	latest := now.Add(futureLeeway)
	switch {
	case registered.Expiry == nil, registered.Expiry.Time().Unix() < now.Unix():
		return nil, false
	case registered.IssuedAt != nil && registered.IssuedAt.Time().After(latest):
		return nil, false
	case registered.NotBefore != nil && registered.NotBefore.Time().After(latest):
		return nil, false
	case set.AudienceCheck && !forUs(registered.Audience, set.ClientID):
		return nil, false
	}
	return claims, true
}

// forUs is the audience check with its hole: a token without aud passes.
func forUs(audience jwt.Audience, clientID string) bool {
	return audience == nil || slices.Contains(audience, clientID)
}

// userInfo validates by asking the issuer, which needs scope openid in the token and no audience at all.
func (s *Server) userInfo(ctx context.Context, set Settings, bearer sensitive.String) (map[string]any, bool) {
	if !set.UserInfo {
		return nil, false
	}
	claims, err := s.provider.userInfo(ctx, set, bearer)
	return claims, err == nil
}

// provision finds or creates the user of a valid token. Users are created even without BearerProvisioning, which only
// adds what the token says about them; the display name of a new one shows from the second request on.
func (s *Server) provision(set Settings, name string, claims map[string]any) (string, bool) {
	if set.GroupWhitelist != "" && !inWhitelist(set.GroupWhitelist, claims["groups"]) {
		return "", false
	}
	known, exists := s.User(name)
	if !set.AutoProvision {
		return name, exists
	}
	if exists && known.Backend != backendOIDC && !set.SoftAutoProvision {
		return "", false
	}
	id := name
	if !exists && set.UniqueUID {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d_0_%s", set.ProviderID, name))
		id = hex.EncodeToString(sum[:])
		_, exists = s.User(id)
	}
	if !exists {
		s.PutUser(User{ID: id, Backend: backendOIDC})
	}
	if set.BearerProvisioning {
		s.state.change(id, func(u *User) {
			if email, _ := claims["email"].(string); email != "" {
				u.Email = email
			}
			if display, _ := claims["name"].(string); exists && display != "" {
				u.DisplayName = display
			}
		})
	}
	return id, true
}

func inWhitelist(pattern string, claim any) bool {
	allowed, err := regexp.Compile(pattern)
	groups, _ := claim.([]any)
	return err == nil && slices.ContainsFunc(groups, func(g any) bool {
		name, ok := g.(string)
		return ok && allowed.MatchString(name)
	})
}
