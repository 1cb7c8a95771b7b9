package keycloak

import (
	"context"
	"errors"
	"net/url"

	"golang.org/x/oauth2/clientcredentials"
)

// ClientAuth authenticates a client at the token endpoint (RFC 6749 §2.3). Each way is one file, auth_<way>.go.
type ClientAuth interface {
	// method is one of the names below: the same refusal has another cure for another method.
	method() string
	// authenticate fills in AuthStyle (always: x/oauth2 would otherwise send a refused request twice) and what
	// goes with it: ClientSecret, or parameters added to EndpointParams, which is never nil.
	authenticate(ctx context.Context, p *Provider, cfg *clientcredentials.Config) error
}

// The methods, as token_endpoint_auth_methods_supported of the discovery document names them (RFC 7591 §2).
const (
	methodSecretBasic   = "client_secret_basic"
	methodSecretPost    = "client_secret_post"
	methodPrivateKeyJWT = "private_key_jwt"
	methodTLS           = "tls_client_auth"
	methodNone          = "none"
	methodFederated     = "federated-jwt" // no registered name: Keycloak's
)

// authenticated returns a request to an endpoint that carries the client's authentication.
func (c Client) authenticated(ctx context.Context, a *asked, endpoint string, params url.Values) (*clientcredentials.Config, error) {
	a.clientID, a.method = c.ID, c.Auth.method()
	cfg := &clientcredentials.Config{ClientID: c.ID, TokenURL: endpoint, Scopes: a.scopes, EndpointParams: params}
	err := c.Auth.authenticate(ctx, c.Provider, cfg)
	if err == nil {
		return cfg, nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return nil, known
	}
	if ctx.Err() != nil {
		return nil, noAnswer(a.op, ctx.Err())
	}
	return nil, &Error{
		Op: a.op, Reason: ReasonCredentialMissing, Description: cleaner{}.text(err.Error()), cause: err,
	}
}

// secretsOf lists the values of a request that must not come back in an error.
func secretsOf(cfg *clientcredentials.Config) []string {
	secrets := []string{cfg.ClientSecret}
	for _, name := range []string{"subject_token", "client_assertion", "assertion", "refresh_token", "token", "device_code"} {
		secrets = append(secrets, cfg.EndpointParams[name]...)
	}
	return secrets
}
