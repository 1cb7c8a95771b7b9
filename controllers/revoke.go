package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/keycloak"
)

// access is how an issuer is asked as a client. Whatever is minted remembers it, so that it can be ended when the spec
// names another client, or the credential is gone.
type access struct {
	issuer string
	conn   *issuer.Issuer
	client issuer.SubjectRequest
}

func (g *observation) access() *access { return &access{string(g.issuer.spec.URL), g.conn, g.client()} }

// client names the client that a grant authenticates as.
func (g *observation) client() issuer.SubjectRequest {
	return issuer.SubjectRequest{
		ClientID: g.clientID, Auth: g.auth, CredentialVersion: g.inputs.Credential, Certificate: g.certificate,
		Scopes: words(g.grant.Spec.Scopes),
	}
}

// accessTo finds the access to what a client holds at an issuer: by the spec as it is now, else from memory. It asks
// nobody's leave: what was allowed once may always be ended. Nothing is sent to any other issuer, or as another client.
func (r *GrantReconciler) accessTo(ctx context.Context, g *observation, issuerURL, clientID string, remembered *access) (*access, error) {
	present, err := r.presentAccess(ctx, g)
	for _, a := range []*access{present, remembered} {
		if a != nil && a.issuer == issuerURL && a.client.ClientID == clientID {
			return a, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, failf(v1alpha1.ReasonNotRevoked, "that belongs to client %q of %s, and the TokenGrant names another one now", clientID, issuerURL)
}

// presentAccess reads no more of the spec than it takes to authenticate.
func (r *GrantReconciler) presentAccess(ctx context.Context, g *observation) (*access, error) {
	var err error
	if g.issuer, err = r.Issuers.resolve(ctx, g.grant.Namespace, g.grant.Spec.IssuerRef); err != nil {
		return nil, err
	}
	if g.conn, err = r.Issuers.connect(ctx, g.issuer); err != nil {
		return nil, err
	}
	if err := r.gatherCredential(ctx, g); err != nil {
		return nil, err
	}
	return g.access(), nil
}

// revokePublished makes the issuer forget the published token (RFC 7009), where the spec wants that. One that has
// expired is not there to be revoked.
func (r *GrantReconciler) revokePublished(ctx context.Context, g *observation) error {
	if g.grant.Spec.DeletionPolicy != v1alpha1.DeletionRevoke || g.grant.Spec.AppPassword != nil {
		return nil
	}
	if _, err := asFailure(r.gatherSecret(ctx, g)); err != nil {
		return err
	}
	m := g.held()
	if m == nil {
		m = g.past.minted
	}
	switch {
	case m == nil && g.record != nil && g.now.Before(g.record.Token.ExpiresAt.Time):
		return failf(v1alpha1.ReasonNotRevoked, "%s: it cannot be told from what spec.delivery.secret.data made of it", theToken(g.record))
	case m == nil, !g.now.Before(m.record.Token.ExpiresAt.Time):
		return nil
	}
	issuedBy, _ := claims(m.token)["iss"].(string)
	a, err := r.accessTo(ctx, g, issuedBy, m.record.Token.ClientID, m.access)
	if err == nil {
		err = r.away(ctx, g, func(ctx context.Context) error {
			return a.conn.Revoke(ctx, a.client, m.token, keycloak.TokenTypeHintAccessToken)
		})
	}
	return annotate(err, theToken(&m.record))
}

func theToken(record *plan.Record) string {
	return fmt.Sprintf("the access token (it expires at %s)", record.Token.ExpiresAt.UTC().Format(time.RFC3339))
}

// annotate says what a failure is about.
func annotate(err error, what string) error {
	f, other := asFailure(err)
	if f == nil {
		return other
	}
	return &failure{reason: f.reason, message: what + ": " + f.message, retryAfter: f.retryAfter}
}
