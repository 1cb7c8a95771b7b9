package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/keycloak"
)

// requestedSubject is the user as whom the grant acts; empty for most.
func (w *walk) requestedSubject() string {
	if e := w.exchange(); e != nil {
		return e.RequestedSubject
	}
	return ""
}

// impersonate opens a session of the requested user, as the operator does once. It lasts as long as the walk.
func (w *walk) impersonate(ctx context.Context) Step {
	user := w.requestedSubject()
	token, err := w.oauth().Exchange(ctx, w.own.AccessToken, keycloak.ExchangeRequest{RequestedSubject: user})
	if err != nil {
		return failure(err, w.cureImpersonation)
	}
	w.own, w.opened = &token, token.RefreshToken
	s := w.readOwn(ctx)
	c := w.ownClaims
	if c == nil || c.Username == user || c.Subject == user {
		return s
	}
	return broken(v1alpha1.ReasonTokenNotVerified, nil, "TokenNotVerified: asked for a token of user %q, the issuer gave one of %q (sub %q): write the user as Keycloak does", user, c.Username, c.Subject)
}

// endSession ends the session that the walk has opened, and says so in the step that opened it.
func (w *walk) endSession(ctx context.Context) {
	if w.opened.IsZero() {
		return
	}
	err := w.oauth().Logout(ctx, w.opened)
	for i := range w.report.Steps {
		s := &w.report.Steps[i]
		switch {
		case s.Name != stepMintName:
		case err == nil:
			s.Message += "; the session that this took has been ended"
		default:
			s.Message += fmt.Sprintf("; the session that this took was not ended, to do so at Keycloak: Users, %s, Sessions, Sign out", w.requestedSubject())
			if s.Result == OK {
				s.Result = Warning
			}
		}
	}
}

// serviceAccountUser is the name that Keycloak gives to the user of a client's service account.
func serviceAccountUser(clientID string) string {
	return "service-account-" + strings.ToLower(clientID)
}

func (w *walk) cureImpersonation(e *keycloak.Error) script {
	switch e.Reason {
	case keycloak.ReasonImpersonationUnsupported:
		return script{
			command.Comment("a preview, the other features of this Keycloak stand in the same list"),
			command.New("kc.sh start --features=token-exchange:v1"),
		}
	case keycloak.ReasonImpersonationForbidden:
		return w.kcadm("",
			w.inRealm(command.New("kcadm.sh add-roles")).Flag("--uusername", serviceAccountUser(w.account.ClientID)).
				Words("--cclientid realm-management --rolename impersonation"),
			w.inRealm(command.New("kcadm.sh get users")).Words("-q exact=true").Flag("-q username=", w.requestedSubject()).Words("--fields username,enabled"))
	}
	return w.cureExchange(e)
}
