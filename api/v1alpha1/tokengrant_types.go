package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenGrant asks for a token of one service account for one audience, kept fresh in a Secret of its own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tg,categories=tokengrant
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Audience",type=string,JSONPath=`.spec.exchange.audiences`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.status.token.username`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Client",type=string,priority=1,JSONPath=`.status.token.clientID`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Refresh",type=string,priority=1,JSONPath=`.status.refreshAt`
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.serviceAccount) || !has(self.spec.serviceAccount.clientSecret) || !has(self.spec.serviceAccount.clientSecret.secretRef) || self.spec.serviceAccount.clientSecret.secretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the client secret: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.serviceAccount) || !has(self.spec.serviceAccount.privateKeyJWT) || !has(self.spec.serviceAccount.privateKeyJWT.secretRef) || self.spec.serviceAccount.privateKeyJWT.secretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the private key: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.serviceAccount) || !has(self.spec.serviceAccount.certificate) || !has(self.spec.serviceAccount.certificate.secretRef) || self.spec.serviceAccount.certificate.secretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the client certificate: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.subject) || !has(self.spec.subject.tokenSecretRef) || self.spec.subject.tokenSecretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the subject token: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.subject) || !has(self.spec.subject.offlineTokenSecretRef) || self.spec.subject.offlineTokenSecretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the offline token: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.subject) || !has(self.spec.subject.assertion) || !has(self.spec.subject.assertion.tokenSecretRef) || self.spec.subject.assertion.tokenSecretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the assertion: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.appPassword) || !has(self.spec.appPassword.from) || !has(self.spec.appPassword.from.loginSecretRef) || self.spec.appPassword.from.loginSecretRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the login: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.check) || !has(self.spec.check.nextcloud) || !has(self.spec.check.nextcloud.caRef) || !has(self.spec.check.nextcloud.caRef.kind) || self.spec.check.nextcloud.caRef.kind != 'Secret' || self.spec.check.nextcloud.caRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the certificate authorities of check.nextcloud: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !has(self.spec.appPassword) || !has(self.spec.appPassword.nextcloud.caRef) || !has(self.spec.appPassword.nextcloud.caRef.kind) || self.spec.appPassword.nextcloud.caRef.kind != 'Secret' || self.spec.appPassword.nextcloud.caRef.name != (has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name)",message="the credential would be written into the Secret that holds the certificate authorities of appPassword.nextcloud: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() && oldSelf.value().spec == self.spec || !(has(self.spec.delivery) && has(self.spec.delivery.secret) && has(self.spec.delivery.secret.name) && size(self.spec.delivery.secret.name) > 0 ? self.spec.delivery.secret.name : self.metadata.name).endsWith('-tokengrant-session')",message="names that end in -tokengrant-session are for the Secrets in which the operator keeps sessions: choose another name",fieldPath=".spec.delivery.secret.name",optionalOldSelf=true
type TokenGrant struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec TokenGrantSpec `json:"spec"`
	// +optional
	// +kubebuilder:default={"observedGeneration":-1,"conditions":{{"type":"Ready","status":"Unknown","reason":"Pending","message":"Waiting for the operator","lastTransitionTime":"1970-01-01T00:00:00Z"}}}
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
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.subject.tokenSecretRef) || has(self.exchange)",message="subject.tokenSecretRef is a token to exchange: set exchange.audiences",fieldPath=".exchange"
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.subject.tokenSecretRef) || !has(self.scopes) || size(self.scopes) == 0",message="subject.tokenSecretRef brings a token that has its scopes already: set exchange.scopes instead",fieldPath=".scopes"
// +kubebuilder:validation:XValidation:rule="!has(self.subject) || !has(self.exchange) || !has(self.exchange.requestedSubject)",message="requestedSubject is impersonation by the service account: remove subject",fieldPath=".exchange.requestedSubject"
// +kubebuilder:validation:XValidation:rule="has(self.issuerRef) != has(self.appPassword)",message="set exactly one of issuerRef (tokens of an issuer) and appPassword (an app password of Nextcloud)",fieldPath=".issuerRef"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !(has(self.serviceAccount) || has(self.subject) || has(self.exchange) || has(self.scopes) && size(self.scopes) > 0)",message="an app password needs no issuer: remove serviceAccount, scopes, subject and exchange",fieldPath=".appPassword"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.check) || !has(self.check.nextcloud) || self.check.nextcloud.url == self.appPassword.nextcloud.url",message="must be appPassword.nextcloud.url: no other server is shown the app password",fieldPath=".check.nextcloud.url"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.check) || !has(self.check.nextcloud) || !has(self.check.nextcloud.caRef)",message="the server is reached as appPassword.nextcloud says: set appPassword.nextcloud.caRef instead",fieldPath=".check.nextcloud.caRef"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.refresh) || !(has(self.refresh.before) || has(self.refresh.beforePercentage))",message="an app password does not expire: set appPassword.rotation instead",fieldPath=".refresh"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.deletionPolicy)",message="an app password always ends with its TokenGrant: remove deletionPolicy",fieldPath=".deletionPolicy"
// +kubebuilder:validation:XValidation:rule="!has(self.appPassword) || !has(self.delivery) || !has(self.delivery.secret) || !has(self.delivery.secret.onExpiry)",message="an app password does not expire: remove onExpiry",fieldPath=".delivery.secret.onExpiry"
type TokenGrantSpec struct {
	// issuerRef names the TokenIssuer of this namespace, or the ClusterTokenIssuer, that the token comes from.
	// Exactly one of issuerRef and appPassword is set.
	// +optional
	IssuerRef IssuerRef `json:"issuerRef,omitzero"`

	// serviceAccount is the OAuth client whose service account the token is for; it is no ServiceAccount of Kubernetes.
	// Default: the issuer's own serviceAccount; a ClusterTokenIssuer must allow that.
	// +optional
	ServiceAccount *ServiceAccount `json:"serviceAccount,omitempty"`

	// scopes are asked for with the subject token (RFC 6749 §3.3).
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(o, o == s))",message="list each scope once"
	Scopes []Scope `json:"scopes,omitempty"`

	// subject says whose token it is. Default: the service account's own.
	// +optional
	Subject *Subject `json:"subject,omitempty"`

	// exchange narrows the token to its audiences (RFC 8693). Without it the subject token itself is published, with every
	// audience that the issuer puts into it.
	// +optional
	Exchange *Exchange `json:"exchange,omitempty"`

	// delivery is the way in which the token reaches its users. Default: a Secret named like the TokenGrant.
	// +optional
	Delivery *Delivery `json:"delivery,omitempty"`

	// refresh says how long before its expiry a token is replaced.
	// +optional
	Refresh Refresh `json:"refresh,omitempty"`

	// check is the server that must accept the token before it is published. Without it nothing is checked beyond the
	// token's signature and claims; an app password is checked at the Nextcloud that makes it.
	// +optional
	Check *Check `json:"check,omitempty"`

	// appPassword asks Nextcloud itself for a credential: an app password of the account that logs in once. It takes the
	// place of issuerRef, serviceAccount, scopes, subject and exchange.
	// +optional
	AppPassword *AppPassword `json:"appPassword,omitempty"`

	// deletionPolicy says what happens to what was published when the TokenGrant is deleted. Revoke revokes the access token
	// (RFC 7009) and, with subject.offlineTokenSecretRef, the session of the user who logged in; verifiers that check
	// signatures only, as Nextcloud does, accept a token until it expires. Leave lets it expire. App passwords and the
	// sessions of impersonations always end with their TokenGrant. Default: Leave.
	// +optional
	// +kubebuilder:validation:Enum=Leave;Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// suspend stops refreshing; the Secret stays as it is.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// DeletionPolicy says what happens to a token when its TokenGrant is deleted.
type DeletionPolicy string

const (
	// DeletionLeave lets the token expire.
	DeletionLeave DeletionPolicy = "Leave"
	// DeletionRevoke revokes the token at the issuer.
	DeletionRevoke DeletionPolicy = "Revoke"
)

// IssuerRef names an issuer.
type IssuerRef struct {
	// group of the kind. Default: tokengrant.dev, the only one.
	// +optional
	// +kubebuilder:validation:Enum=tokengrant.dev
	Group string `json:"group,omitempty"`
	// kind is TokenIssuer (of the grant's namespace) or ClusterTokenIssuer. Default: TokenIssuer.
	// +optional
	// +kubebuilder:validation:Enum=TokenIssuer;ClusterTokenIssuer
	Kind string `json:"kind,omitempty"`
	// name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of an issuer: lower case letters, digits, '-' and '.'"
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
	// audiences of the published token, exactly these. They are always sent: without them Keycloak would answer a token for
	// every audience of the client.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(o, o == a))",message="list each audience once"
	// +kubebuilder:validation:XValidation:rule="self.all(a, !a.contains('*'))",message="name each audience: there are no wildcards here"
	Audiences []Audience `json:"audiences"`

	// scopes are asked for with the exchange; at Keycloak they add optional client scopes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(o, o == s))",message="list each scope once"
	Scopes []Scope `json:"scopes,omitempty"`

	// requestedSubject is the user, by name or ID, as whom the service account acts: impersonation, which no standard
	// has. Keycloak has it in its feature token-exchange:v1 only, for clients that may impersonate. One session of that
	// user is kept, and ended when the TokenGrant is deleted. A ClusterTokenIssuer must allow the user, whoever brings
	// the client.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self != '*' && self.matches('^[^[:cntrl:]]+$')",message="must be the name or ID of one user, without control characters"
	RequestedSubject string `json:"requestedSubject,omitempty"`
}

// Refresh says how much life is left in a token when it is replaced. Either margin is cut to half of the life that
// the issuer really gave, so that a short token is never minted in a loop.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.before) && has(self.beforePercentage))",message="set before or beforePercentage, not both",fieldPath=".before"
type Refresh struct {
	// before is the margin as a duration: between 1s and 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be between 1s and 24h, such as 100s or 1h30m; there is no unit for days: write 24h"
	Before *metav1.Duration `json:"before,omitempty"`

	// beforePercentage is the margin as a share of the token's life: 5 to 50, 33 when neither field is set.
	// +optional
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=50
	BeforePercentage *int32 `json:"beforePercentage,omitempty"`
}
