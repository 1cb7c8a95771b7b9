package issuer

import (
	"context"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// MintRequest names a token to publish.
type MintRequest struct {
	Subject SubjectRequest
	// SubjectToken is another party's token, to be exchanged by the client that Subject names; the client's own
	// service account is the subject when it is empty.
	SubjectToken sensitive.String
	// Assertion gives a JWT of another issuer, which becomes the subject by the JWT authorization grant (RFC 7523 §2.1).
	Assertion func(ctx context.Context) (sensitive.String, error)
	// Exchange is nil when the subject token itself is what gets published.
	Exchange *keycloak.ExchangeRequest
}

// Mint returns a new token, never one that another call has got.
func (i *Issuer) Mint(ctx context.Context, r MintRequest) (keycloak.Token, error) {
	switch {
	case r.Assertion != nil:
		token, err := i.mintAsserted(ctx, r)
		return token, i.informed(err)
	case r.Exchange == nil:
		token, err := i.mintSubject(ctx, r.Subject)
		return token, i.informed(err)
	case !r.SubjectToken.IsZero():
		token, err := i.exchange(ctx, r, r.SubjectToken)
		return token, i.informed(err)
	}
	token, err := i.withSubjectToken(ctx, r.Subject, func(subject sensitive.String) (keycloak.Token, error) {
		return i.exchange(ctx, r, subject)
	})
	return token, i.informed(err)
}

// mintAsserted turns another issuer's JWT into a token of this one, and exchanges it where that is asked for. Nothing
// of it is shared: an assertion may be used once.
func (i *Issuer) mintAsserted(ctx context.Context, r MintRequest) (keycloak.Token, error) {
	client, err := i.as(ctx, r.Subject)
	if err != nil {
		return keycloak.Token{}, err
	}
	assertion, err := r.Assertion(ctx)
	if err != nil {
		return keycloak.Token{}, err
	}
	token, err := client.JWTBearer(ctx, assertion, r.Subject.Scopes)
	if err != nil || r.Exchange == nil {
		return token, err
	}
	return client.Exchange(ctx, token.AccessToken, *r.Exchange)
}

func (i *Issuer) exchange(ctx context.Context, r MintRequest, subject sensitive.String) (keycloak.Token, error) {
	client, err := i.as(ctx, r.Subject)
	if err != nil {
		return keycloak.Token{}, err
	}
	return client.Exchange(ctx, subject, *r.Exchange)
}
