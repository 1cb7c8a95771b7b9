package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AppPassword is a credential that Nextcloud makes for one application of an account.
type AppPassword struct {
	// nextcloud is the server that makes the app password.
	// +required
	Nextcloud NextcloudServer `json:"nextcloud"`

	// from is the login of the account that the app password is for.
	// +required
	From AppPasswordSource `json:"from"`

	// rotation says when the app password is replaced.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`
}

// AppPasswordSource is the login of an account. Exactly one member is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.loginSecretRef)",message="set loginSecretRef"
type AppPasswordSource struct {
	// loginSecretRef names the Secret (type kubernetes.io/basic-auth: username, password) of the account. It is used once
	// for each app password; a login that Nextcloud refused is not tried again before the Secret changes.
	// +optional
	LoginSecretRef *SecretRef `json:"loginSecretRef,omitempty"`
}

// Rotation says when an app password is replaced, and how long the former one lives on.
//
// +kubebuilder:validation:XValidation:rule="!has(self.overlap) || duration(self.overlap) < duration(has(self.every) ? self.every : '720h')",message="must be shorter than every, which is 720h by default",fieldPath=".overlap"
type Rotation struct {
	// every is the age at which the app password is replaced: between 1h and 8760h. Default: 720h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be between 1h and 8760h; there is no unit for days: write 720h"
	Every *metav1.Duration `json:"every,omitempty"`

	// overlap is how long the former app password goes on working after its successor is published: between 2m, in which a
	// changed Secret reaches every pod, and 720h. Default: 5m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('2m') && duration(self) <= duration('720h')",message="must be between 2m and 720h; there is no unit for days: write 24h"
	Overlap *metav1.Duration `json:"overlap,omitempty"`
}
