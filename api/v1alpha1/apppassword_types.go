package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AppPassword is a credential that Nextcloud makes for one application of an account.
type AppPassword struct {
	// loginSecretRef names the Secret (type kubernetes.io/basic-auth: username, password) of the account. It is used once
	// for each app password; a login that Nextcloud refused is not tried again before the Secret changes.
	// +required
	LoginSecretRef LoginSecretRef `json:"loginSecretRef"`

	// rotateAfter is the age at which the app password is replaced: between 1h and 8760h. The former one is deleted at
	// Nextcloud when the new one has been published long enough to have reached every pod.
	// +optional
	// +kubebuilder:default="720h0m0s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="rotateAfter must be between 1h and 8760h"
	RotateAfter *metav1.Duration `json:"rotateAfter,omitempty"`
}

// LoginSecretRef names a Secret with the keys username and password.
type LoginSecretRef struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
