package diagnose

import (
	"net/url"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/nextcloud"
)

func (w *walk) cureNextcloud(v nextcloud.Verdict, e nextcloud.Expect) script {
	base := strings.TrimSuffix(string(w.grant.Spec.Nextcloud().URL), "/")
	if w.asksNextcloud() {
		if cure := w.cureAppPassword(v); cure != nil {
			return cure
		}
	}
	switch v.Reason {
	case nextcloud.ReasonRejected:
		return append(script{
			command.Comment("Nextcloud does not say why: look at the provider (bearer tokens, client ID, issuer)"),
			command.New("occ user_oidc:provider"),
			command.Comment("bearer tokens are off, which is the default, or the keys of the issuer are stale"),
			command.New("occ user_oidc:provider PROVIDER --check-bearer=1"),
			command.Comment("the user is missing or disabled"),
			w.withUser(command.New("occ user:info"), w.finalClaims.Username),
		}, w.cureNextcloudAudience()...)
	case nextcloud.ReasonWrongUser:
		return script{command.New("occ user_oidc:provider PROVIDER --unique-uid=0 --mapping-uid=preferred_username")}
	case nextcloud.ReasonForbidden:
		return w.cureForbidden(v, e)
	case nextcloud.ReasonMaintenance:
		return script{command.New("occ upgrade"), command.New("occ maintenance:mode --off")}
	case nextcloud.ReasonThrottled:
		return script{command.New("occ security:bruteforce:reset ADDRESS")}
	case nextcloud.ReasonInvalid:
		return script{
			command.Comment("either the URL is not that of a Nextcloud"),
			command.New("curl -gs").URL(base + "/status.php"),
			command.Comment("or Nextcloud does not know this host name"),
			command.New("occ config:system:set trusted_domains 9").Flag("--value=", hostOf(base)),
		}
	}
	return script{command.New("curl -gv").URL(base + "/status.php")}
}

// cureNextcloudAudience takes the audiences from the spec: those of the token are the issuer's words.
func (w *walk) cureNextcloudAudience() script {
	cure := script{command.Comment("the client ID of the provider is another than the audience")}
	for _, a := range w.audience() {
		cure = append(cure, command.New("occ user_oidc:provider PROVIDER").Flag("--clientid=", a))
	}
	if len(cure) == 1 {
		cure = append(cure, command.New("occ user_oidc:provider PROVIDER --clientid=AUDIENCE"))
	}
	return cure
}

// withUser adds a user that a server has named, where the spec or the login does, too. USER stands for any other.
func (w *walk) withUser(c command.Command, named string) command.Command {
	known := []string{w.requestedSubject(), w.loginName}
	if c := w.grant.Spec.NextcloudCheck(); c != nil {
		known = append(known, c.Expect.User)
	}
	if w.account != nil {
		known = append(known, serviceAccountUser(w.account.ClientID))
	}
	if named != "" && slices.Contains(known, named) {
		return c.Arg(named)
	}
	return c.Words("USER")
}

// cureForbidden: Nextcloud named the user, or redirected it to a second factor.
func (w *walk) cureForbidden(v nextcloud.Verdict, e nextcloud.Expect) script {
	if v.Identity == nil {
		return script{command.New("occ twofactorauth:enforce --on --exclude GROUP")}
	}
	user := v.Identity.User
	if !v.Identity.Enabled {
		return script{w.withUser(command.New("occ user:enable"), user)}
	}
	var cure script
	for _, g := range e.Groups {
		if !slices.Contains(v.Identity.Groups, g) {
			cure = append(cure, w.withUser(command.New("occ group:adduser").Arg(g), user))
		}
	}
	for _, g := range e.NotInGroups {
		if slices.Contains(v.Identity.Groups, g) {
			cure = append(cure, w.withUser(command.New("occ group:removeuser").Arg(g), user))
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
