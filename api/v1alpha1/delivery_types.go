package v1alpha1

// Delivery is the way in which a credential reaches its users. At most one member is set.
type Delivery struct {
	// secret writes the credential into a Secret of the grant's own namespace. Default: a Secret named like the TokenGrant.
	// +optional
	Secret *SecretDelivery `json:"secret,omitempty"`
}

// SecretDelivery says what the Secret looks like.
type SecretDelivery struct {
	// name of the Secret; the name of the TokenGrant when empty. A Secret of that name that this grant does not own
	// is never touched.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be a valid name of a Secret: lower case letters, digits, '-' and '.'"
	Name string `json:"name,omitempty"`

	// labels are added to the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253)",message="the prefix of a key has at most 253 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))",message="labels must be valid: keys [prefix/]name, values at most 63 characters of letters, digits, '-', '_' and '.'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('tokengrant.dev/') && k != 'app.kubernetes.io/managed-by')",message="labels under tokengrant.dev/ and app.kubernetes.io/managed-by belong to the operator"
	// +kubebuilder:validation:XValidation:rule="!('owner' in self) || self['owner'] != 'helm'",message="the label owner=helm makes Helm read the Secret as a release of its own"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are added to the Secret; at most 32, because all annotations of an object have 256 KiB together.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253)",message="the prefix of a key has at most 253 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys of annotations must be valid: [prefix/]name"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.lowerAscii().startsWith('tokengrant.dev/'))",message="annotations under tokengrant.dev/ belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.lowerAscii().matches('^(kubernetes[.]io/service-account[.]|kubectl[.]kubernetes[.]io/|([^/]*[.])?helm[.]sh/)'))",message="annotations under kubernetes.io/service-account., kubectl.kubernetes.io/ and helm.sh/ tell other programs that the Secret is theirs"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// data replaces the default keys (access_token, token_type, expires_at, issued_at, scope; of an app password username
	// and password): key to Go template. Templates see .AccessToken .TokenType .ExpiresAt .IssuedAt .Scope and .Claims,
	// of an app password .Username .Password and .IssuedAt.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 253 && k.matches('^[-._a-zA-Z0-9]+$') && k != '.' && !k.startsWith('..'))",message="keys of data must be valid keys of a Secret: letters, digits, '-', '_' and '.'"
	Data map[string]DataTemplate `json:"data,omitempty"`

	// onExpiry says what happens to the Secret when its token has expired and no new one could be had:
	// Keep leaves it (Ready turns False), Delete removes it, so that new pods wait instead of starting with a dead token.
	// Default: Keep.
	// +optional
	// +kubebuilder:validation:Enum=Keep;Delete
	OnExpiry OnExpiry `json:"onExpiry,omitempty"`

	// nudgePods lets the operator annotate, after each new token, the running pods that mount the Secret. Their kubelets
	// then bring it at once, where they take up to 90 s otherwise. The operator must be allowed to: config/nudge-pods.
	// +optional
	NudgePods bool `json:"nudgePods,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// DataTemplate is a Go text/template with a hermetic set of functions: no environment, clock, network or randomness.
//
// +kubebuilder:validation:MaxLength=16384
type DataTemplate string

// OnExpiry says what happens to a Secret whose token has expired.
type OnExpiry string

const (
	// OnExpiryKeep leaves the Secret.
	OnExpiryKeep OnExpiry = "Keep"
	// OnExpiryDelete deletes the Secret.
	OnExpiryDelete OnExpiry = "Delete"
)
