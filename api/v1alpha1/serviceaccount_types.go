package v1alpha1

// ServiceAccount is an OAuth client (RFC 6749 §2.1, confidential) and the one way in which it authenticates. Its service
// account is a user of the issuer. It is no ServiceAccount of Kubernetes: kubernetesToken names one of those.
//
// +kubebuilder:validation:XValidation:rule="[has(self.clientSecret), has(self.privateKeyJWT), has(self.certificate), has(self.kubernetesToken)].filter(x, x).size() == 1",message="set exactly one of clientSecret, privateKeyJWT, certificate and kubernetesToken"
type ServiceAccount struct {
	// clientID is the client identifier.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x20-\\\\x7E]+$')",message="clientID must be of printable ASCII characters (RFC 6749 appendix A.1)"
	ClientID string `json:"clientID"`

	// clientSecret authenticates by client secret (RFC 6749 §2.3.1).
	// +optional
	ClientSecret *ClientSecret `json:"clientSecret,omitempty"`

	// privateKeyJWT authenticates by a JWT that a private key signs (RFC 7523 §2.2): the issuer holds the public key only.
	// +optional
	PrivateKeyJWT *PrivateKeyJWT `json:"privateKeyJWT,omitempty"`

	// certificate authenticates by the certificate of the TLS connection (RFC 8705 §2.1, tls_client_auth).
	// +optional
	Certificate *ClientCertificate `json:"certificate,omitempty"`

	// kubernetesToken authenticates by a token of a Kubernetes ServiceAccount (RFC 7523 §2.2): no secret is stored anywhere.
	// Keycloak takes it since 26.6.
	// +optional
	KubernetesToken *KubernetesToken `json:"kubernetesToken,omitempty"`
}

// ClientSecret is a client secret and the way in which it is sent.
type ClientSecret struct {
	// secretRef names the client secret. Its default key is client-secret. A changed Secret is used at once.
	// +required
	SecretRef SecretKeyRef `json:"secretRef"`
	// method is Basic (Authorization header) or Post (in the body). Default: Basic.
	// +optional
	// +kubebuilder:validation:Enum=Basic;Post
	Method ClientSecretMethod `json:"method,omitempty"`
}

// ClientSecretMethod is how a client secret is sent.
type ClientSecretMethod string

const (
	// ClientSecretBasic is client_secret_basic.
	ClientSecretBasic ClientSecretMethod = "Basic"
	// ClientSecretPost is client_secret_post.
	ClientSecretPost ClientSecretMethod = "Post"
)

// PrivateKeyJWT is a private key that signs client assertions.
type PrivateKeyJWT struct {
	// secretRef names the key: PEM (PKCS #8, PKCS #1, SEC 1) or JWK. Its default key is tls.key. A changed Secret is used
	// at once.
	// +required
	SecretRef SecretKeyRef `json:"secretRef"`
	// algorithm of the signature (RFC 7518 §3.1). Default: RS256.
	// +optional
	// +kubebuilder:validation:Enum=RS256;PS256;ES256
	Algorithm string `json:"algorithm,omitempty"`
	// keyID is the kid under which the issuer knows the public key; the JWK's own, or its RFC 7638 thumbprint, when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x20-\\\\x7E]*$')",message="must be of printable ASCII characters"
	KeyID string `json:"keyID,omitempty"`
}

// ClientCertificate is a client certificate and its private key.
type ClientCertificate struct {
	// secretRef names a Secret of the type kubernetes.io/tls. A changed certificate is used at once.
	// +required
	SecretRef SecretRef `json:"secretRef"`
}

// KubernetesToken is a token of a ServiceAccount, asked for when it is needed and never stored.
type KubernetesToken struct {
	// serviceAccountName is a ServiceAccount of the same namespace. Its annotation
	// tokengrant.dev/allow-token-request must list the audience, or be "true" for the issuer's URL. Never use "default",
	// which every pod shares.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a ServiceAccount: lower case letters, digits, '-' and '.'"
	// +kubebuilder:validation:XValidation:rule="self != 'default'",message="use a ServiceAccount of its own: every pod of the namespace can be \"default\""
	ServiceAccountName string `json:"serviceAccountName"`
	// audience of the token; the issuer's URL when empty, which is what Keycloak asks for. It cannot be one for which the
	// API server itself accepts tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x21-\\\\x7E]*$')",message="must be one word of printable ASCII characters"
	Audience string `json:"audience,omitempty"`
	// expirationSeconds of the token: 600 to 3600. Default: 600.
	// +optional
	// +kubebuilder:validation:Minimum=600
	// +kubebuilder:validation:Maximum=3600
	ExpirationSeconds int64 `json:"expirationSeconds,omitempty"`
}
