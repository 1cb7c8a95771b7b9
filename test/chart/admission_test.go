package chart

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestOnlyWhoMayUseAnIssuerReferencesIt acts as a member of a team.
func TestOnlyWhoMayUseAnIssuerReferencesIt(t *testing.T) {
	c := emptyCluster(t)
	c.helm(t, 4, "install", release, shared.chart, "--set", "admissionPolicy.enabled=true")
	config, _, err := c.AddUser("alice", "apps-team")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := client.New(config, client.Options{Scheme: shared.scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"apps", "batch"} {
		c.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "team"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: release + "-edit"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "apps-team"}},
		})
	}
	grant := func(ns, name, kind string) *v1alpha1.TokenGrant {
		return &v1alpha1.TokenGrant{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
			Spec:       v1alpha1.TokenGrantSpec{IssuerRef: v1alpha1.IssuerRef{Kind: kind, Name: "keycloak"}},
		}
	}
	create := func(g *v1alpha1.TokenGrant) error { return alice.Create(t.Context(), g) }

	// The policy works a moment after it is there.
	var refusal error
	eventually(t, func() bool {
		refusal = alice.Create(t.Context(), grant("apps", "cluster", "ClusterTokenIssuer"), client.DryRunAll)
		return refusal != nil
	})
	want := `alice may not use the ClusterTokenIssuer "keycloak" in namespace "apps": ask its owner for the verb "use"`
	if !apierrors.IsForbidden(refusal) || !strings.Contains(refusal.Error(), want) {
		t.Errorf("got %v, want %s", refusal, want)
	}
	if err := create(grant("apps", "own", "TokenIssuer")); err != nil {
		t.Errorf("an issuer of the namespace is refused: %v", err)
	}
	changed := grant("apps", "own", "TokenIssuer")
	if err := c.get("apps", "own", changed); err != nil {
		t.Fatal(err)
	}
	changed.Spec.IssuerRef.Kind = "ClusterTokenIssuer"
	if err := alice.Update(t.Context(), changed); !apierrors.IsForbidden(err) {
		t.Errorf("changing the reference: %v", err)
	}

	c.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "use-keycloak"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"clustertokenissuers"},
			ResourceNames: []string{"keycloak"}, Verbs: []string{"use"},
		}},
	})
	c.kubectl(t, "create", "rolebinding", "use-keycloak", "--namespace=apps", "--role=use-keycloak", "--group=apps-team")
	eventually(t, func() bool { return create(grant("apps", "cluster", "ClusterTokenIssuer")) == nil })
	other := grant("apps", "other", "ClusterTokenIssuer")
	other.Spec.IssuerRef.Name = "another"
	if err := create(other); !apierrors.IsForbidden(err) {
		t.Errorf("another issuer: %v", err)
	}
	if err := create(grant("batch", "cluster", "ClusterTokenIssuer")); !apierrors.IsForbidden(err) {
		t.Errorf("another namespace: %v", err)
	}

	c.kubectl(t, "delete", "rolebinding", "use-keycloak", "--namespace=apps")
	kept := grant("apps", "cluster", "ClusterTokenIssuer")
	eventually(t, func() bool {
		if err := c.get("apps", "cluster", kept); err != nil {
			t.Fatal(err)
		}
		kept.Spec.Suspend = !kept.Spec.Suspend
		return apierrors.IsForbidden(alice.Update(t.Context(), kept))
	})
	if err := c.get("apps", "cluster", kept); err != nil {
		t.Fatal(err)
	}
	kept.Labels = map[string]string{"a": "b"}
	if err := alice.Update(t.Context(), kept); err != nil {
		t.Errorf("a label of a grant that is there: %v", err)
	}
}
