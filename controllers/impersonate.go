package controllers

import (
	"context"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/keycloak"
)

// mintImpersonated continues the session of the requested subject, or opens it.
func (r *GrantReconciler) mintImpersonated(_ context.Context, _ *gathered, _ issuer.MintRequest) (keycloak.Token, error) {
	return keycloak.Token{}, failf(v1alpha1.ReasonImpersonationUnsupported, "exchange.requestedSubject cannot be served yet")
}
