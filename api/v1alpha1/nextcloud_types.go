package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NextcloudCheck asks Nextcloud who the token is, before it is published and at intervals after.
type NextcloudCheck struct {
	// url of the Nextcloud, without /index.php or /ocs.
	// +required
	URL HTTPURL `json:"url"`

	// caRef names the certificate authorities (PEM) that signed the server's certificate, besides those of the system.
	// +optional
	CARef *CARef `json:"caRef,omitempty"`

	// expect says who the token must be.
	// +optional
	// +kubebuilder:default={}
	Expect NextcloudExpect `json:"expect,omitempty"`

	// paths that the user must have access to, found out by WebDAV; nothing is written.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=16
	Paths []NextcloudPath `json:"paths,omitempty"`

	// interval is how often an unchanged identity is asked about again: between 10s and 24h. The first token always is.
	// +optional
	// +kubebuilder:default="10m0s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="interval must be between 10s and 24h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// policy Enforce keeps a token that Nextcloud rejects out of the Secret; Warn publishes it and says so.
	// A Nextcloud that does not answer never blocks.
	// +optional
	// +kubebuilder:default=Enforce
	// +kubebuilder:validation:Enum=Enforce;Warn
	Policy CheckPolicy `json:"policy,omitempty"`
}

// NextcloudPath is a folder or a file, and the access that the user must have to it.
type NextcloudPath struct {
	// path below the user's home, such as /Notes; / is the home itself.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/') && !self.split('/').exists(s, s == '..' || s == '.')",message="path must begin with / and have no . or .. in it"
	// +kubebuilder:validation:XValidation:rule="!self.contains('//') && !self.contains('\\\\') && !self.matches('[[:cntrl:]]')",message="path must have no empty names, backslashes and control characters in it"
	Path string `json:"path"`
	// access Read is to list the folder or get the file; Write is to create in the folder or change the file, and does
	// not include Read.
	// +optional
	// +kubebuilder:default=Read
	// +kubebuilder:validation:Enum=Read;Write
	Access PathAccess `json:"access,omitempty"`
}

// PathAccess is what a user must be able to do with a path.
type PathAccess string

const (
	// PathRead is to list or get.
	PathRead PathAccess = "Read"
	// PathWrite is to create or change.
	PathWrite PathAccess = "Write"
)

// NextcloudExpect says who the token must be at Nextcloud.
type NextcloudExpect struct {
	// user is the exact user ID; any user when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	User string `json:"user,omitempty"`
	// groups the user must be in, all of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Groups []GroupName `json:"groups,omitempty"`
	// notInGroups the user must not be in any of; [admin] unless set. Set [] to accept an administrator.
	// +optional
	// +listType=set
	// +kubebuilder:default={"admin"}
	// +kubebuilder:validation:MaxItems=64
	NotInGroups []GroupName `json:"notInGroups"`
}

// GroupName is the ID of a Nextcloud group.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
type GroupName string

// CheckPolicy says what a rejection by Nextcloud means.
type CheckPolicy string

const (
	// PolicyEnforce does not publish a rejected token.
	PolicyEnforce CheckPolicy = "Enforce"
	// PolicyWarn publishes a rejected token and says so.
	PolicyWarn CheckPolicy = "Warn"
)
