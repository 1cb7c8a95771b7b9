package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestTenantWithTheRoleAdmin asks the API server what somebody may do who is admin of a namespace, with the roles that are
// shipped.
func TestTenantWithTheRoleAdmin(t *testing.T) {
	t.Parallel()
	own, other, operator := newNamespace(t), newNamespace(t), newNamespace(t)
	w := &world{Client: cluster.admin, t: t, namespace: own}
	for _, role := range rolesOfUsers(t) {
		w.create(&role)
	}
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "tenant"}},
	})
	may := func(verb, group, resource, subresource, namespace string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "tenant"}}
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Name: "x",
		}
		w.create(review)
		return review.Status.Allowed
	}
	ours := v1alpha1.GroupVersion.Group
	for _, resource := range []string{"tokengrants", "tokenissuers"} { // A controller adds the shipped roles to admin.
		w.eventually("the tenant may write "+resource, func() (bool, string) { return may("update", ours, resource, "", own), "" })
	}
	for _, tt := range []struct{ what, verb, group, resource, subresource, namespace string }{
		{"make an issuer for all namespaces", "create", ours, "clustertokenissuers", "", ""},
		{"change who may use one", "patch", ours, "clustertokenissuers", "", ""},
		{"name one, where that needs the verb use", "use", ours, "clustertokenissuers", "", ""},
		{"say themselves that a token is valid", "patch", ours, "tokengrants", "status", own},
		{"say themselves where an issuer takes credentials", "patch", ours, "tokenissuers", "status", own},
		{"take the finalizer's place", "update", ours, "tokengrants", "finalizers", own},
		{"write grants of another namespace", "create", ours, "tokengrants", "", other},
		{"read Secrets of another namespace", "get", "", "secrets", "", other},
		{"write Secrets of the operator's namespace", "create", "", "secrets", "", operator},
	} {
		if may(tt.verb, tt.group, tt.resource, tt.subresource, tt.namespace) {
			t.Errorf("the tenant may %s: %s %s/%s in %q", tt.what, tt.verb, tt.resource, tt.subresource, tt.namespace)
		}
	}
}

// rolesOfUsers reads the roles that are shipped for people.
func rolesOfUsers(t *testing.T) (roles []rbacv1.ClusterRole) {
	t.Helper()
	text, err := os.ReadFile("../../config/rbac/users.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var role rbacv1.ClusterRole
		if err := documents.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		roles = append(roles, role)
	}
	if len(roles) == 0 {
		t.Fatalf("no roles in %s", text)
	}
	return roles
}
