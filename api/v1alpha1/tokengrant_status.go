package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenGrantStatus is what the operator found and did.
type TokenGrantStatus struct {
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (the Secret holds a token that is valid now and not known to be rejected), CheckPassed
	// (the word of the server in spec.check), LifetimeSufficient, and Reconciling or Stalled while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// token describes the token in the Secret; never the token itself.
	// +optional
	Token *TokenStatus `json:"token,omitempty"`

	// refreshAt is when the token will be replaced.
	// +optional
	RefreshAt *metav1.Time `json:"refreshAt,omitempty"`

	// lastAttempt is the latest try to mint or check a token.
	// +optional
	LastAttempt *Attempt `json:"lastAttempt,omitempty"`

	// consecutiveFailures counts the tries that failed since the last good one.
	// +optional
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`

	// check is what the server in spec.check last said about the token.
	// +optional
	Check *CheckStatus `json:"check,omitempty"`

	// secretName is the Secret that was written.
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// TokenStatus describes a published token by its verified claims.
type TokenStatus struct {
	// subject is the claim sub.
	// +optional
	Subject string `json:"subject,omitempty"`
	// username is the claim preferred_username; of an app password the name that was logged in with.
	// +optional
	Username string `json:"username,omitempty"`
	// clientID is the claim azp.
	// +optional
	ClientID string `json:"clientID,omitempty"`
	// audiences are the claim aud.
	// +optional
	// +listType=atomic
	Audiences []string `json:"audiences,omitempty"`
	// scopes is the claim scope.
	// +optional
	// +listType=atomic
	Scopes []string `json:"scopes,omitempty"`
	// issuedAt is when the operator got the token, by its own clock.
	// +required
	IssuedAt metav1.Time `json:"issuedAt"`
	// expiresAt is issuedAt plus the life that the issuer gave. An app password has none.
	// +optional
	ExpiresAt metav1.Time `json:"expiresAt,omitzero"`
}

// Attempt is one try.
type Attempt struct {
	// time is when it ended, by the operator's clock.
	// +required
	Time metav1.Time `json:"time"`
	// reason is from the catalogue of reasons.
	// +required
	Reason string `json:"reason"`
	// message says what the server answered and what to do.
	// +optional
	Message string `json:"message,omitempty"`
}

// CheckStatus is what the server in spec.check said.
type CheckStatus struct {
	// user is the ID under which Nextcloud knows the token; kept when it names none any more.
	// +optional
	User string `json:"user,omitempty"`
	// groups of that user, at most 128 of them.
	// +optional
	// +listType=atomic
	Groups []string `json:"groups,omitempty"`
	// version of the server, where an answer told it.
	// +optional
	Version string `json:"version,omitempty"`
	// checkedAt is when Nextcloud last gave a definite answer.
	// +optional
	CheckedAt *metav1.Time `json:"checkedAt,omitempty"`
}
