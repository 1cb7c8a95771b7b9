package diagnose

import (
	"net/url"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/nextcloud"
)

func (w *walk) cureNextcloud(v nextcloud.Verdict, e nextcloud.Expect) []string {
	c := w.grant.Spec.Nextcloud
	if w.asksNextcloud() {
		if cure := w.cureAppPassword(v); cure != nil {
			return cure
		}
	}
	switch v.Reason {
	case nextcloud.ReasonRejected:
		return append([]string{
			"# Nextcloud does not say why: look at the provider (bearer tokens, client ID, issuer)",
			"occ user_oidc:provider",
			"# bearer tokens are off, which is the default, or the issuer's keys are stale",
			"occ user_oidc:provider PROVIDER --check-bearer=1",
			"# the user is missing or disabled",
			"occ user:info " + shell(w.finalClaims.Username),
		}, w.cureNextcloudAudience()...)
	case nextcloud.ReasonWrongUser:
		return []string{"occ user_oidc:provider PROVIDER --unique-uid=0 --mapping-uid=preferred_username"}
	case nextcloud.ReasonForbidden:
		return cureForbidden(v, e)
	case nextcloud.ReasonMaintenance:
		return []string{"occ upgrade", "occ maintenance:mode --off"}
	case nextcloud.ReasonThrottled:
		return []string{"occ security:bruteforce:reset ADDRESS"}
	case nextcloud.ReasonInvalid:
		return []string{
			"# either the URL is not Nextcloud's",
			"curl -s " + shell(strings.TrimSuffix(string(c.URL), "/")+"/status.php"),
			"# or Nextcloud does not know this host name",
			"occ config:system:set trusted_domains 9 --value=" + shell(hostOf(string(c.URL))),
		}
	}
	return []string{"curl -v " + shell(strings.TrimSuffix(string(c.URL), "/")+"/status.php")}
}

func (w *walk) cureNextcloudAudience() []string {
	cure := []string{"# the client ID of the provider is another than the audience"}
	for _, a := range w.finalClaims.Audience {
		cure = append(cure, "occ user_oidc:provider PROVIDER --clientid="+shell(a))
	}
	return cure
}

// cureForbidden: Nextcloud named the user, or redirected it to a second factor.
func cureForbidden(v nextcloud.Verdict, e nextcloud.Expect) []string {
	if v.Identity == nil {
		return []string{"occ twofactorauth:enforce --on --exclude GROUP"}
	}
	user := shell(v.Identity.User)
	if !v.Identity.Enabled {
		return []string{"occ user:enable " + user}
	}
	var cure []string
	for _, g := range e.Groups {
		if !slices.Contains(v.Identity.Groups, g) {
			cure = append(cure, "occ group:adduser "+shell(g)+" "+user)
		}
	}
	for _, g := range e.NotInGroups {
		if slices.Contains(v.Identity.Groups, g) {
			cure = append(cure, "occ group:removeuser "+shell(g)+" "+user)
		}
	}
	return cure
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "HOST"
	}
	return u.Hostname()
}
