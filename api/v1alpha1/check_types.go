package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Check says which server must accept a token, and what a rejection means. Exactly one kind of server is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.nextcloud)",message="set nextcloud: the server that is asked"
type Check struct {
	// policy Enforce keeps a token that the server rejects out of the Secret; Warn publishes it and says so.
	// A server that does not answer never blocks. Default: Enforce.
	// +optional
	// +kubebuilder:validation:Enum=Enforce;Warn
	Policy CheckPolicy `json:"policy,omitempty"`

	// interval is how often an unchanged identity is asked about again: between 10s and 24h. The first token always is.
	// Default: 10m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h, such as 10m; there is no unit for days: write 24h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// nextcloud asks a Nextcloud who the token is.
	// +optional
	Nextcloud *NextcloudCheck `json:"nextcloud,omitempty"`
}

// NextcloudServer says where a Nextcloud is.
type NextcloudServer struct {
	// url of the Nextcloud, without /index.php or /ocs.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.matches('/(index[.]php|ocs|remote[.]php)(/|$)')",message="must be the address of the Nextcloud itself, such as https://cloud.example.com: remove /index.php, /ocs or /remote.php and what follows"
	URL HTTPURL `json:"url"`

	// caRef names the certificate authorities (PEM) that signed the server's certificate, besides those of the system.
	// +optional
	CARef *CARef `json:"caRef,omitempty"`
}

// NextcloudCheck asks a Nextcloud who the token is, before it is published and at intervals after.
type NextcloudCheck struct {
	// url of the Nextcloud, without /index.php or /ocs.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.matches('/(index[.]php|ocs|remote[.]php)(/|$)')",message="must be the address of the Nextcloud itself, such as https://cloud.example.com: remove /index.php, /ocs or /remote.php and what follows"
	URL HTTPURL `json:"url"`

	// caRef names the certificate authorities (PEM) that signed the server's certificate, besides those of the system.
	// +optional
	CARef *CARef `json:"caRef,omitempty"`

	// expect says who the token must be.
	// +optional
	Expect NextcloudExpect `json:"expect,omitempty"`

	// paths that the user must have access to, found out by WebDAV; nothing is written.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=16
	Paths []NextcloudPath `json:"paths,omitempty"`
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
	// not include Read. Default: Read.
	// +optional
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.groups) || !(has(self.notInGroups) ? self.groups.exists(g, g in self.notInGroups) : 'admin' in self.groups)",message="a user cannot be in a group of notInGroups, which is [admin] by default: remove the group from one of both",fieldPath=".groups"
type NextcloudExpect struct {
	// user is the exact user ID; any user when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	User string `json:"user,omitempty"`
	// groups the user must be in, all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Groups []GroupName `json:"groups,omitempty"`
	// notInGroups the user must not be in any of. Default: [admin]; set [] to accept an administrator.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	NotInGroups []GroupName `json:"notInGroups,omitzero"`
}

// GroupName is the ID of a Nextcloud group.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
type GroupName string

// CheckPolicy says what a rejection means.
type CheckPolicy string

const (
	// PolicyEnforce does not publish a rejected token.
	PolicyEnforce CheckPolicy = "Enforce"
	// PolicyWarn publishes a rejected token and says so.
	PolicyWarn CheckPolicy = "Warn"
)
