// Package v1alpha1 is the API of TokenGrant: what a platform team applies and what the operator answers.
//
// A TokenGrant names a service account and an audience; a TokenIssuer or ClusterTokenIssuer says where tokens
// come from. Every rule that a schema or CEL can state stands here, so that the API server refuses bad input
// with a sentence before the operator ever sees it.
//
// +kubebuilder:object:generate=true
// +groupName=tokengrant.dev
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="../../applyconfiguration"
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of all kinds of this package.
var GroupVersion = schema.GroupVersion{Group: "tokengrant.dev", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion by the name that generated clients use.
var SchemeGroupVersion = GroupVersion

// AddToScheme registers the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TokenGrant{}, &TokenGrantList{},
		&TokenIssuer{}, &TokenIssuerList{},
		&ClusterTokenIssuer{}, &ClusterTokenIssuerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

const (
	// RefreshRequestedAnnotation on a TokenGrant asks for a new token at once; every new value is one request.
	RefreshRequestedAnnotation = "tokengrant.dev/refresh-requested"
	// PublishedAnnotation on the Secret is the record of the token it holds: metadata only, never the token.
	PublishedAnnotation = "tokengrant.dev/published"
	// PublishedAtAnnotation on a pod is when the token in a Secret that it mounts was last replaced.
	PublishedAtAnnotation = "tokengrant.dev/published-at"
	// AllowTokenRequestAnnotation on a ServiceAccount lets the operator ask for its tokens: for the audiences that it lists,
	// separated by commas, or for the URL of the grant's issuer alone if it is "true".
	AllowTokenRequestAnnotation = "tokengrant.dev/allow-token-request"
	// RevokeFinalizer holds a deleted TokenGrant, for a minute at most, until what it has outside the cluster has ended.
	RevokeFinalizer = "tokengrant.dev/revoke"
	// GrantLabel on the Secret names the TokenGrant that owns it.
	GrantLabel = "tokengrant.dev/grant"
	// ManagedByLabel with ManagedByValue marks the Secrets that the operator writes and caches.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedByValue is the value of ManagedByLabel.
	ManagedByValue = "tokengrant"
)
