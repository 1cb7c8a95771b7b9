package chart

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// cluster is a real API server without nodes: objects are checked and kept, pods do not run.
type cluster struct {
	client.Client
	*stack.ControlPlane
	t *testing.T
}

// emptyCluster is the one API server of all tests, started by the first. What a test installs goes when it ends.
func emptyCluster(t *testing.T) *cluster {
	t.Helper()
	if shared.plane == nil {
		plane, err := stack.StartControlPlane(context.WithoutCancel(t.Context()), stack.ControlPlaneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		shared.plane = plane
		c := newCluster(t)
		c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "apps"}})
		c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "batch"}})
		restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
		c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: restricted}})
	}
	c := newCluster(t)
	t.Cleanup(func() {
		run(t, shared.helm[4], "uninstall", release, "--namespace", namespace, "--kubeconfig", c.Kubeconfig, "--ignore-not-found")
		c.kubectl(t, "delete", "customresourcedefinitions", "--selector", "app.kubernetes.io/name=tokengrant")
		c.kubectl(t, "delete", "secrets", "--namespace", namespace, "--all")
		for _, ns := range []string{"apps", "batch"} {
			c.kubectl(t, "delete", "roles,rolebindings", "--namespace", ns, "--all")
		}
	})
	return c
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c, err := client.New(shared.plane.Config, client.Options{Scheme: shared.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Client: c, ControlPlane: shared.plane, t: t}
}

func (c *cluster) create(object client.Object) {
	c.t.Helper()
	if err := c.Create(c.t.Context(), object); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(ns, name string, object client.Object) error {
	return c.Get(c.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, object)
}

func (c *cluster) helm(t *testing.T, major int, args ...string) string {
	t.Helper()
	return run(t, shared.helm[major], append(args, "--namespace", namespace, "--kubeconfig", c.Kubeconfig)...)
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, shared.assets.Kubectl, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
}

// olderChart is the chart as it was before a field came into the API.
func olderChart(t *testing.T, field string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(shared.chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "files", "crds", "tokengrant.dev_tokengrants.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	property := regexp.MustCompile(`(?m)^              ` + field + `:\n(                .*\n)+`)
	if n := len(property.FindAll(content, -1)); n != 1 {
		t.Fatalf("%d properties %s in the CRD", n, field)
	}
	if err := os.WriteFile(path, property.ReplaceAll(content, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLifeOfARelease installs an older chart, upgrades it, goes back, uninstalls, and installs again.
func TestLifeOfARelease(t *testing.T) {
	for _, major := range []int{3, 4} {
		t.Run(fmt.Sprintf("Helm %d", major), func(t *testing.T) {
			c := emptyCluster(t)
			older := olderChart(t, "suspend")

			c.helm(t, major, "install", release, older, "--set", "encryption.enabled=true,admissionPolicy.enabled=true")
			key := c.key(t)
			c.podIsAdmitted(t)
			if c.knowsField(t, "suspend") {
				t.Fatal("the older chart is not older")
			}
			c.create(&v1alpha1.TokenGrant{
				ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "notes"},
				Spec:       v1alpha1.TokenGrantSpec{IssuerRef: v1alpha1.IssuerRef{Kind: "TokenIssuer", Name: "keycloak"}},
			})

			c.helm(t, major, "upgrade", release, shared.chart, "--reset-then-reuse-values", "--set", "replicas=3")
			c.keeps(t, "the upgrade", key, 3)
			if !c.knowsField(t, "suspend") {
				t.Error("the upgrade left the CRDs as they were")
			}

			c.kubectl(t, "patch", "secret", release+"-encryption", "--namespace", namespace, "--patch", `{"stringData":{"keys":"rotated"}}`)
			key = c.key(t)
			c.helm(t, major, "upgrade", release, shared.chart, "--reset-then-reuse-values")
			c.keeps(t, "the upgrade after a rotation", key, 3)
			c.helm(t, major, "rollback", release, "1")
			c.keeps(t, "the rollback", key, 2)

			c.helm(t, major, "uninstall", release)
			c.keeps(t, "uninstalling", key, 0)
			if left := c.leftovers(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}

			c.helm(t, major, "install", release, shared.chart, "--set", "encryption.enabled=true")
			c.keeps(t, "installing again", key, 2)
		})
	}
}

func (c *cluster) key(t *testing.T) map[string][]byte {
	t.Helper()
	var s corev1.Secret
	if err := c.get(namespace, release+"-encryption", &s); err != nil {
		t.Fatal(err)
	}
	return s.Data
}

// keeps checks that a step left the key and the grant alone, and the replicas that it should.
func (c *cluster) keeps(t *testing.T, step string, key map[string][]byte, replicas int32) {
	t.Helper()
	if diff := cmp.Diff(key, c.key(t)); diff != "" {
		t.Errorf("%s changed the encryption key", step)
	}
	if err := c.get("apps", "notes", &v1alpha1.TokenGrant{}); err != nil {
		t.Errorf("%s: %v", step, err)
	}
	var d appsv1.Deployment
	err := c.get(namespace, release+"-controller-manager", &d)
	switch {
	case replicas == 0 && !apierrors.IsNotFound(err):
		t.Errorf("%s left the Deployment: %v", step, err)
	case replicas > 0 && (err != nil || *d.Spec.Replicas != replicas):
		t.Errorf("%s: %v, and not %d replicas", step, err, replicas)
	}
}

func (c *cluster) knowsField(t *testing.T, field string) bool {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := c.get("", "tokengrants.tokengrant.dev", &crd); err != nil {
		t.Fatal(err)
	}
	_, known := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties[field]
	return known
}

// podIsAdmitted makes a pod of the Deployment's template where only the Pod Security Standard restricted is let in.
func (c *cluster) podIsAdmitted(t *testing.T) {
	t.Helper()
	var d appsv1.Deployment
	if err := c.get(namespace, release+"-controller-manager", &d); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}, Spec: d.Spec.Template.Spec}
	if err := c.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("Pod Security: %v", err)
	}
	pod.Spec.SecurityContext = nil
	if err := c.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("Pod Security lets everything in, so it proves nothing: %v", err)
	}
}

// leftovers finds what has the release's label, and should not.
func (c *cluster) leftovers(t *testing.T) []string {
	t.Helper()
	kinds := "all,serviceaccounts,configmaps,secrets,roles,rolebindings,clusterroles,clusterrolebindings,poddisruptionbudgets,networkpolicies," +
		"validatingadmissionpolicies,validatingadmissionpolicybindings"
	out := c.kubectl(t, "get", kinds, "--all-namespaces", "--selector", "app.kubernetes.io/instance="+release, "--output", "name")
	var left []string
	for name := range strings.FieldsSeq(out) {
		if name != "secret/"+release+"-encryption" {
			left = append(left, name)
		}
	}
	return left
}

// TestTheAPIServerTakesAllThereIs: every object that can be rendered is sent to be checked, but those whose kinds only
// the Prometheus operator brings.
func TestTheAPIServerTakesAllThereIs(t *testing.T) {
	c := emptyCluster(t)
	values := append([]string{"--set", "fullnameOverride=" + release}, "--namespace", namespace)
	for _, v := range everything {
		if !strings.HasPrefix(v, "metrics.serviceMonitor") && !strings.HasPrefix(v, "metrics.prometheusRule") {
			values = append(values, "--set", v)
		}
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(run(t, shared.helm[4], append([]string{"template", release, shared.chart}, values...)...)), 0o600); err != nil {
		t.Fatal(err)
	}
	check := []string{"apply", "--server-side", "--dry-run=server", "--validate=strict"}
	if out := c.kubectl(t, append(check, "--filename", file)...); strings.Count(out, "\n") < 20 {
		t.Errorf("too little was checked:\n%s", out)
	}
	for _, overlay := range []string{"config/default", "config/namespaced", "config/admission", "test/chart/testdata/encryption", "test/chart/testdata/import-keys", "test/chart/testdata/minimal"} {
		c.kubectl(t, append(check, "--kustomize", overlay)...)
	}
}

// eventually waits for what the API server learns from its own watches.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Fatal("it did not happen within 20 s")
	}
}
