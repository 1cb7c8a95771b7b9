package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// scopeOfflineAccess is what makes a session an offline one (OpenID Connect Core §11).
const scopeOfflineAccess = "offline_access"

// login is how the session of a user began.
type login struct {
	// token is the one the user got; empty when its Secret has been deleted since.
	token sensitive.String
	// source tells one login from another. It is a hash of the token, which nobody can guess, and not the
	// resourceVersion of its Secret: a label on that Secret is no new login, and the token in it may be used up.
	source string
}

// keepsSession says whether a grant has a session to keep between two mints.
func keepsSession(grant *v1alpha1.TokenGrant) bool {
	return grant.Spec.AppPassword != nil || requestedSubject(grant) != "" || grant.Spec.Subject != nil && grant.Spec.Subject.OfflineTokenSecretRef != nil
}

// offlineLogin reads the token of the login. Its Secret may go once the session is kept.
func (r *GrantReconciler) offlineLogin(ctx context.Context, g *observation, ref *v1alpha1.SecretKeyRef) (*login, error) {
	token, err := r.Issuers.References.read(ctx, reference{kindSecret, types.NamespacedName{Namespace: g.grant.Namespace, Name: ref.Name}, ref.Key})
	if err == nil {
		trimmed := strings.TrimSpace(token.value.Reveal()) // Files and pipes end with a line break; no token does.
		return &login{sensitive.New(trimmed), plan.HashInputs(trimmed)}, nil
	}
	if missing, other := asFailure(err); other != nil || missing.reason != v1alpha1.ReasonCredentialMissing {
		return nil, err
	}
	s, sessionErr := r.session(ctx, g)
	switch {
	case sessionErr != nil:
		return nil, sessionErr
	case s.RefreshToken.IsZero():
		return nil, err
	}
	return &login{source: s.Source}, nil
}

// mintOffline refreshes the session of a user and exchanges the answer, if that is asked for.
func (r *GrantReconciler) mintOffline(ctx context.Context, g *observation, request issuer.MintRequest) (keycloak.Token, error) {
	s, err := r.savedSession(ctx, g)
	if err != nil {
		return keycloak.Token{}, err
	}
	refreshToken, err := r.refreshToken(g, s)
	if err != nil {
		return keycloak.Token{}, err
	}
	if scopes := request.Subject.Scopes; request.Exchange != nil && len(scopes) > 0 && !slices.Contains(scopes, scopeOfflineAccess) {
		// Keycloak 26.4 looks for the session of a token without this scope among the online ones, and finds none.
		request.Subject.Scopes = slices.Concat(scopes, []string{scopeOfflineAccess})
	}
	token, err := r.refresh(ctx, g, request.Subject, refreshToken)
	if err != nil {
		return keycloak.Token{}, err
	}
	return r.exchangeOf(ctx, g, request, token)
}

// refreshToken is the newest one of the session, or the one of a new login. It is shown to nobody but the issuer, and the
// client, that it is of: the spec may name another by now.
func (r *GrantReconciler) refreshToken(g *observation, s *session) (sensitive.String, error) {
	login, ref := g.subject.login, g.grant.Spec.Subject.OfflineTokenSecretRef
	ours := s.Issuer == string(g.issuer.spec.URL) && s.ClientID == g.clientID
	switch {
	case s.Source == login.source && ours:
		return s.RefreshToken, nil
	case login.token.IsZero():
		return sensitive.String{}, relogin(g.grant, failf(v1alpha1.ReasonReloginRequired, "the session is of client %q at %s, and this TokenGrant names another client or issuer now", s.ClientID, s.Issuer))
	}
	token, err := r.Imports.Token(login.token, g.grant.Namespace)
	switch {
	case errors.Is(err, offline.ErrNotImported):
		return token, failf(v1alpha1.ReasonSubjectTokenInvalid, "key %q of Secret %q is rejected: %v. Store the user's refresh token there, or let kubectl tokengrant login do it", ref.Key, ref.Name, err)
	case err != nil:
		return token, failf(v1alpha1.ReasonEncryptionKeyMissing, "key %q of Secret %q is encrypted: %v. docs/migrate.md says how the operator gets the key of a token store", ref.Key, ref.Name, err)
	}
	return token, nil
}

// refresh continues a session, and keeps its new refresh token before anything is done with the answer: where the realm
// revokes refresh tokens, the one that was sent is void already. A stop of the operator waits for that.
func (r *GrantReconciler) refresh(ctx context.Context, g *observation, client issuer.SubjectRequest, refreshToken sensitive.String) (keycloak.Token, error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	token, err := g.conn.Refresh(ctx, client, refreshToken)
	if err != nil {
		return keycloak.Token{}, relogin(g.grant, err)
	}
	return token, r.keep(ctx, g, offline.State{
		Source: g.subject.login.source, RefreshToken: token.RefreshToken, Issuer: string(g.issuer.spec.URL), ClientID: g.clientID,
	})
}

// relogin adds to a session's end how the user logs in again.
func relogin(grant *v1alpha1.TokenGrant, err error) error {
	s := grant.Spec.Subject
	failed, other := asFailure(err)
	if other != nil || failed.reason != v1alpha1.ReasonReloginRequired || s == nil || s.OfflineTokenSecretRef == nil {
		return err
	}
	login, refused := command.New("kubectl tokengrant login").Arg(grant.Name).Flag("-n", grant.Namespace).
		Flag("--secret", s.OfflineTokenSecretRef.Name).Flag("--key", s.OfflineTokenSecretRef.Key).Words("--overwrite").Text()
	message := failed.message + ". The user logs in again by: " + login
	if refused != nil {
		message = failed.message + ". The user has to log in again. There is no command for it: " + refused.Error()
	}
	return &failure{reason: failed.reason, retryAfter: failed.retryAfter, message: message}
}

// exchangeOf narrows a token of a session to the audience of the grant.
func (r *GrantReconciler) exchangeOf(ctx context.Context, g *observation, request issuer.MintRequest, token keycloak.Token) (keycloak.Token, error) {
	if request.Exchange == nil {
		return token, nil
	}
	request.SubjectToken = token.AccessToken
	return g.conn.Mint(ctx, request)
}
