package keycloak

import (
	"context"
	"errors"
	"net/url"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Values for the hint of Revoke (RFC 7009 §2.1).
const (
	TokenTypeHintAccessToken  = "access_token"
	TokenTypeHintRefreshToken = "refresh_token"
)

// Revoke makes the issuer forget a token of this client (RFC 7009). hint is one of TokenTypeHint…, or empty. A token
// that the issuer does not know (any more) is no error, as §2.2 says.
//
// Verifiers that check signatures only, as Nextcloud does, accept a revoked access token until it expires.
//
// Errors: those of ClientCredentials, and SubjectTokenInvalid where the token is another client's.
func (c Client) Revoke(ctx context.Context, token sensitive.String, hint string) error {
	if c.Provider.RevocationEndpoint == "" {
		return notOffered(opRevocation, "revocation_endpoint", "nothing can be revoked at this issuer: its tokens live until they expire")
	}
	params := url.Values{"token": {token.Reveal()}}
	if hint != "" {
		params.Set("token_type_hint", hint)
	}
	// Keycloak tells of an unknown token in the body of a 200. There is nothing to do about it.
	_, err := c.call(ctx, asked{op: opRevocation}, c.Provider.RevocationEndpoint, params)
	return err
}

// Logout ends the session that a refresh token of this client belongs to: at once, for all clients of the session. It is
// Keycloak's way (a POST of refresh_token to the end_session_endpoint); no standard has one without a browser. A session
// that has ended already is no error.
//
// Errors: those of ClientCredentials, and SubjectTokenInvalid where the token is another client's.
func (c Client) Logout(ctx context.Context, refreshToken sensitive.String) error {
	if c.Provider.EndSessionEndpoint == "" {
		return notOffered(opLogout, "end_session_endpoint", "sessions end at this issuer by themselves only")
	}
	_, err := c.call(ctx, asked{op: opLogout}, c.Provider.EndSessionEndpoint, url.Values{"refresh_token": {refreshToken.Reveal()}})
	if refused, ok := errors.AsType[*Error](err); ok && refused.Reason == ReasonReloginRequired {
		return nil
	}
	return err
}
