package controllers

import (
	"cmp"
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// refersTo indexes grants and issuers by what they refer to: "Secret/name", "ConfigMap/name", "TokenIssuer/name".
const refersTo = "refersTo"

func index(ctx context.Context, indexer client.FieldIndexer, shared bool) error {
	kinds := []client.Object{&v1alpha1.TokenGrant{}, &v1alpha1.TokenIssuer{}}
	if shared {
		kinds = append(kinds, &v1alpha1.ClusterTokenIssuer{})
	}
	for _, object := range kinds {
		if err := indexer.IndexField(ctx, object, refersTo, references); err != nil {
			return fmt.Errorf("indexing %T: %w", object, err)
		}
	}
	return nil
}

// references lists what an object refers to.
func references(object client.Object) []string {
	switch o := object.(type) {
	case *v1alpha1.TokenGrant:
		refs := append(accountReferences(o.Spec.ServiceAccount), subjectReferences(o.Spec.Subject)...)
		refs = append(refs, kindSecret+"/"+secretName(o), cmp.Or(o.Spec.IssuerRef.Kind, kindTokenIssuer)+"/"+o.Spec.IssuerRef.Name)
		if a := o.Spec.AppPassword; a != nil && a.From.LoginSecretRef != nil {
			refs = append(refs, kindSecret+"/"+a.From.LoginSecretRef.Name)
		}
		if keepsSession(o) {
			refs = append(refs, kindSecret+"/"+sessionName(o))
		}
		if n := o.Spec.Nextcloud(); n != nil {
			refs = append(refs, caReferences(n.CARef)...)
		}
		return refs
	case *v1alpha1.TokenIssuer:
		return append(accountReferences(o.Spec.ServiceAccount), caReferences(o.Spec.CARef)...)
	case *v1alpha1.ClusterTokenIssuer:
		return append(accountReferences(o.Spec.ServiceAccount), caReferences(o.Spec.CARef)...)
	}
	return nil
}

func accountReferences(a *v1alpha1.ServiceAccount) []string {
	if a == nil {
		return nil
	}
	switch {
	case a.ClientSecret != nil:
		return []string{kindSecret + "/" + a.ClientSecret.SecretRef.Name}
	case a.PrivateKeyJWT != nil:
		return []string{kindSecret + "/" + a.PrivateKeyJWT.SecretRef.Name}
	case a.Certificate != nil:
		return []string{kindSecret + "/" + a.Certificate.SecretRef.Name}
	case a.KubernetesToken != nil:
		return []string{kindServiceAccount + "/" + a.KubernetesToken.ServiceAccountName}
	}
	return nil
}

func subjectReferences(s *v1alpha1.Subject) []string {
	switch {
	case s == nil:
		return nil
	case s.TokenSecretRef != nil:
		return []string{kindSecret + "/" + s.TokenSecretRef.Name}
	case s.OfflineTokenSecretRef != nil:
		return []string{kindSecret + "/" + s.OfflineTokenSecretRef.Name}
	case s.Assertion != nil && s.Assertion.TokenSecretRef != nil:
		return []string{kindSecret + "/" + s.Assertion.TokenSecretRef.Name}
	case s.Assertion != nil && s.Assertion.KubernetesToken != nil:
		return []string{kindServiceAccount + "/" + s.Assertion.KubernetesToken.ServiceAccountName}
	}
	return nil
}

func caReferences(ref *v1alpha1.CARef) []string {
	if ref == nil {
		return nil
	}
	return []string{cmp.Or(ref.Kind, kindConfigMap) + "/" + ref.Name}
}
