package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

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
	return requestedSubject(grant) != "" || grant.Spec.Subject != nil && grant.Spec.Subject.OfflineTokenSecretRef != nil
}

// offlineLogin reads the token of the login. Its Secret may go once the session is kept.
func (r *GrantReconciler) offlineLogin(ctx context.Context, g *gathered, ref *v1alpha1.OfflineTokenSecretRef) (*login, error) {
	if err := r.canKeep(); err != nil {
		return nil, err
	}
	token, err := r.Issuers.References.read(ctx, reference{kindSecret, types.NamespacedName{Namespace: g.grant.Namespace, Name: ref.Name}, ref.Key})
	if err == nil {
		return &login{token.value, plan.HashInputs(token.value.Reveal())}, nil
	}
	if missing, other := asFailure(err); other != nil || missing.reason != v1alpha1.ReasonCredentialMissing {
		return nil, err
	}
	s, sessionErr := r.session(ctx, g)
	if sessionErr != nil || s.RefreshToken.IsZero() {
		return nil, err
	}
	return &login{source: s.Source}, nil
}

// mintOffline refreshes the session of a user and exchanges the answer, if that is asked for. The new refresh token is
// kept before anything else: where the realm revokes refresh tokens, the old one is void already.
func (r *GrantReconciler) mintOffline(ctx context.Context, g *gathered, request issuer.MintRequest) (keycloak.Token, error) {
	s, err := r.session(ctx, g)
	if err != nil {
		return keycloak.Token{}, err
	}
	if s.unsaved {
		if err := r.saveSession(ctx, g); err != nil {
			return keycloak.Token{}, err
		}
	}
	login, refreshToken := g.subject.login, s.RefreshToken
	if s.Source != login.source {
		refreshToken = login.token
	}
	token, err := g.conn.Refresh(ctx, request.Subject, refreshToken)
	if err != nil {
		return keycloak.Token{}, err
	}
	state := offline.State{Source: login.source, RefreshToken: token.RefreshToken, Issuer: string(g.issuer.spec.URL), ClientID: g.clientID}
	if err := r.keep(ctx, g, state); err != nil {
		return keycloak.Token{}, err
	}
	return r.exchangeOf(ctx, g, request, token)
}

// exchangeOf narrows a token of a session to the audience of the grant.
func (r *GrantReconciler) exchangeOf(ctx context.Context, g *gathered, request issuer.MintRequest, token keycloak.Token) (keycloak.Token, error) {
	if request.Exchange == nil {
		return token, nil
	}
	request.SubjectToken = token.AccessToken
	return g.conn.Mint(ctx, request)
}
