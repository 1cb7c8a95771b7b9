package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenIssuer is an OAuth 2.0 authorization server for the TokenGrants of its own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ti,categories=tokengrant
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Exchange",type=string,JSONPath=`.status.tokenExchange`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TokenIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec TokenIssuerSpec `json:"spec"`
	// +optional
	// +kubebuilder:default={"observedGeneration":-1,"conditions":{{"type":"Ready","status":"Unknown","reason":"Pending","message":"Waiting for the operator","lastTransitionTime":"1970-01-01T00:00:00Z"}}}
	Status IssuerStatus `json:"status,omitempty"`
}

// TokenIssuerList is a list of TokenIssuers.
//
// +kubebuilder:object:root=true
type TokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenIssuer `json:"items"`
}

// ClusterTokenIssuer is an OAuth 2.0 authorization server for the TokenGrants of all namespaces.
// Its Secrets and ConfigMaps are read from the operator's namespace only.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cti,categories=tokengrant
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Exchange",type=string,JSONPath=`.status.tokenExchange`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterTokenIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ClusterTokenIssuerSpec `json:"spec"`
	// +optional
	// +kubebuilder:default={"observedGeneration":-1,"conditions":{{"type":"Ready","status":"Unknown","reason":"Pending","message":"Waiting for the operator","lastTransitionTime":"1970-01-01T00:00:00Z"}}}
	Status IssuerStatus `json:"status,omitempty"`
}

// ClusterTokenIssuerList is a list of ClusterTokenIssuers.
//
// +kubebuilder:object:root=true
type ClusterTokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterTokenIssuer `json:"items"`
}

// TokenIssuerSpec says where the issuer is and how to treat it.
type TokenIssuerSpec struct {
	// url is the issuer identifier (OpenID Connect Discovery 1.0 §3), at Keycloak https://host/realms/NAME.
	// The endpoints come from its discovery document.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.contains('/.well-known/')",message="must be the issuer itself, as its discovery document names it: remove /.well-known/ and what follows"
	URL HTTPURL `json:"url"`

	// endpointHosts are hosts, besides that of url, on which the discovery document may say that its endpoints and keys
	// are. Credentials are sent to these hosts as well. Other endpoints make the issuer IssuerInvalid.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	EndpointHosts []EndpointHost `json:"endpointHosts,omitempty"`

	// caRef names the certificate authorities (PEM) that signed the server's certificate, besides those of the system.
	// +optional
	CARef *CARef `json:"caRef,omitempty"`

	// serviceAccount is the client of grants that bring none.
	// +optional
	ServiceAccount *ServiceAccount `json:"serviceAccount,omitempty"`

	// limits bound what the operator asks of this issuer.
	// +optional
	Limits Limits `json:"limits,omitempty"`
}

// ClusterTokenIssuerSpec is a TokenIssuerSpec with rules about who may use its serviceAccount.
//
// +kubebuilder:validation:XValidation:rule="!has(self.allow) || has(self.serviceAccount) || self.allow.all(r, has(r.requestedSubjects))",message="a rule without requestedSubjects is about the issuer's own serviceAccount, and there is none: set serviceAccount, or remove the rule (a grant that brings its own serviceAccount needs none)",fieldPath=".allow"
type ClusterTokenIssuerSpec struct {
	TokenIssuerSpec `json:",inline"`

	// allow says which namespaces may use serviceAccount, and for which audiences. Without a rule nobody may.
	// A grant that brings its own serviceAccount needs a rule for impersonation only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Allow []AllowRule `json:"allow,omitempty"`
}

// AllowRule lets namespaces use the issuer's serviceAccount.
//
// +kubebuilder:validation:XValidation:rule="has(self.namespaces) != has(self.namespaceSelector)",message="set exactly one of namespaces and namespaceSelector"
type AllowRule struct {
	// namespaces by name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Namespaces []NamespaceName `json:"namespaces,omitempty"`
	// namespaceSelector picks namespaces by label; {} is every namespace.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// audiences that may be asked for; "*" alone is any. A grant without exchange needs "*", because its token carries
	// every audience of the client.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self == ['*'] || self.all(a, !a.contains('*'))",message="\"*\" alone is any audience; name the others in full"
	Audiences []Audience `json:"audiences"`
	// scopes that may be asked for, with the subject token or with the exchange. Default: whatever the client can get.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(s, !s.contains('*'))",message="name each scope; remove the field to allow all"
	Scopes []Scope `json:"scopes,omitempty"`
	// requestedSubjects are the users as whom a grant of these namespaces and audiences may act, exactly as it names
	// them in exchange.requestedSubject. There is no wildcard: none are listed, none may be impersonated.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	RequestedSubjects []RequestedSubject `json:"requestedSubjects,omitempty"`
}

// RequestedSubject is the name or ID of a user.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
// +kubebuilder:validation:XValidation:rule="self != '*'",message="impersonation is never allowed for everybody: list the users by name"
type RequestedSubject string

// NamespaceName is the name of a namespace.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace; for all namespaces set namespaceSelector: {} instead"
type NamespaceName string

// HTTPURL is an https URL; http is for loopback, and for operators started with --allow-http-issuers.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://')",message="must be an absolute URL that begins with https:// in lower case"
// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x21-\\\\x7E]+$')",message="must be of printable ASCII characters without spaces: write an international host name as its Punycode, xn--…"
// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#')",message="must have no query and no fragment"
// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^[a-z]+://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/.*)?$')",message="must name a host in letters, digits, - and ., or an address, IPv6 in brackets; with a port up to 65535 if need be, no user name, and nothing percent-encoded"
type HTTPURL string

// EndpointHost is a host name or an address, with a port where that is not the usual one of the scheme of url.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=259
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*|\\\\[[0-9a-f:.]+\\\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')",message="must be a host name in lower case or an address, IPv6 in brackets, with a port up to 65535 if need be, such as login.example.com or id.example.com:8443"
type EndpointHost string

// Limits bound the requests to one issuer, by this operator process.
type Limits struct {
	// requestsPerSecond over some time. Default: 50.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`
	// burst is how many requests may follow each other at once. Default: 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`
	// concurrency is the number of requests under way at once. Default: 16.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Concurrency int32 `json:"concurrency,omitempty"`
}

// IssuerStatus is what discovery found.
type IssuerStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	TokenEndpoint string `json:"tokenEndpoint,omitempty"`
	// grantTypes is grant_types_supported.
	// +optional
	// +listType=atomic
	GrantTypes []string `json:"grantTypes,omitempty"`
	// tokenExchange is Standard where discovery names the grant type of RFC 8693, Unsupported where it names others only,
	// Unknown where it names none.
	// +optional
	TokenExchange TokenExchangeSupport `json:"tokenExchange,omitempty"`
	// lastDiscovery is when the discovery document was last read.
	// +optional
	LastDiscovery *metav1.Time `json:"lastDiscovery,omitempty"`
}

// TokenExchangeSupport says whether an issuer can exchange tokens.
//
// +kubebuilder:validation:Enum=Standard;Unsupported;Unknown
type TokenExchangeSupport string

const (
	// TokenExchangeStandard means RFC 8693.
	TokenExchangeStandard TokenExchangeSupport = "Standard"
	// TokenExchangeUnsupported means that the issuer lists its grant types and RFC 8693 is not among them.
	TokenExchangeUnsupported TokenExchangeSupport = "Unsupported"
	// TokenExchangeUnknown means that the issuer lists no grant types.
	TokenExchangeUnknown TokenExchangeSupport = "Unknown"
)
