package nextcloud

import (
	"net/http"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Error is the only type of error this package returns. Its text is safe to show: it holds no secret.
type Error struct {
	// Reason is one of Reasons.
	Reason string
	// Message says what Nextcloud said and what cures it, in at most 600 bytes.
	Message string
	// RetryAfter is the server's own wish, at most an hour; 0 where it said nothing.
	RetryAfter time.Duration
	// AnswerLost: the request may have reached Nextcloud and nobody knows whether it was carried out. See the method's
	// own comment for what to do then.
	AnswerLost bool
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }

// Outcome is the reason, for metrics and traces.
func (e *Error) Outcome() string { return e.Reason }

func failure(v Verdict) *Error {
	return &Error{Reason: v.Reason, Message: v.Message, RetryAfter: v.RetryAfter}
}

// lost is the failure of a request without a usable answer.
func lost(v Verdict, sent bool) *Error {
	e := failure(v)
	e.AnswerLost = sent
	return e
}

// judgeAppPassword reads the app password that Nextcloud made. A success without one is the loss of it.
func judgeAppPassword(a answer, q question, refused func(int, question) Verdict) (sensitive.String, *Error) {
	doc, failed := judgeOCS(a, q, refused)
	if failed != nil {
		return sensitive.String{}, failed
	}
	secret, ok := parseAppPassword(doc.Data)
	if !ok {
		return sensitive.String{}, lost(verdict(Unknown, ReasonInvalid, "%s answers 200 and names no app password", q.host), true)
	}
	return secret, nil
}

// judgeOCS tells success from failure. It is pure. refused explains a 401 or a 403.
func judgeOCS(a answer, q question, refused func(int, question) Verdict) (envelope, *Error) {
	doc, isOCS := parseOCS(a.body)
	code := a.status
	if isOCS && a.status == http.StatusOK {
		code = httpStatus(doc.Code)
	}
	if isOCS && code == http.StatusOK {
		return doc, nil
	}
	v, passing := outOfOrder(code, isOCS || inMaintenance(a), said(doc.Message, q), q)
	switch {
	case passing:
	case code == http.StatusUnauthorized, code == http.StatusForbidden && isOCS:
		// Whoever says 401, Nextcloud or something before it, has refused what was sent: sending it again is of no use.
		v = refused(code, q)
	case code == http.StatusSeeOther:
		v = secondFactor(q)
	case !isOCS:
		v = notOCS(a, q)
	default:
		v = verdict(Unknown, ReasonInvalid, "%s answers %d%s: is nextcloud.url the base URL of a Nextcloud?", q.host, code, said(doc.Message, q))
	}
	v.RetryAfter = retryAfter(a.header)
	return envelope{}, lost(v, mayHaveActed(code, isOCS, v.Reason))
}

// mayHaveActed: Nextcloud's own no and its own "not now" change nothing. A server error, or a page that replaces its answer,
// may come after the deed.
func mayHaveActed(code int, isOCS bool, reason string) bool {
	switch reason {
	case ReasonUnreachable:
		return true
	case ReasonInvalid:
		return !isOCS && code < http.StatusMultipleChoices
	}
	return false
}

// loginRefused explains the refusal of a user and a password.
func loginRefused(code int, q question) Verdict {
	user := quote(q.hints.Username)
	if code == http.StatusForbidden {
		return verdict(Rejected, ReasonForbidden, "Nextcloud makes no app password for user %s, most likely because the password is itself "+
			"an app password: log in with the account's password (occ user:resetpassword)", user)
	}
	return verdict(Rejected, ReasonCredential, "Nextcloud refuses user %s and this password: it is wrong, or the account is disabled (occ user:enable), "+
		"or a second factor is enforced for it. It is not tried again before it changes, because 11 refused passwords shut out "+
		"everybody at this address for half an hour; to set one: occ user:resetpassword USER", user)
}

// onPurpose ends the refusal of a member of a group that must not be, most often admin: whoever holds an app password of
// an administrator can do everything there, and it does not expire.
const onPurpose = "; or take the group out of expect.notInGroups, if this account is meant to be the one"

// what names what is asked about.
func (h Hints) what() string {
	if h.AppPassword {
		return "app password"
	}
	return "token"
}

// appPasswordRefused explains the refusal of an app password.
func appPasswordRefused(code int, q question) Verdict {
	user := quote(q.hints.Username)
	if code == http.StatusForbidden {
		return verdict(Rejected, ReasonForbidden, "Nextcloud takes what was sent for user %s, but not as an app password: log in with the "+
			"account's password to get one", user)
	}
	return verdict(Rejected, ReasonRejected, "Nextcloud does not take the app password of user %s: it was deleted or rotated, or the account's "+
		"password was changed, or the account is disabled (occ user:enable): log in anew", user)
}
