package keycloak

import (
	"context"
	"errors"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Assertion authenticates with a JWT of another issuer that the client's own trusts (RFC 7521 §4.2, RFC 7523 §2.2):
// a Kubernetes service account token, or an access token of another realm. Its only audience must be the issuer URL.
// Keycloak knows this since 26.6 by itself, and 26.4 with the feature client-auth-federated.
//
// The assertion alone says which client it is. Client.ID is not sent, because Keycloak 26.4 would want it to be the sub:
// let Expect.ClientID see to it that the token is of the client that was meant.
//
// get is called once for each request and may return the same JWT again while it is valid. Its error can be found in
// the one of the request with errors.Is and errors.As; its text is shown.
func Assertion(get func(ctx context.Context) (sensitive.String, error)) ClientAuth {
	return federated{get}
}

type federated struct {
	get func(ctx context.Context) (sensitive.String, error)
}

func (federated) method() string { return methodFederated }

func (f federated) authenticate(ctx context.Context, _ *Provider, cfg *clientcredentials.Config) error {
	assertion, err := f.get(ctx)
	switch {
	case err != nil:
		return err
	case assertion.IsZero():
		return errors.New("the client assertion is empty")
	}
	cfg.ClientID, cfg.AuthStyle = "", oauth2.AuthStyleInParams
	cfg.EndpointParams.Set("client_assertion_type", assertionTypeJWT)
	cfg.EndpointParams.Set("client_assertion", assertion.Reveal())
	return nil
}
