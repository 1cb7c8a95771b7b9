package nextcloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	maxMessage = 600 // bytes of a whole message
	maxSaid    = 200 // bytes of what the server said
	maxName    = 64  // bytes of one name in it
)

func verdict(o Outcome, reason, format string, args ...any) Verdict {
	return Verdict{Outcome: o, Reason: reason, Message: clip(fmt.Sprintf(format, args...), maxMessage)}
}

// wrongUser points at the mapping that most likely made the difference.
func wrongUser(id *Identity, q question) Verdict {
	e := q.expect
	if q.hints.AppPassword {
		return verdict(Rejected, ReasonWrongUser, "the login of %s is user %s, expected %s: log in as that user, or correct expect.user",
			nameOf(q.hints), quote(id.User), quote(e.User))
	}
	cure := "user_oidc takes the user id from a claim: occ user_oidc:provider NAME --mapping-uid=CLAIM"
	if hashed.MatchString(id.User) {
		cure = "user_oidc hashes user ids by default: occ user_oidc:provider NAME --unique-uid=0, or expect the hash"
	}
	return verdict(Rejected, ReasonWrongUser, "Nextcloud takes the token for user %s, expected %s; %s", quote(id.User), quote(e.User), cure)
}

// hashed is the form of a user id under user_oidc's unique-uid=1.
var hashed = regexp.MustCompile(`^[0-9a-f]{64}$`)

// secondFactor: user_oidc 8.10.1 answers a bearer request of such a user with a redirect to the challenge.
func secondFactor(q question) Verdict {
	return verdict(Rejected, ReasonForbidden, "Nextcloud redirects %s to a second factor, which a token cannot give: "+
		"exempt one of the user's groups (occ twofactorauth:enforce --on --exclude GROUP) or remove the user's own provider (occ twofactorauth:disable)",
		nameOf(q.hints))
}

// notOCS names the most likely reason why the answer is not OCS.
func notOCS(a answer, q question) Verdict {
	why := notNextcloud(a, q)
	if a.status < 300 && len(a.body) < maxBody && strings.Contains(a.header.Get("Content-Type"), "xml") {
		why = "it answers XML where JSON was asked for: a proxy in front of Nextcloud drops the query string"
	}
	return verdict(Unknown, ReasonInvalid, "%s answers %d without an OCS document in JSON: %s", q.host, a.status, why)
}

// notNextcloud guesses why an answer is not Nextcloud's.
func notNextcloud(a answer, q question) string {
	why := "is nextcloud.url the base URL of a Nextcloud?"
	switch {
	case a.status >= 300 && a.status < 400:
		why = "it redirects to " + target(a.header, q) + ", redirects are not followed: set nextcloud.url to the final address"
	case a.status == http.StatusBadRequest:
		why = "if it is a Nextcloud, it does not know this host name: occ config:system:set trusted_domains N --value=HOST"
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		why = "something in front of Nextcloud refuses the request before Nextcloud sees it"
	case a.status == http.StatusPreconditionFailed:
		why = "a proxy in front of Nextcloud drops the headers OCS-APIRequest and Authorization"
	case len(a.body) >= maxBody:
		why = "the answer has 1 MiB or more"
	}
	return why
}

// target shows where a redirect goes, without the query, which may hold anything.
func target(h http.Header, q question) string {
	u, err := url.Parse(h.Get("Location"))
	if err != nil {
		return "an unreadable address"
	}
	return quote(q.clean((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()))
}

// unsent judges a request that got no answer. One that our own policy refused to send is the specification's fault.
func unsent(q question, err error) Verdict {
	for _, refusal := range []error{httpclient.ErrInsecure, httpclient.ErrForbiddenAddress, httpclient.ErrPrivateAddress, httpclient.ErrHostNotAllowed, httpclient.ErrAmbiguousHost} {
		if errors.Is(err, refusal) {
			return verdict(Unknown, ReasonInvalid, "%s: %v: correct nextcloud.url", q.host, refusal)
		}
	}
	if large, is := errors.AsType[*httpclient.RequestTooLargeError](err); is {
		return verdict(Rejected, ReasonRejected, "%v: remove claims from the %s, such as groups and roles", large, q.hints.what())
	}
	return unreachable(q, err)
}

// unreachable says what kept the request from being answered.
func unreachable(q question, err error) Verdict {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
		wrapped     *url.Error
	)
	var why string
	switch {
	case errors.Is(err, context.Canceled):
		why = "cancelled before the answer"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		why = "no answer in time (Nextcloud itself waits 31 s for an issuer that hangs)"
	case errors.As(err, &dns):
		why = "the host name does not resolve"
	case errors.As(err, &certificate):
		why = "its certificate is not trusted (" + q.clean(certificate.Err.Error()) + "): set nextcloud.caRef"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "the connection is refused"
	case errors.As(err, &wrapped):
		why = q.clean(wrapped.Err.Error())
	default:
		why = q.clean(err.Error())
	}
	return verdict(Unknown, ReasonUnreachable, "%s: %s", q.host, why)
}

// said quotes the server's own message, if it gave one. It cannot leave the quotes, to look like words of ours.
func said(message string, q question) string {
	if text := q.clean(message); text != "" {
		return ` ("` + strings.ReplaceAll(text, `"`, "'") + `")`
	}
	return ""
}

var jwtLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*`)

// clean makes foreign text fit to be shown: printable, bounded, without the secret we sent and without any token.
func (q question) clean(text string) string {
	return clip(sensitive.Line(text, sensitive.Redactor(q.basic.Reveal(), q.bearer.Reveal()), jwtLike), maxSaid)
}

// quote shows a name that came from outside; nothing in it can leave the quotes.
func quote(name string) string { return strconv.Quote(clip(name, maxName)) }

func quoteAll(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, n := range names {
		quoted = append(quoted, quote(n))
	}
	return clip(strings.Join(quoted, ", "), maxSaid)
}

// clip bounds text to max bytes and never cuts a character in two.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}
