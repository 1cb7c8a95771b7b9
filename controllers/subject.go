package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// subject is whose token is minted. Both fields are empty where it is the service account's own.
type subject struct {
	// token is another party's, to be exchanged.
	token sensitive.String
	// assertion gives a JWT of another issuer, a fresh one for each mint where its source has one.
	assertion func(ctx context.Context) (sensitive.String, error)
	// login is how the session of a user began.
	login *login
}

// gatherSubject is the closed list of subjects. What a subject comes from counts as a credential: when it changes, a
// new token is minted.
func (r *GrantReconciler) gatherSubject(ctx context.Context, g *observation) error {
	s := g.grant.Spec.Subject
	switch {
	case s == nil:
		return nil
	case s.TokenSecretRef != nil:
		token, err := r.subjectToken(ctx, g, s.TokenSecretRef)
		if err != nil {
			return err
		}
		g.subject.token = token.value
		g.inputs.Credential += " " + token.version
	case s.OfflineTokenSecretRef != nil:
		login, err := r.offlineLogin(ctx, g, s.OfflineTokenSecretRef)
		if err != nil {
			return err
		}
		g.subject.login = login
		g.inputs.Credential += " " + login.source
	case s.Assertion != nil && s.Assertion.TokenSecretRef != nil:
		token, err := r.subjectToken(ctx, g, s.Assertion.TokenSecretRef)
		if err != nil {
			return err
		}
		g.subject.assertion = func(context.Context) (sensitive.String, error) { return token.value, nil }
		g.inputs.Credential += " " + token.version
	case s.Assertion != nil && s.Assertion.KubernetesToken != nil:
		a, err := r.kubernetesToken(ctx, g, s.Assertion.KubernetesToken, g.grant.Namespace)
		if err != nil {
			return err
		}
		g.subject.assertion = a.get
		g.inputs.Credential += " " + a.version
	default:
		return failf(v1alpha1.ReasonInvalidSpec, "spec.subject is empty: set tokenSecretRef, offlineTokenSecretRef or assertion, or drop it")
	}
	return nil
}

func (r *GrantReconciler) subjectToken(ctx context.Context, g *observation, ref *v1alpha1.SecretKeyRef) (content, error) {
	return r.Issuers.References.read(ctx, reference{kindSecret, types.NamespacedName{Namespace: g.grant.Namespace, Name: ref.Name}, ref.Key})
}

// subjectInputs tells one subject from another: a token of another subject is another token.
func subjectInputs(s *v1alpha1.Subject) []string {
	switch {
	case s == nil:
		return nil
	case s.TokenSecretRef != nil:
		return []string{"token", s.TokenSecretRef.Name, s.TokenSecretRef.Key}
	case s.OfflineTokenSecretRef != nil:
		return []string{"offline", s.OfflineTokenSecretRef.Name, s.OfflineTokenSecretRef.Key}
	case s.Assertion != nil && s.Assertion.TokenSecretRef != nil:
		return []string{"assertion", s.Assertion.TokenSecretRef.Name, s.Assertion.TokenSecretRef.Key}
	case s.Assertion != nil && s.Assertion.KubernetesToken != nil:
		return []string{"kubernetesToken", s.Assertion.KubernetesToken.ServiceAccountName, s.Assertion.KubernetesToken.Audience}
	}
	return nil
}
