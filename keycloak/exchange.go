package keycloak

import (
	"context"
	"net/url"
	"slices"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// tokenTypeAccessToken is the token type identifier of an access token (RFC 8693 §3).
const tokenTypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

// ExchangeRequest is what a token is to be exchanged for.
type ExchangeRequest struct {
	// Audience names the clients the new token is for, at least one: Keycloak 26.4 and 26.7 put every audience
	// the client may have into the token when none is asked for, those of disabled clients too.
	Audience []string
	// Scopes are asked for in addition to the client's default ones.
	Scopes []string
}

// Exchange exchanges an access token for one for another audience (RFC 8693 §2.1). The new token is of the same
// subject, its azp is the client, and its life does not depend on the subject token's.
//
// Errors: those of ClientCredentials, and ExchangeNotEnabled, AudienceNotAvailable, NotInSubjectAudience,
// SubjectTokenInvalid (Refused).
func (c Client) Exchange(ctx context.Context, subject sensitive.String, r ExchangeRequest) (Token, error) {
	a := asked{op: opTokenExchange, clientID: c.ID, audience: r.Audience, scopes: r.Scopes}
	if len(r.Audience) == 0 || slices.Contains(r.Audience, "") {
		return Token{}, &Error{
			Op: a.op, Reason: ReasonAudienceNotAvailable, Class: Refused, Description: "no audience is named", Hint: "name it in spec.exchange.audience",
		}
	}
	return c.post(ctx, a, url.Values{
		"grant_type":           {GrantTypeTokenExchange},
		"subject_token":        {subject.Reveal()},
		"subject_token_type":   {tokenTypeAccessToken},
		"requested_token_type": {tokenTypeAccessToken},
		"audience":             r.Audience,
	})
}
