package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// unkeptRetry is the pause after a session was opened that can neither be continued nor ended: Keycloak keeps it until it
// has been idle for half an hour, and each try adds one.
const unkeptRetry = 10 * time.Minute

func requestedSubject(grant *v1alpha1.TokenGrant) string {
	if grant.Spec.Exchange == nil {
		return ""
	}
	return grant.Spec.Exchange.RequestedSubject
}

// mintImpersonated takes a token from the session of the requested user, and narrows it to the grant's audience.
func (r *GrantReconciler) mintImpersonated(ctx context.Context, g *observation, request issuer.MintRequest) (keycloak.Token, error) {
	if err := r.canKeep(g.grant); err != nil {
		return keycloak.Token{}, err
	}
	if err := r.endFormerSession(ctx, r.ending(g.grant)); err != nil {
		return keycloak.Token{}, err // It would be lost when the new one is kept in its place.
	}
	token, err := r.userToken(ctx, g, request.Subject)
	if err != nil {
		return keycloak.Token{}, err
	}
	return r.exchangeOf(ctx, g, request, token)
}

// userToken continues the session that is kept, and opens another one only where there is none any more: each would
// stay at the issuer. What the issuer answers is waited for, and kept first of all, also when the operator is stopped.
func (r *GrantReconciler) userToken(ctx context.Context, g *observation, subject issuer.SubjectRequest) (keycloak.Token, error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	s, err := r.savedSession(ctx, g)
	if err != nil {
		return keycloak.Token{}, err
	}
	if s.ofUser() && s.Source != g.userSource() {
		return keycloak.Token{}, errors.New("the kept session is of another user, client or issuer, and has not ended yet")
	}
	user := requestedSubject(g.grant)
	var token keycloak.Token
	if s.ofUser() {
		token, err = g.conn.Refresh(ctx, subject, s.RefreshToken)
		if ended(err) {
			// What ended it may be a refresh token that was sent twice, and that leaves the session behind.
			if unanswered := g.conn.Logout(ctx, subject, s.RefreshToken); unanswered != nil && passing(unanswered) {
				return keycloak.Token{}, unanswered // Another session now would be one too many.
			}
		}
	}
	if !s.ofUser() || ended(err) {
		token, err = g.conn.Impersonate(ctx, subject, user)
	}
	if err != nil {
		return keycloak.Token{}, err
	}
	if token.RefreshToken.IsZero() {
		f := failf(v1alpha1.ReasonImpersonationUnsupported, "the issuer gives no refresh token with a token of user %q, so each mint would open another session: set the attribute use.refresh.tokens=true on client %q", user, g.clientID)
		f.retryAfter = unkeptRetry
		return keycloak.Token{}, f
	}
	return token, r.keep(ctx, g, offline.State{
		Source: g.userSource(), RefreshToken: token.RefreshToken, Issuer: string(g.issuer.spec.URL), ClientID: g.clientID, User: user,
	})
}

func ended(err error) bool {
	refused, ok := errors.AsType[*keycloak.Error](err)
	return ok && refused.Reason == keycloak.ReasonReloginRequired
}

// userSource tells one session of a requested user from another.
func (g *observation) userSource() string {
	return plan.HashInputs("requestedSubject", requestedSubject(g.grant), string(g.issuer.spec.URL), g.clientID, plan.Words(g.grant.Spec.Scopes))
}

// checkUser refuses a token of anybody but the requested user. Username and ID are what Keycloak takes for one.
func checkUser(g *observation, claims *keycloak.Claims) error {
	user := requestedSubject(g.grant)
	if user == "" || claims.Username == user || claims.Subject == user {
		return nil
	}
	return failf(v1alpha1.ReasonTokenNotVerified, "the issuer answered with a token of user %q (sub %q), and exchange.requestedSubject asks for %q: write the user as Keycloak does, and give client %q the client scopes profile and basic, which put preferred_username and sub into its tokens",
		claims.Username, claims.Subject, user, g.clientID)
}

// ofUser says whether there is a session of a requested user, and not of one who has logged in.
func (s *session) ofUser() bool { return s.User != "" && !s.RefreshToken.IsZero() }

// endFormerSession ends the session of a user as whom a living grant does not act any more, or may not.
func (r *GrantReconciler) endFormerSession(ctx context.Context, g *observation) error {
	s, err := r.session(ctx, g)
	switch {
	case err != nil && keepsSession(g.grant):
		return nil // The mint meets it as well, and tells of it.
	case err != nil:
	case !s.ofUser():
		return nil
	default:
		if wanted, err := r.wantsSession(ctx, g, s); err != nil || wanted {
			return err
		}
		err = r.logout(ctx, g, s)
	}
	if err != nil && passing(err) {
		return err
	}
	if failed := r.dropSession(ctx, g); failed != nil {
		return failed
	}
	return err
}

// wantsSession says whether a session is what the spec asks for and the issuer allows. Where that cannot be told for
// now, it is.
func (r *GrantReconciler) wantsSession(ctx context.Context, g *observation, s *session) (bool, error) {
	if s.User != requestedSubject(g.grant) {
		return false, nil
	}
	var err error
	if g.issuer, err = r.Issuers.resolve(ctx, g.grant.Namespace, g.grant.Spec.IssuerRef); err == nil {
		err = r.Issuers.allows(ctx, g.issuer, g.grant)
	}
	if failed, other := asFailure(err); err != nil {
		return other == nil && failed.reason != v1alpha1.ReasonNotAllowed, other
	}
	account, _, err := g.account()
	if err != nil {
		return true, nil //nolint:nilerr // gathering tells of it
	}
	g.clientID = account.ClientID
	return s.Source == g.userSource(), nil
}

// dropSession forgets a session that has ended, and deletes its Secret where the grant has no further use for it.
func (r *GrantReconciler) dropSession(ctx context.Context, g *observation) error {
	if keepsSession(g.grant) || g.hasAppPasswords() {
		s := g.past.session
		s.Source, s.RefreshToken, s.Issuer, s.ClientID, s.User = "", sensitive.String{}, "", "", ""
		return r.saveSession(ctx, g)
	}
	g.past.session = nil
	return r.deleteSecret(ctx, g.grant, sessionName(g.grant))
}

// endSession ends the session of a deleted grant: of a requested user always, because nobody else can; of one who has
// logged in where the spec wants that.
func (r *GrantReconciler) endSession(ctx context.Context, g *observation) error {
	s, err := r.session(ctx, g)
	user := requestedSubject(g.grant)
	switch {
	case err != nil:
		return err
	case s.ofUser():
		return r.logout(ctx, g, s)
	case s.secret == nil && user != "" && g.grant.Status.Token != nil:
		return failf(v1alpha1.ReasonNotRevoked, "%s: Secret %q, which has what ends it, is gone", theSession(user, sensitive.String{}), sessionName(g.grant))
	case s.RefreshToken.IsZero() || g.grant.Spec.DeletionPolicy != v1alpha1.DeletionRevoke:
		return nil
	}
	a, err := r.accessTo(ctx, g, s.Issuer, s.ClientID, s.access)
	if err == nil {
		err = r.away(ctx, g, func(ctx context.Context) error {
			return a.conn.Revoke(ctx, a.client, s.RefreshToken, keycloak.TokenTypeHintRefreshToken)
		})
	}
	return annotate(err, fmt.Sprintf("the session of the user who logged in (%s; to end it at Keycloak: Users, Sessions, Revoke)", sessionEnd(s.RefreshToken)))
}

// logout ends a session at the issuer. One that has ended already is no failure.
func (r *GrantReconciler) logout(ctx context.Context, g *observation, s *session) error {
	a, err := r.accessTo(ctx, g, s.Issuer, s.ClientID, s.access)
	if err == nil {
		err = r.away(ctx, g, func(ctx context.Context) error { return a.conn.Logout(ctx, a.client, s.RefreshToken) })
	}
	return annotate(err, theSession(s.User, s.RefreshToken))
}

func theSession(user string, refreshToken sensitive.String) string {
	return fmt.Sprintf("the session of user %q (%s; to end it at Keycloak: Users, %s, Sessions, Sign out)", user, sessionEnd(refreshToken), user)
}

// sessionEnd says when a session ends that nobody ends. Keycloak's refresh tokens are JWTs; an offline token has no exp
// unless the realm limits the life of offline sessions, and other issuers may give opaque ones.
func sessionEnd(refreshToken sensitive.String) string {
	exp, _ := claims(refreshToken)["exp"].(json.Number)
	seconds, err := exp.Int64()
	if err != nil {
		return "it ends when it has been idle for as long as the issuer allows"
	}
	return "its refresh token expires at " + time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}
