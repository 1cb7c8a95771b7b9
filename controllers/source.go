package controllers

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// mint gets a new token from the issuer and verifies it. This is the only file that knows both the API and keycloak:
// a new kind of subject or of client authentication is one more case here.
func (r *GrantReconciler) mint(ctx context.Context, g *observation) (*minted, error) {
	spec := g.grant.Spec
	if spec.AppPassword != nil {
		return r.mintAppPassword(ctx, g)
	}
	request := issuer.MintRequest{Subject: g.client(), SubjectToken: g.subject.token, Assertion: g.subject.assertion}
	expect := keycloak.Expect{ClientID: g.clientID}
	if e := spec.Exchange; e != nil {
		request.Exchange = &keycloak.ExchangeRequest{Audience: words(e.Audiences), Scopes: words(e.Scopes)}
		expect.Audience, expect.Exact = request.Exchange.Audience, true
	}
	asking, sent := issuer.WithSentAt(ctx)
	asked := r.Clock.Now()
	token, err := r.ask(asking, g, request)
	g.leave()
	if at := sent(); at.After(asked) {
		asked = at // The wait for a turn is none of the token's life.
	}
	if err != nil {
		return nil, err
	}
	// Our clock may be wrong; how long the token lives is found out below, from its own times.
	expect.Secrets = append([]sensitive.String{token.RefreshToken}, token.Sent...)
	expect.Now = asked.Add(-plan.MaxSkew)
	claims, err := g.conn.Verify(ctx, token.AccessToken, expect)
	if err != nil {
		return nil, err
	}
	if err := checkUser(g, claims); err != nil {
		return nil, err
	}
	return newMinted(g, token, claims, asked)
}

// ask gets the token: in a session that is kept, where the grant has one.
func (r *GrantReconciler) ask(ctx context.Context, g *observation, request issuer.MintRequest) (keycloak.Token, error) {
	switch {
	case g.subject.login != nil:
		return r.mintOffline(ctx, g, request)
	case requestedSubject(g.grant) != "":
		return r.mintImpersonated(ctx, g, request)
	default:
		return g.conn.Mint(ctx, request)
	}
}

func newMinted(g *observation, token keycloak.Token, claims *keycloak.Claims, asked time.Time) (*minted, error) {
	life := plan.Life(asked, token.ExpiresIn, claims.IssuedAt, claims.Expiry)
	if life < time.Second {
		return nil, failf(v1alpha1.ReasonTokenNotVerified, "the issuer answered with a token that expires at %s and has no life left: check the clocks of the issuer and of this cluster, and access.token.lifespan of client %q",
			claims.Expiry.UTC().Format(time.RFC3339), g.clientID)
	}
	issued := metav1.NewTime(asked.UTC().Truncate(time.Second))
	return &minted{
		token:     token.AccessToken,
		tokenType: token.TokenType,
		access:    g.access(),
		record: plan.Record{
			Token: v1alpha1.TokenStatus{
				Subject:   claims.Subject,
				Username:  claims.Username,
				ClientID:  claims.ClientID,
				Audiences: claims.Audience,
				Scopes:    claims.Scopes,
				IssuedAt:  issued,
				ExpiresAt: metav1.NewTime(issued.Add(life).Truncate(time.Second)),
			},
			Inputs:     g.inputs.Token,
			Credential: g.inputs.Credential,
			Request:    refreshRequest(g.grant),
			KeyID:      claims.KeyID,
		},
	}, nil
}

func words[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}
