package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenGrant asks for a token of one service account for one audience, kept fresh in a Secret of its own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tg,categories=tokengrant
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Audience",type=string,JSONPath=`.spec.exchange.audience`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.status.token.username`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Client",type=string,priority=1,JSONPath=`.status.token.clientID`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Refresh",type=string,priority=1,JSONPath=`.status.refreshAt`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.serviceAccount) || !has(self.spec.serviceAccount.clientSecretRef) || self.spec.serviceAccount.clientSecretRef.name != (has(self.spec.secret.name) && size(self.spec.secret.name) > 0 ? self.spec.secret.name : self.metadata.name)",message="the token would be written into the Secret that holds the client secret: set spec.secret.name to another name"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.appPassword) || self.spec.appPassword.loginSecretRef.name != (has(self.spec.secret.name) && size(self.spec.secret.name) > 0 ? self.spec.secret.name : self.metadata.name)",message="the app password would be written into the Secret that holds the login: set spec.secret.name to another name"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.subject) || !has(self.spec.subject.offlineTokenSecretRef) || self.spec.subject.offlineTokenSecretRef.name != (has(self.spec.secret.name) && size(self.spec.secret.name) > 0 ? self.spec.secret.name : self.metadata.name)",message="the token would be written into the Secret that holds the offline token: set spec.secret.name to another name"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.secret.name) || self.spec.secret.name != self.metadata.name + '-tokengrant-session'",message="the operator keeps the session of this TokenGrant in the Secret of that name: set spec.secret.name to another name"
type TokenGrant struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec TokenGrantSpec `json:"spec"`
	// +optional
	Status TokenGrantStatus `json:"status,omitempty"`
}

// TokenGrantList is a list of TokenGrants.
//
// +kubebuilder:object:root=true
type TokenGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenGrant `json:"items"`
}

// TokenGrantSpec is what the user asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.subject.tokenSecretRef) || has(self.exchange)",message="subject.tokenSecretRef is a token to exchange: set exchange.audience"
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.subject.tokenSecretRef) || !has(self.scopes)",message="subject.tokenSecretRef brings a token that has its scopes already: set exchange.scopes"
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.exchange) || !has(self.exchange.requestedSubject)",message="exchange.requestedSubject is impersonation by the service account: drop subject"
// +kubebuilder:validation:XValidation:rule="has(self.issuerRef) != has(self.appPassword)",message="set exactly one of issuerRef (tokens of an issuer) and appPassword (an app password of Nextcloud)"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !(has(self.serviceAccount) || has(self.subject) || has(self.exchange) || has(self.scopes))",message="appPassword asks no issuer: drop serviceAccount, scopes, subject and exchange"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || has(self.nextcloud)",message="appPassword needs the server that makes it: set nextcloud.url"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.refresh) || !(has(self.refresh.before) || has(self.refresh.beforePercentage))",message="an app password does not expire: set appPassword.rotateAfter instead of refresh"
type TokenGrantSpec struct {
	// issuerRef names the TokenIssuer of this namespace, or the ClusterTokenIssuer, that the token comes from.
	// Exactly one of issuerRef and appPassword is set.
	// +optional
	IssuerRef IssuerRef `json:"issuerRef,omitzero"`

	// serviceAccount is the OAuth client whose service account the token is for. Without it the issuer's own
	// serviceAccount is used; a ClusterTokenIssuer must allow that.
	// +optional
	ServiceAccount *ServiceAccount `json:"serviceAccount,omitempty"`

	// scopes are asked for with the subject token (RFC 6749 §3.3).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Scopes []Scope `json:"scopes,omitempty"`

	// subject says whose token it is; the service account's own when omitted.
	// +optional
	Subject *Subject `json:"subject,omitempty"`

	// exchange narrows the token to its audience (RFC 8693). Without it the service account's own token is
	// published, with every audience that the issuer puts into it.
	// +optional
	Exchange *Exchange `json:"exchange,omitempty"`

	// secret is where the token is written, always in the namespace of this TokenGrant.
	// +optional
	// +kubebuilder:default={}
	Secret SecretTemplate `json:"secret,omitempty"`

	// refresh says how long before its expiry a token is replaced.
	// +optional
	Refresh Refresh `json:"refresh,omitempty"`

	// nextcloud is the server that must accept the token before it is published. Without it nothing is checked
	// beyond the token's signature and claims.
	// +optional
	Nextcloud *NextcloudCheck `json:"nextcloud,omitempty"`

	// appPassword asks Nextcloud itself for a credential: an app password of the account that logs in once. It takes the
	// place of issuerRef, serviceAccount, scopes, subject and exchange.
	// +optional
	AppPassword *AppPassword `json:"appPassword,omitempty"`

	// revokeOnDelete revokes what was published when the TokenGrant is deleted (RFC 7009): the access token and, with
	// subject.offlineTokenSecretRef, the session of the user who logged in. Verifiers that check signatures only, as
	// Nextcloud does, accept a token until it expires. App passwords and the sessions of impersonations always end with
	// their TokenGrant.
	// +optional
	RevokeOnDelete bool `json:"revokeOnDelete,omitempty"`

	// suspend stops refreshing; the Secret stays as it is.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// IssuerRef names an issuer.
type IssuerRef struct {
	// kind is TokenIssuer (of the grant's namespace) or ClusterTokenIssuer.
	// +optional
	// +kubebuilder:default=TokenIssuer
	// +kubebuilder:validation:Enum=TokenIssuer;ClusterTokenIssuer
	Kind string `json:"kind,omitempty"`
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Scope is one scope-token of RFC 6749 §3.3.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x21\\\\x23-\\\\x5B\\\\x5D-\\\\x7E]+$')",message="a scope is one word of printable characters without spaces, quotes and backslashes (RFC 6749 §3.3); list several scopes as several items"
type Scope string

// Audience is one logical name of a target service (RFC 8693 §2.1); at Keycloak the client ID of the resource.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x21-\\\\x7E]+$')",message="an audience is one word without spaces; list several audiences as several items"
type Audience string

// Exchange is a token exchange (RFC 8693; Keycloak: Standard Token Exchange V2).
type Exchange struct {
	// audience of the published token. It is always sent: without it Keycloak would answer a token for every
	// audience of the client.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Audience []Audience `json:"audience"`

	// scopes are asked for with the exchange; at Keycloak they add optional client scopes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Scopes []Scope `json:"scopes,omitempty"`

	// requestedSubject is the user, by name or ID, as whom the service account acts: impersonation, which no standard
	// has. Keycloak has it in its feature token-exchange:v1 only, for clients that may impersonate. One session of that
	// user is kept, and ended when the TokenGrant is deleted. A ClusterTokenIssuer must allow the user, whoever brings
	// the client.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	RequestedSubject string `json:"requestedSubject,omitempty"`
}

// SecretTemplate says what the Secret looks like.
type SecretTemplate struct {
	// name of the Secret; the name of the TokenGrant when empty. A Secret of that name that this grant does not own
	// is never touched.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be a valid name of a Secret: lower case letters, digits, '-' and '.'"
	Name string `json:"name,omitempty"`

	// labels are added to the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))",message="labels must be valid: keys [prefix/]name, values at most 63 characters of letters, digits, '-', '_' and '.'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('tokengrant.dev/') && k != 'app.kubernetes.io/managed-by')",message="labels under tokengrant.dev/ and app.kubernetes.io/managed-by belong to the operator"
	// +kubebuilder:validation:XValidation:rule="!('owner' in self) || self['owner'] != 'helm'",message="the label owner=helm makes Helm read the Secret as a release of its own"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are added to the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys of annotations must be valid: [prefix/]name"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('tokengrant.dev/'))",message="annotations under tokengrant.dev/ belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('^(kubernetes[.]io/service-account[.]|kubectl[.]kubernetes[.]io/|([^/]*[.])?helm[.]sh/)'))",message="annotations under kubernetes.io/service-account., kubectl.kubernetes.io/ and helm.sh/ tell other programs that the Secret is theirs"
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
	// +optional
	// +kubebuilder:default=Keep
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

// Refresh says how much life is left in a token when it is replaced. Either margin is cut to half of the life that
// the issuer really gave, so that a short token is never minted in a loop.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.before) && has(self.beforePercentage))",message="set before or beforePercentage, not both"
type Refresh struct {
	// before is the margin as a duration: between 1s and 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="before must be between 1s and 24h"
	Before *metav1.Duration `json:"before,omitempty"`

	// beforePercentage is the margin as a share of the token's life: 5 to 50, 33 when neither field is set.
	// +optional
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=50
	BeforePercentage *int32 `json:"beforePercentage,omitempty"`
}
