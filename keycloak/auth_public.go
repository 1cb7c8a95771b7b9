package keycloak

import (
	"context"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Public names a client that has no credential (RFC 6749 §2.1), such as a program on a user's machine.
func Public() ClientAuth { return public{} }

type public struct{}

func (public) method() string { return methodNone }

func (public) authenticate(_ context.Context, _ *Provider, cfg *clientcredentials.Config) error {
	cfg.AuthStyle = oauth2.AuthStyleInParams
	return nil
}
