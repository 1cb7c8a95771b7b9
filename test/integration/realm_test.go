package integration

import (
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

var trusted sync.Once

// trustCluster lets Keycloak take tokens of the cluster's ServiceAccounts: the cluster's keys become public, and
// Keycloak gets an identity provider.
func trustCluster(t *testing.T) {
	t.Helper()
	kc := realKeycloak(t)
	trusted.Do(func() {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "public-issuer-discovery"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:service-account-issuer-discovery"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:unauthenticated"}},
		}
		if err := cluster.admin.Create(t.Context(), binding); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Error(err)
		}
		if err := kc.TrustCluster(t.Context(), realm.Name, cluster.url); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

// federatedByFeature says that a Keycloak has federated client authentication as a preview feature only.
func federatedByFeature(version string) bool { return len(stack.FederationFeatures(version)) > 0 }

// clientAt reads and changes a client of the realm.
func changeClient(t *testing.T, clientID string, fields map[string]any) {
	t.Helper()
	kc := realKeycloak(t)
	var found []map[string]any
	if err := kc.Admin(t.Context(), http.MethodGet, "/"+realm.Name+"/clients?clientId="+url.QueryEscape(clientID), nil, &found); err != nil || len(found) != 1 {
		t.Fatalf("client %s: %d found, %v", clientID, len(found), err)
	}
	maps.Copy(found[0], fields)
	if err := kc.Admin(t.Context(), http.MethodPut, "/"+realm.Name+"/clients/"+found[0]["id"].(string), found[0], nil); err != nil {
		t.Fatal(err)
	}
}

func setSecret(t *testing.T, clientID, secret string) {
	t.Helper()
	changeClient(t, clientID, map[string]any{"secret": secret})
}

func allowPasswordGrant(t *testing.T, clientID string) {
	t.Helper()
	changeClient(t, clientID, map[string]any{"directAccessGrantsEnabled": true})
}

func inNamespace(w *world) client.ListOption { return client.InNamespace(w.namespace) }
