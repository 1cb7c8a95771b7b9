package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// operator is a manager with the arguments and permissions that the chart gives it.
type operator struct {
	*stack.Operator
	log string
}

func (c *cluster) operator(t *testing.T, values ...string) operator {
	t.Helper()
	args := []string{"install", release, shared.chart}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	c.helm(t, 4, args...)
	var d appsv1.Deployment
	if err := c.get(namespace, release+"-controller-manager", &d); err != nil {
		t.Fatal(err)
	}
	_, kubeconfig, err := c.ServiceAccount(t.Context(), namespace, d.Spec.Template.Spec.ServiceAccountName)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o, err := stack.StartOperator(t.Context(), stack.OperatorOptions{
		Place: stack.Place{Dir: dir}, Kubeconfig: kubeconfig, Flags: d.Spec.Template.Spec.Containers[0].Args,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return operator{o, filepath.Join(dir, "manager.log")}
}

// stop ends the operator, and fails the test where it was forbidden something.
func (o operator) stop(t *testing.T) {
	t.Helper()
	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
	logs, err := os.ReadFile(o.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(logs)) {
		if strings.Contains(line, "forbidden") {
			t.Errorf("a permission is missing: %s", line)
		}
	}
}

func TestOperatorOfSomeNamespaces(t *testing.T) {
	c := emptyCluster(t)
	operator := c.operator(t, "watchNamespaces={apps}")

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
		return err == nil && grant.Status.ObservedGeneration > 0 && c.get("", "silent", issuer) == nil && issuer.Status.ObservedGeneration > 0
	})
	if err := c.get("batch", "notes", &grant); err != nil || grant.Status.ObservedGeneration > 0 {
		t.Errorf("a namespace that is not watched: %v, %+v", err, grant.Status.Conditions)
	}
	operator.stop(t)
}

// TestOperatorWithoutClusterIssuers works without the permissions for them, in some namespaces and in all, and says so to a
// grant that names one.
func TestOperatorWithoutClusterIssuers(t *testing.T) {
	for _, scope := range []string{"watchNamespaces={apps}", "watchNamespaces=null"} {
		t.Run(scope, func(t *testing.T) {
			c := emptyCluster(t)
			operator := c.operator(t, scope, "clusterIssuers=false")
			grant := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "shared"}}
			grant.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "any"}
			c.create(grant)
			eventually(t, func() bool {
				return c.get("apps", "shared", grant) == nil && grant.Status.ObservedGeneration > 0
			})
			ready := meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Reason != v1alpha1.ReasonIssuerNotFound || !strings.Contains(ready.Message, "--cluster-issuers=false") {
				t.Errorf("%+v", ready)
			}
			operator.stop(t)
		})
	}
}
