// Package granttype says which OAuth grants a TokenGrant needs of its issuer, and what follows when the discovery
// document of the issuer (grant_types_supported) does not list them. One that lists none promises nothing and denies
// nothing: then the token endpoint has the word.
package granttype

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
)

// withoutSession are the grants of which one is enough to serve somebody without a login of a user.
var withoutSession = []string{keycloak.GrantTypeClientCredentials, keycloak.GrantTypeJWTBearer, keycloak.GrantTypeTokenExchange}

const alternatives = "use Keycloak, with Nextcloud's app user_oidc, or spec.appPassword of a TokenGrant"

// cures say what to do about a grant that is not offered.
var cures = map[string]string{
	keycloak.GrantTypeClientCredentials: alternatives,
	keycloak.GrantTypeRefreshToken:      "use an issuer that gives out offline tokens",
	keycloak.GrantTypeJWTBearer:         "use Keycloak 26.6 or newer, and do not disable its feature jwt-authorization-grant",
	keycloak.GrantTypeTokenExchange:     "use Keycloak 26.2 or newer, and do not disable its feature token-exchange-standard; without spec.exchange it is not needed",
}

// Needed lists the grants with which a token for a spec is obtained, in the order of their use.
func Needed(spec v1alpha1.TokenGrantSpec) []string {
	var first []string
	switch s := spec.Subject; {
	case s == nil:
		first = []string{keycloak.GrantTypeClientCredentials}
	case s.OfflineTokenSecretRef != nil:
		first = []string{keycloak.GrantTypeRefreshToken}
	case s.Assertion != nil:
		first = []string{keycloak.GrantTypeJWTBearer}
	}
	if spec.Exchange != nil {
		return append(first, keycloak.GrantTypeTokenExchange)
	}
	return first
}

// Missing says what an issuer does not offer of what a spec needs, and what to do; nothing where it offers all.
func Missing(offered []string, spec v1alpha1.TokenGrantSpec) string {
	if len(offered) == 0 {
		return ""
	}
	for _, g := range Needed(spec) {
		if !slices.Contains(offered, g) {
			return fmt.Sprintf("the issuer does not offer %s, its discovery lists: %s; %s", short(g), List(offered), cures[g])
		}
	}
	return ""
}

// Unusable says why an issuer can serve nobody but users who have logged in; nothing where it can.
func Unusable(offered []string) string {
	if len(offered) == 0 || slices.ContainsFunc(withoutSession, func(g string) bool { return slices.Contains(offered, g) }) {
		return ""
	}
	message := fmt.Sprintf("the issuer has no tokens for service accounts, its discovery lists: %s; %s", List(offered), alternatives)
	if slices.Contains(offered, keycloak.GrantTypeRefreshToken) {
		message += ". Only grants with subject.offlineTokenSecretRef are served"
	}
	return message
}

// List names grants for a reader.
func List(grants []string) string {
	names := make([]string, len(grants))
	for i, g := range grants {
		names[i] = short(g)
	}
	return strings.Join(names, ", ")
}

// short leaves out the beginning that the registered URNs have in common.
func short(grant string) string {
	return strings.TrimPrefix(grant, "urn:ietf:params:oauth:grant-type:")
}
