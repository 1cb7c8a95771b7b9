// Package nextcloud asks a Nextcloud what it makes of a token and what the token may do, and keeps app passwords there.
// It speaks OCS and WebDAV and knows nothing of Kubernetes, nor of the issuer the token came from. What it relies on was measured on Nextcloud 31.0.6 with
// user_oidc 8.10.1; every answer recorded there is replayed by the tests, from testdata.
package nextcloud

import (
	"net/http"
	"slices"
	"time"
)

// Client talks to one Nextcloud. It keeps no state, so a copy serves as well, and any number of goroutines may share one.
type Client struct {
	// URL is where Nextcloud is installed: https://cloud.example.com or https://example.com/nextcloud.
	URL string
	// HTTP carries the requests. Its cookie jar, redirect policy and Timeout are not used, see Check. Nil means a plain client.
	HTTP *http.Client
	// UserAgent is sent as it is; empty means "tokengrant".
	UserAgent string
}

// Expect is what the identity behind a token must be.
type Expect struct {
	// User is the exact user id; empty accepts any.
	User string
	// Groups must all be among the user's groups, NotInGroups must not. Both are Nextcloud's group ids, compared exactly.
	Groups, NotInGroups []string
}

// Hints is what the caller knows and Nextcloud's uniform 401 does not say. They order the causes in a message
// and never change the outcome.
type Hints struct {
	// NewKey: the token is signed by a key (kid) of which this Nextcloud has not accepted a token yet.
	NewKey bool
	// AcceptedBefore: this Nextcloud accepted this identity earlier.
	AcceptedBefore bool
	// AppPassword: what is asked about is an app password of Username, and no token of an issuer.
	AppPassword bool
	// Username, Issuer and Audience are the token's claims.
	Username, Issuer string
	Audience         []string
}

// Identity is who Nextcloud says the token is.
type Identity struct {
	User, DisplayName string
	Groups            []string
	Enabled           bool
	// Version stays empty: the answer that proves the identity does not carry it.
	Version string
}

// Outcome says what an answer proves about a token.
type Outcome int

const (
	// Unknown proves nothing: Nextcloud was not reached, or did not get as far as judging the token.
	Unknown Outcome = iota
	// Accepted: Nextcloud took the token and the identity is the expected one.
	Accepted
	// Rejected: a healthy Nextcloud said no, or said that the token is somebody else.
	Rejected
)

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "Accepted"
	case Rejected:
		return "Rejected"
	default:
		return "Unknown"
	}
}

// Verdict is the answer of a check. The zero value proves nothing.
type Verdict struct {
	Outcome Outcome
	// Reason is one of Reasons, but for ReasonCredential, and empty when the token was accepted.
	Reason string
	// Message says what Nextcloud said and what cures it, in at most 600 bytes. It never holds the token.
	Message string
	// Identity is set whenever Nextcloud named one, also when it is not the expected one.
	Identity *Identity
	// StaleKeys: Nextcloud most likely has not read the issuer's new key yet. It accepted this identity before and refuses
	// a token that is signed by another key (Hints), which the caller has verified. Nextcloud keeps the keys for an hour
	// and asks for none that it does not know, so another token of the same key is refused as well: do not mint one to
	// try. Keep the last good token and check again later.
	StaleKeys bool
	// RetryAfter is the server's own wish, at most an hour; 0 where it said nothing.
	RetryAfter time.Duration
}

// Reasons a Verdict or an Error can carry.
const (
	// ReasonRejected: Nextcloud does not take the token (OCS 997).
	ReasonRejected = "NextcloudRejected"
	// ReasonWrongUser: Nextcloud takes the token for another user.
	ReasonWrongUser = "NextcloudWrongUser"
	// ReasonForbidden: the user is known and must not be used: group rules, disabled, a second factor, 403.
	ReasonForbidden = "NextcloudForbidden"
	// ReasonUnreachable: no answer, or a 5xx.
	ReasonUnreachable = "NextcloudUnreachable"
	// ReasonMaintenance: maintenance mode, or an upgrade is pending.
	ReasonMaintenance = "NextcloudMaintenance"
	// ReasonThrottled: 429.
	ReasonThrottled = "Throttled"
	// ReasonInvalid: the URL may not be asked, or what answers there is no Nextcloud, or one that does not know this host name.
	ReasonInvalid = "NextcloudInvalid"
	// ReasonCredential: Nextcloud refuses a login by user and password. Only LogIn says so.
	ReasonCredential = "CredentialRejected"
)

var reasons = []string{
	ReasonRejected, ReasonWrongUser, ReasonForbidden, ReasonUnreachable, ReasonMaintenance, ReasonThrottled, ReasonInvalid,
	ReasonCredential,
}

// Reasons lists every reason a Verdict or an Error can carry.
func Reasons() []string { return slices.Clone(reasons) }
