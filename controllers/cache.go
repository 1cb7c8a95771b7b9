package controllers

import (
	"fmt"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/skew"
)

// CacheOptions are those of the manager's cache: of Secrets it holds only our own, by their label, and of TokenGrants those that
// the selector matches, which the API server evaluates. A grant whose labels change so goes from one operator to another.
func CacheOptions(namespaces []string, grants labels.Selector) cache.Options {
	return cache.Options{
		DefaultNamespaces: byNamespace(namespaces),
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:               {Label: labels.SelectorFromSet(ours), Transform: trimSecret},
			&v1alpha1.TokenGrant{}:         {Label: grants, Transform: trimOwn},
			&v1alpha1.TokenIssuer{}:        {Transform: trimOwn},
			&v1alpha1.ClusterTokenIssuer{}: {Transform: trimOwn},
		},
	}
}

// trimOwn leaves out of a grant or an issuer what is of no use here, and what users may make as large as they like. Both are
// only ever patched, so that nothing is lost. Of managedFields the fields stay that this operator does not know.
func trimOwn(object any) (any, error) {
	o, ok := object.(client.Object)
	if !ok {
		return object, nil
	}
	o.SetManagedFields(skew.Kinds[kindOf(o)].Reduce(o.GetManagedFields()))
	o.SetLabels(nil)
	o.SetOwnerReferences(nil)
	var kept map[string]string
	if g, ok := o.(*v1alpha1.TokenGrant); ok {
		if request := refreshRequest(g); request != "" {
			kept = map[string]string{v1alpha1.RefreshRequestedAnnotation: request}
		}
	}
	o.SetAnnotations(kept)
	return object, nil
}

// kindOf names the kind of a grant or an issuer: typed objects of a cache do not say it.
func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.TokenGrant:
		return kindTokenGrant
	case *v1alpha1.TokenIssuer:
		return kindTokenIssuer
	case *v1alpha1.ClusterTokenIssuer:
		return kindClusterTokenIssuer
	default:
		panic(fmt.Sprintf("%T is neither a grant nor an issuer", o))
	}
}

const (
	// maxCachedSecret bounds what is cached of a Secret. A token in all its usual keys takes a quarter of it; larger ones are
	// read from the API server when they are needed.
	maxCachedSecret = 32 << 10
	// trimmedAnnotation marks a Secret of which the cache has no content.
	trimmedAnnotation = "tokengrant.dev/trimmed"
)

// trimSecret leaves of a Secret that carries our label who it is and whom it belongs to, unless a grant owns it and it is
// small: anybody may put the label on Secrets of 1 MiB. The content of sessions is never read from the cache.
func trimSecret(object any) (any, error) {
	s, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	s.ManagedFields = nil
	owner := metav1.GetControllerOf(s)
	if owner != nil && owner.Kind == kindTokenGrant && s.Type != sessionType && s.Size() <= maxCachedSecret {
		return s, nil
	}
	kept := corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion, Annotations: trimmed,
	}}
	if owner != nil {
		kept.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	*s = kept
	return s, nil
}

// trimmed are the annotations of all Secrets that are trimmed.
var trimmed = map[string]string{trimmedAnnotation: "true"}

func isTrimmed(s *corev1.Secret) bool { return s.Annotations[trimmedAnnotation] != "" }

// maxAllowed bounds the annotation of a ServiceAccount that is kept. A longer one allows nothing.
const maxAllowed = 4 << 10

// trim leaves of an object's metadata what is looked at, so that foreign Secrets cost next to nothing: the cluster may have
// many more of them than grants.
func trim(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	kept := metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: shared(m.APIVersion), Kind: shared(m.Kind)},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: shared(m.Namespace), Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		},
	}
	if allowed, ok := m.Annotations[v1alpha1.AllowTokenRequestAnnotation]; ok && len(allowed) <= maxAllowed {
		kept.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: allowed}
	}
	switch {
	case m.Kind == kindNamespace:
		kept.Labels = m.Labels
	case m.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue:
		kept.Labels = ours
	}
	*m = kept
	return m, nil
}

// ours are the labels that count of the Secrets that the operator writes, one map for all: maps are large.
var ours = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}

// shared gives one copy of a word that many objects have.
func shared(word string) string { return unique.Make(word).Value() }
