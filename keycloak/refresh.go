package keycloak

import (
	"context"
	"net/url"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Refresh gets a new access token for the session of a refresh or offline token (RFC 6749 §6). Without scopes the new
// token has those of the session; scopes can only narrow them.
//
// Token.RefreshToken is what the next refresh has to send. It is a new string each time with Keycloak, and where the
// realm revokes refresh tokens the old one is void at once and its use kills the session: keep the new one before
// anything else is done with the answer. A server that sends none lets the old one stay, which is then returned.
//
// Errors: those of ClientCredentials, and ReloginRequired, SubjectTokenInvalid.
func (c Client) Refresh(ctx context.Context, refreshToken sensitive.String, scopes []string) (Token, error) {
	if refreshToken.IsZero() {
		return Token{}, &Error{
			Op: opRefresh, Reason: ReasonCredentialMissing, Description: "the refresh token is empty", Hint: "log in and store the refresh token",
		}
	}
	return c.post(ctx, asked{op: opRefresh, scopes: scopes}, url.Values{
		"grant_type":    {GrantTypeRefreshToken},
		"refresh_token": {refreshToken.Reveal()},
	})
}
