package issuer

import (
	"context"
	"errors"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// Refresh continues the session of a refresh token. The answer's RefreshToken must be kept before anything else is done
// with it; see keycloak.Client.Refresh.
func (i *Issuer) Refresh(ctx context.Context, r SubjectRequest, refreshToken sensitive.String) (keycloak.Token, error) {
	client, err := i.as(ctx, r)
	if err != nil {
		return keycloak.Token{}, err
	}
	token, err := client.Refresh(ctx, refreshToken, r.Scopes)
	return token, i.informed(err)
}

// Impersonate opens a session of a user, asked for with the client's own token: the shared one, or a new one where the
// issuer calls that invalid. The session has the scopes of that token, Keycloak 26.4 and 26.7 pass over those of the
// request. Each call opens another session: keep its RefreshToken, and end it by Logout.
func (i *Issuer) Impersonate(ctx context.Context, r SubjectRequest, user string) (keycloak.Token, error) {
	client, err := i.as(ctx, r)
	if err != nil {
		return keycloak.Token{}, err
	}
	token, err := i.withSubjectToken(ctx, r, func(subject sensitive.String) (keycloak.Token, error) {
		return client.Exchange(ctx, subject, keycloak.ExchangeRequest{RequestedSubject: user})
	})
	return token, i.informed(err)
}

// Logout ends the session of a refresh token, for all clients.
func (i *Issuer) Logout(ctx context.Context, r SubjectRequest, refreshToken sensitive.String) error {
	client, err := i.as(ctx, r)
	if err != nil {
		return err
	}
	return i.informed(client.Logout(ctx, refreshToken))
}

// Revoke makes the issuer forget a token of the client; see keycloak.Client.Revoke.
func (i *Issuer) Revoke(ctx context.Context, r SubjectRequest, token sensitive.String, hint string) error {
	client, err := i.as(ctx, r)
	if err != nil {
		return err
	}
	return i.informed(client.Revoke(ctx, token, hint))
}

// withSubjectToken runs a request with the client's shared token. An issuer that calls that invalid gets a new one, once:
// it may have been revoked, and Keycloak says the same of it whatever the reason.
func (i *Issuer) withSubjectToken(ctx context.Context, r SubjectRequest, request func(sensitive.String) (keycloak.Token, error)) (keycloak.Token, error) {
	subject, err := i.SubjectToken(ctx, r)
	if err != nil {
		return keycloak.Token{}, err
	}
	token, err := request(subject.AccessToken)
	var refused *keycloak.Error
	if !errors.As(err, &refused) || refused.Reason != keycloak.ReasonSubjectTokenInvalid {
		return token, err
	}
	i.subjects.dropToken(r.key(), subject.AccessToken)
	if subject, err = i.SubjectToken(ctx, r); err != nil {
		return keycloak.Token{}, err
	}
	return request(subject.AccessToken)
}
