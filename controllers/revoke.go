package controllers

import (
	"context"

	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/keycloak"
)

// revoke makes the issuer forget the published token (RFC 7009). One that cannot be told from what it was rendered
// into, or that has expired, is not there to be revoked.
func (r *GrantReconciler) revoke(ctx context.Context, g *gathered) error {
	m := g.held()
	if m == nil || !g.now.Before(m.record.Token.ExpiresAt.Time) {
		return nil
	}
	return g.conn.Revoke(ctx, g.client(), m.token, keycloak.TokenTypeHintAccessToken)
}

// client names the client that a grant authenticates as.
func (g *gathered) client() issuer.SubjectRequest {
	return issuer.SubjectRequest{ClientID: g.clientID, Auth: g.auth, CredentialVersion: g.inputs.Credential, Scopes: words(g.grant.Spec.Scopes)}
}
