package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// minimal starts an operator with the permissions of config/namespaced and both components that take some away: it may read
// nothing outside its namespace.
func minimal(t *testing.T) (*world, *keycloaktest.Server) {
	t.Helper()
	t.Parallel()
	raw, err := os.ReadFile("../../config/namespaced/role_manager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, s := &world{Client: cluster.admin, t: t, namespace: newNamespace(t), keys: filepath.Join(t.TempDir(), "keys")}, scripted(t)
	w.setKeys(firstKey)
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict(raw, &role); err != nil {
		t.Fatal(err)
	}
	role.Namespace = w.namespace
	user := "minimal-" + w.namespace
	w.create(&role)
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "minimal"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
	w.server = rest.CopyConfig(cluster.administrator)
	w.server.Impersonate.UserName = user
	w.start()
	t.Cleanup(func() { w.stop() })
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	return w, s
}

// TestAnOperatorOfItsNamespaceOnly works with fewer permissions than a tenant's administrator has, and says what it cannot do.
func TestAnOperatorOfItsNamespaceOnly(t *testing.T) {
	w, _ := minimal(t)
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	shared := w.grantFor("shared", "kc", "worker", func(g *v1alpha1.TokenGrant) { g.Spec.IssuerRef.Kind = "ClusterTokenIssuer" })
	w.create(shared)
	if got := w.await(shared, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound); !strings.Contains(got, "--cluster-issuers=false") {
		t.Error(got)
	}
}
