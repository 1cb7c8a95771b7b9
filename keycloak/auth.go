package keycloak

import "golang.org/x/oauth2/clientcredentials"

// ClientAuth authenticates a client at the token endpoint (RFC 6749 §2.3). Each way is one file, auth_<way>.go.
type ClientAuth interface {
	// authenticate fills in AuthStyle (always: x/oauth2 would otherwise send a refused request twice) and what
	// goes with it: ClientSecret, or parameters added to EndpointParams, which is never nil.
	authenticate(cfg *clientcredentials.Config) error
}
