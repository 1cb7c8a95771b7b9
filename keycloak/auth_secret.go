package keycloak

import (
	"context"
	"errors"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// SecretBasic sends the client secret in the Authorization header, form-urlencoded (RFC 6749 §2.3.1, client_secret_basic).
func SecretBasic(secret sensitive.String) ClientAuth {
	return clientSecret{secret, oauth2.AuthStyleInHeader, methodSecretBasic}
}

// SecretPost sends the client secret in the body (RFC 6749 §2.3.1, client_secret_post).
func SecretPost(secret sensitive.String) ClientAuth {
	return clientSecret{secret, oauth2.AuthStyleInParams, methodSecretPost}
}

type clientSecret struct {
	secret sensitive.String
	style  oauth2.AuthStyle
	name   string
}

func (c clientSecret) method() string { return c.name }

func (c clientSecret) authenticate(_ context.Context, _ *Provider, cfg *clientcredentials.Config) error {
	if c.secret.IsZero() {
		return errors.New("the client secret is empty")
	}
	cfg.ClientSecret, cfg.AuthStyle = c.secret.Reveal(), c.style
	return nil
}
