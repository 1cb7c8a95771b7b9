package nextcloud

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// judge turns an answer into a Verdict. It is pure.
//
// Only Nextcloud's own word rejects a token. An answer that is not OCS, whatever its status, comes from something else
// (a proxy, an ingress without a backend, a wrong URL) and proves nothing about the token: it is Unknown, so that
// an ingress's 404 page during a rollout does not hold back every token, and its reason asks a human to look at the URL.
func judge(a answer, q question) Verdict {
	doc, isOCS := parseOCS(a.body)
	code := a.status
	if isOCS && a.status == http.StatusOK {
		code = httpStatus(doc.Code)
	}
	v := judgeStatus(code, doc, isOCS, a, q)
	if v.Outcome == Unknown {
		v.RetryAfter = retryAfter(a.header)
	}
	return v
}

const (
	ocsNotLoggedIn = 997
	ocsNotFound    = 998
)

// httpStatus reads an OCS code as the HTTP status it stands for. A 200 can carry any of them: OCS v1 always does that,
// and a proxy that rewrites v2 to v1 would turn a 403 into an acceptance.
func httpStatus(ocs int) int {
	switch ocs {
	case 100:
		return http.StatusOK
	case ocsNotLoggedIn:
		return http.StatusUnauthorized
	case ocsNotFound:
		return http.StatusNotFound
	}
	return ocs
}

func judgeStatus(code int, doc envelope, isOCS bool, a answer, q question) Verdict {
	if v, passing := outOfOrder(code, isOCS || inMaintenance(a), said(doc.Message, q), q); passing {
		return v
	}
	switch {
	case code == http.StatusSeeOther:
		return secondFactor(q)
	case !isOCS:
		return notOCS(a, q)
	case code == http.StatusUnauthorized:
		// A challenge comes with a 401 only where Nextcloud knows the user and refuses the login: other releases of
		// user_oidc (8.6.1, 8.11-dev) say so for a disabled user.
		return refused(said(doc.Message, q), a.header.Get("WWW-Authenticate") != "", q.hints)
	case code == http.StatusForbidden:
		return verdict(Rejected, ReasonForbidden, "Nextcloud forbids this user to read its own account%s", said(doc.Message, q))
	case code == http.StatusOK:
		return judgeUser(doc, q)
	}
	return verdict(Unknown, ReasonInvalid, "%s answers %d%s to GET cloud/user: is nextcloud.url the base URL of a Nextcloud?",
		q.host, code, said(doc.Message, q))
}

// outOfOrder judges the answers that have nothing to do with what was asked; they pass. says is the server's own word.
func outOfOrder(code int, maintenance bool, says string, q question) (Verdict, bool) {
	switch {
	case code == http.StatusServiceUnavailable && maintenance:
		return verdict(Unknown, ReasonMaintenance, "Nextcloud is in maintenance mode or waits for its upgrade: "+
			"occ maintenance:mode --off, occ upgrade"), true
	case code == http.StatusTooManyRequests:
		return verdict(Unknown, ReasonThrottled, "429 from %s%s: requests from this address are throttled; "+
			"after wrong passwords: occ security:bruteforce:reset ADDRESS", q.host, says), true
	case code >= http.StatusInternalServerError && code < 600:
		return verdict(Unknown, ReasonUnreachable, "%d from %s%s: Nextcloud or what it runs on is down", code, q.host, says), true
	}
	return Verdict{}, false
}

func inMaintenance(a answer) bool { return a.header.Get("X-Nextcloud-Maintenance-Mode") == "1" }

// judgeUser compares the user Nextcloud named with the expected one.
func judgeUser(doc envelope, q question) Verdict {
	data, ok := parseUser(doc.Data)
	if !ok || echoes(data, q) {
		return verdict(Unknown, ReasonInvalid, "%s answers 200 to GET cloud/user and names no user", q.host)
	}
	id := data.identity()
	v := verdict(Accepted, "", "Nextcloud accepts the %s as user %s", q.hints.what(), quote(id.User))
	switch e := q.expect; {
	case e.User != "" && e.User != id.User:
		v = wrongUser(id, q)
	case !id.Enabled:
		v = verdict(Rejected, ReasonForbidden, "user %s is disabled: occ user:enable USER", quote(id.User))
	case data.Groups == nil && len(e.Groups)+len(e.NotInGroups) > 0:
		// Fail closed: a rule that cannot be shown to hold does not hold.
		v = verdict(Rejected, ReasonForbidden, "Nextcloud does not say in which groups user %s is", quote(id.User))
	default:
		if missing := without(e.Groups, id.Groups); len(missing) > 0 {
			v = verdict(Rejected, ReasonForbidden, "user %s must be in the group %s and is not: occ group:adduser GROUP USER",
				quote(id.User), quoteAll(missing))
		} else if banned := within(e.NotInGroups, id.Groups); len(banned) > 0 {
			v = verdict(Rejected, ReasonForbidden, "user %s is in the group %s and must not be: occ group:removeuser GROUP USER",
				quote(id.User), quoteAll(banned))
			if q.hints.AppPassword {
				v.Message = clip(v.Message+onPurpose, maxMessage)
			}
		}
	}
	v.Identity = id
	return v
}

// echoes is true for an answer that sends the token back as a name: names are shown in statuses, tokens never.
func echoes(u userData, q question) bool {
	token := q.bearer.Reveal()
	return token != "" && (strings.Contains(u.ID, token) || strings.Contains(u.DisplayName, token) ||
		u.Groups != nil && slices.ContainsFunc(*u.Groups, func(g string) bool { return strings.Contains(g, token) }))
}

func within(some, all []string) []string {
	return slices.DeleteFunc(slices.Clone(some), func(s string) bool { return !slices.Contains(all, s) })
}

func without(some, all []string) []string {
	return slices.DeleteFunc(slices.Clone(some), func(s string) bool { return slices.Contains(all, s) })
}

// longestRetryAfter bounds the server's wish: Nextcloud forgets failed logins after 30 minutes.
const longestRetryAfter = time.Hour

// retryAfter reads RFC 9110 section 10.2.3 in both forms; a date counts from the answer's own Date, so no clock is needed.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 16); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil {
			wait = at.Sub(now)
		}
	}
	return min(max(wait, 0), longestRetryAfter)
}
