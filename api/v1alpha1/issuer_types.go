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
	URL HTTPURL `json:"url"`

	// endpointHosts are hosts, besides that of url, on which the discovery document may say that its endpoints and keys
	// are. Credentials are sent to these hosts as well. Other endpoints make the issuer IssuerInvalid.
	// +optional
	// +listType=set
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
	// +kubebuilder:default={}
	Limits Limits `json:"limits,omitempty"`
}

// ClusterTokenIssuerSpec is a TokenIssuerSpec with rules about who may use its serviceAccount.
//
// +kubebuilder:validation:XValidation:rule="!has(self.allow) || has(self.serviceAccount)",message="allow is about the issuer's own serviceAccount: set serviceAccount, or drop allow (a grant that brings its own serviceAccount needs no rule)"
type ClusterTokenIssuerSpec struct {
	TokenIssuerSpec `json:",inline"`

	// allow says which namespaces may use serviceAccount, and for which audiences. Without a rule nobody may.
	// A grant that brings its own serviceAccount needs no rule.
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
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Namespaces []NamespaceName `json:"namespaces,omitempty"`
	// namespaceSelector picks namespaces by label; {} is every namespace.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// audiences that may be asked for; "*" is any. A grant without exchange needs "*", because its token carries
	// every audience of the client.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Audiences []Audience `json:"audiences"`
	// scopes that may be asked for, with the subject token or with the exchange; whatever the client can get when there
	// are none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`
	// requestedSubjects are the users as whom a grant of these namespaces and audiences may act, exactly as it names
	// them in exchange.requestedSubject. There is no wildcard: none are listed, none may be impersonated.
	// +optional
	// +listType=set
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
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type NamespaceName string

// HTTPURL is an https URL; http is for loopback, and for operators started with --allow-http-issuers.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && size(url(self).getHostname()) > 0",message="must be an absolute https URL, such as https://id.example.com/realms/cloud"
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]+://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:[1-9][0-9]{0,4})?(/.*)?$')",message="must name a host in letters, digits, - and ., or an address, IPv6 in brackets; with a port if need be, and nothing percent-encoded"
// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x21-\\\\x7E]+$')",message="must be of printable ASCII characters: write an international host name as its Punycode, xn--…"
// +kubebuilder:validation:XValidation:rule="!self.contains('?') && !self.contains('#') && !self.contains('@') && !self.matches('[[:space:][:cntrl:]]')",message="must have no query, fragment, user name or white space"
type HTTPURL string

// EndpointHost is a host name, with a port where that is not the usual one of the scheme of url.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=259
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?$')",message="must be a host name in lower case, with a port if need be, such as login.example.com or id.example.com:8443"
type EndpointHost string

// CARef names a bundle of certificate authorities.
type CARef struct {
	// +optional
	// +kubebuilder:default=ConfigMap
	// +kubebuilder:validation:Enum=ConfigMap;Secret
	Kind string `json:"kind,omitempty"`
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +optional
	// +kubebuilder:default=ca.crt
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// Limits bound the requests to one issuer, by this operator process.
type Limits struct {
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Burst int32 `json:"burst,omitempty"`
	// concurrency is the number of requests under way at once.
	// +optional
	// +kubebuilder:default=16
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
