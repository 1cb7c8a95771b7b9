package nextcloud

import (
	"fmt"
	"net/http"
	"strings"
)

// refused explains a 401. Nextcloud says the same for a bad token, an unknown user, a stale key cache and an issuer it
// cannot reach itself, so the message lists the causes, the likeliest first, as far as they fit. says is the server's
// own word; challenged, that it knows the user and refuses the login.
func refused(says string, challenged bool, h Hints) Verdict {
	if h.AppPassword {
		return appPasswordRefused(http.StatusUnauthorized, question{hints: h})
	}
	stale := h.NewKey && h.AcceptedBefore && !challenged
	message := "Nextcloud does not take the token" + says + ", likely because: "
	if stale {
		message = "Nextcloud does not take the token" + says + ", which is signed by a new key: it caches the issuer's keys " +
			"for up to 1 h; wait, or let it read them anew: occ user_oidc:provider NAME --check-bearer=1; if that does not help: "
	}
	for i, c := range causes(h, challenged) {
		next := fmt.Sprintf("%d) %s; ", i+1, c)
		if len(message)+len(next) > maxMessage+len("; ") {
			break
		}
		message += next
	}
	v := verdict(Rejected, ReasonRejected, "%s", strings.TrimSuffix(message, "; "))
	v.StaleKeys = stale
	return v
}

// causes orders what a 401 can stand for by likelihood, each with its cure. A new key tells of a rotation only where
// the identity was accepted before: the key of a first token is always new.
func causes(h Hints, challenged bool) []string {
	var (
		staleKeys = "Nextcloud caches the issuer's keys for up to 1 h and the token is signed by a newer one: " +
			"occ user_oidc:provider NAME --check-bearer=1 reads them anew"
		bearerOff = "bearer tokens are off (the default): occ user_oidc:provider NAME --check-bearer=1"
		audience  = fmt.Sprintf("the provider's client id is not in the token's aud%s: occ user_oidc:provider NAME --clientid=ID", listOf(h.Audience))
		unknown   = fmt.Sprintf("%s does not exist and user_oidc.auto_provision is false: occ user:add", nameOf(h))
		issuer    = fmt.Sprintf("Nextcloud cannot reach %s or has another issuer as provider: try curl on its host, occ user_oidc:provider",
			issuerOf(h))
		disabled = fmt.Sprintf("%s is disabled: occ user:enable", nameOf(h))
		groups   = "the provider restricts logins to groups: --group-restrict-login-to-whitelist=0"
	)
	switch {
	case challenged:
		return []string{disabled, unknown, bearerOff, audience}
	case h.AcceptedBefore && h.NewKey:
		return []string{issuer, disabled, groups, audience, bearerOff}
	case h.AcceptedBefore:
		return []string{disabled, issuer, bearerOff, groups, audience, unknown}
	case h.NewKey:
		return []string{bearerOff, audience, unknown, issuer, staleKeys, groups}
	default: // Others with this key were accepted: provider, keys and issuer are in order.
		return []string{unknown, audience, disabled, groups, issuer, bearerOff}
	}
}

func listOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " " + quoteAll(names)
}

func nameOf(h Hints) string {
	if h.Username == "" {
		return "the user"
	}
	return "user " + quote(h.Username)
}

func issuerOf(h Hints) string {
	if h.Issuer == "" {
		return "the issuer"
	}
	return quote(h.Issuer)
}
