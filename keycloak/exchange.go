package keycloak

import (
	"context"
	"net/url"
	"slices"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Token type identifiers (RFC 8693 §3).
const (
	tokenTypeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
)

// ExchangeRequest is what a token is to be exchanged for.
type ExchangeRequest struct {
	// Audience names the clients the new token is for, at least one: Keycloak 26.4 and 26.7 put every audience
	// the client may have into the token when none is asked for, those of disabled clients too. With
	// RequestedSubject it may be empty.
	Audience []string
	// Scopes are asked for in addition to the client's default ones.
	Scopes []string
	// RequestedSubject is the user, by name or ID, whose token is wanted instead of the subject's: impersonation. No
	// standard has it. Keycloak has it in its feature token-exchange:v1 only, beside the standard exchange, and
	// demands more permissions where an audience is named than where none is: leave it out and exchange the user's
	// token once more.
	RequestedSubject string
}

// Exchange exchanges an access token for one for another audience (RFC 8693 §2.1). The new token is of the same
// subject, its azp is the client, and its life does not depend on the subject token's.
//
// With RequestedSubject each call opens a session of that user, which Token.RefreshToken belongs to: refresh in it, and
// end it with Logout.
//
// Errors: those of ClientCredentials, and ExchangeNotEnabled, AudienceNotAvailable, NotInSubjectAudience,
// SubjectTokenInvalid, ImpersonationUnsupported, ImpersonationForbidden.
func (c Client) Exchange(ctx context.Context, subject sensitive.String, r ExchangeRequest) (Token, error) {
	a := asked{op: opTokenExchange, audience: r.Audience, scopes: r.Scopes, user: r.RequestedSubject}
	params := url.Values{
		"grant_type":         {GrantTypeTokenExchange},
		"subject_token":      {subject.Reveal()},
		"subject_token_type": {tokenTypeAccessToken},
		"audience":           r.Audience,
	}
	if r.RequestedSubject == "" {
		params.Set("requested_token_type", tokenTypeAccessToken)
	} else {
		// Asked for an access token Keycloak would open a session all the same, and send no refresh token to end it with.
		a.op = opImpersonation
		params.Set("requested_subject", r.RequestedSubject)
	}
	if slices.Contains(r.Audience, "") || len(r.Audience) == 0 && r.RequestedSubject == "" {
		return Token{}, &Error{
			Op: a.op, Reason: ReasonAudienceNotAvailable, Description: "no audience is named", Hint: "name it in spec.exchange.audiences",
		}
	}
	return c.post(ctx, a, params)
}
