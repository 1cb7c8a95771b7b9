package keycloak

import (
	"context"
	"net/url"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// JWTBearer gets a token for the user that a JWT of another issuer, or realm, is about (RFC 7523 §2.1, the JWT
// authorization grant; Keycloak 26.6 and newer). The assertion's only audience must be the issuer URL, and Keycloak
// takes each assertion once unless its identity provider says otherwise: get a fresh one for each call.
// There is no refresh token.
//
// Errors: those of ClientCredentials, and SubjectTokenInvalid.
func (c Client) JWTBearer(ctx context.Context, assertion sensitive.String, scopes []string) (Token, error) {
	if assertion.IsZero() {
		return Token{}, &Error{
			Op: opJWTBearer, Reason: ReasonCredentialMissing, Description: "the assertion is empty", Hint: "a JWT of another issuer is needed",
		}
	}
	return c.post(ctx, asked{op: opJWTBearer, scopes: scopes}, url.Values{
		"grant_type": {GrantTypeJWTBearer},
		"assertion":  {assertion.Reveal()},
	})
}
