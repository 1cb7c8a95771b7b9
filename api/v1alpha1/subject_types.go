package v1alpha1

// Subject says whose token it is.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tokenSecretRef), has(self.offlineTokenSecretRef), has(self.assertion)].filter(x, x).size() == 1",message="set exactly one of tokenSecretRef, offlineTokenSecretRef and assertion"
type Subject struct {
	// tokenSecretRef is an access token of the same issuer that another party keeps in a Secret of this namespace.
	// Its aud must name the client, or its azp be the client. A changed token is exchanged at once. Default key: access_token.
	// +optional
	TokenSecretRef *SecretKeyRef `json:"tokenSecretRef,omitempty"`

	// offlineTokenSecretRef is the offline (refresh) token of a user who logged in once, for this client. It is refreshed
	// before each mint; the newest one is kept encrypted in a Secret of the operator's own, so that the named Secret
	// may be deleted once the TokenGrant is Ready. A changed Secret is a new login. Default key: refresh_token.
	// +optional
	OfflineTokenSecretRef *SecretKeyRef `json:"offlineTokenSecretRef,omitempty"`

	// assertion is a JWT of another issuer that this one trusts (JWT authorization grant, RFC 7523 §2.1): a token of
	// another realm, or of a Kubernetes ServiceAccount. The issuer maps it to one of its users. Keycloak: since 26.6.
	// +optional
	Assertion *Assertion `json:"assertion,omitempty"`
}

// Assertion is where a JWT of another issuer comes from.
//
// +kubebuilder:validation:XValidation:rule="has(self.tokenSecretRef) != has(self.kubernetesToken)",message="set exactly one of tokenSecretRef and kubernetesToken"
type Assertion struct {
	// tokenSecretRef is a token in a Secret of this namespace, such as the one of another TokenGrant. Issuers take an
	// assertion once only, unless told otherwise: let the other token live shorter than this one. Default key: access_token.
	// +optional
	TokenSecretRef *SecretKeyRef `json:"tokenSecretRef,omitempty"`

	// kubernetesToken is a token of a ServiceAccount of this namespace, a fresh one for each mint.
	// +optional
	KubernetesToken *KubernetesToken `json:"kubernetesToken,omitempty"`
}
