package nextcloud

import (
	"context"
	"net/http"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	// userPath is the only endpoint that proves an identity: capabilities and status.php answer 200 to anybody,
	// and a PROPFIND of another user's home is answered 207. OCS v1 would hide 403, 404 and 429 behind a 200.
	userPath = "ocs/v2.php/cloud/user"
	// callLimit: with an issuer that hangs, Nextcloud itself needs 31 s to say no (measured), and up to 15 s for the
	// first login of a user it creates.
	callLimit = 40 * time.Second
)

// question is what is asked: everything that judging an answer needs besides the answer.
type question struct {
	// bearer is the secret that was sent: a token, an app password, or the account's password.
	bearer sensitive.String
	// basic is the same as an Authorization header of the scheme Basic carries it; empty where none was sent.
	basic  sensitive.String
	expect Expect
	hints  Hints
	host   string
}

// Check sends exactly one request, GET cloud/user with the token, and judges the answer. It takes at most 40 s, less
// if ctx ends earlier. Cookies are neither kept nor sent, because a session cookie outranks the Authorization header,
// and redirects are not followed, because the next host would get the token. A URL or a token that cannot be sent is
// told without a request. Check never fails: what goes wrong is a Verdict too.
func (c Client) Check(ctx context.Context, bearer sensitive.String, e Expect, h Hints) Verdict {
	base, err := baseURL(c.URL)
	if err != nil {
		return verdict(Unknown, ReasonInvalid, "%v", err)
	}
	if !fitsHeader(bearer.Reveal()) {
		return verdict(Rejected, ReasonRejected, "the token holds characters that an Authorization header cannot carry")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()

	q := question{bearer: bearer, expect: e, hints: h, host: base.Host}
	a, err := c.askOCS(ctx, http.MethodGet, base, userPath, bearer)
	if err != nil {
		return unsent(q, err)
	}
	return judge(a, q)
}
