package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// TestOperatorOfSomeNamespaces runs the manager with the arguments and permissions that the chart gives it.
func TestOperatorOfSomeNamespaces(t *testing.T) {
	c := emptyCluster(t)
	c.helm(t, 4, "install", release, shared.chart, "--set", "watchNamespaces={apps}")
	var d appsv1.Deployment
	if err := c.get(namespace, release+"-controller-manager", &d); err != nil {
		t.Fatal(err)
	}
	_, kubeconfig, err := c.ServiceAccount(t.Context(), namespace, d.Spec.Template.Spec.ServiceAccountName)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	operator, err := stack.StartOperator(t.Context(), stack.OperatorOptions{
		Place: stack.Place{Dir: dir}, Kubeconfig: kubeconfig, Flags: d.Spec.Template.Spec.Containers[0].Args,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operator.Close() })

	// The issuer's Secret is in the operator's namespace, and nobody answers.
	issuer := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "silent"}}
	issuer.Spec.URL = "http://127.0.0.1:1"
	c.create(issuer)
	for _, ns := range []string{"batch", "apps"} {
		c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "client"}, StringData: map[string]string{"client-secret": "x"}})
		grant := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "notes"}}
		grant.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "TokenIssuer", Name: "missing"}
		c.create(grant)
	}
	var grant v1alpha1.TokenGrant
	eventually(t, func() bool {
		err := c.get("apps", "notes", &grant)
		return err == nil && len(grant.Status.Conditions) > 0 && c.get("", "silent", issuer) == nil && len(issuer.Status.Conditions) > 0
	})
	if err := c.get("batch", "notes", &grant); err != nil || len(grant.Status.Conditions) > 0 {
		t.Errorf("a namespace that is not watched: %v, %+v", err, grant.Status.Conditions)
	}
	if err := operator.Stop(); err != nil {
		t.Fatal(err)
	}
	logs, err := os.ReadFile(filepath.Join(dir, "manager.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(logs)) {
		if strings.Contains(line, "forbidden") {
			t.Errorf("a permission is missing: %s", line)
		}
	}
}
