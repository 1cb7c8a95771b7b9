//go:build integration

package observe

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/test/audit"
	"github.com/tokengrant/tokengrant/test/canary"
)

const (
	namespace = "apps"
	// patience is how long what should take seconds may take on a busy machine.
	patience = 60 * time.Second
)

// readers are Prometheus, which may read the metrics and no more, and a person, who may look at the status page.
const readers = `
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: tokengrant-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tokengrant-metrics-reader}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: tokengrant-system}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: person, namespace: tokengrant-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: person}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tokengrant-status-reader}
subjects: [{kind: ServiceAccount, name: person, namespace: tokengrant-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: profiles}
rules: [{nonResourceURLs: ["/debug/pprof/*"], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: profiles}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: profiles}
subjects: [{kind: ServiceAccount, name: person, namespace: tokengrant-system}]
`

// cluster is a real API server and the operator as a process, with the permissions of config/rbac.
type cluster struct {
	client.Client
	t        *testing.T
	operator *stack.Operator
	// leaks is what must not be told, and what was; audit is what the operator did.
	leaks *canary.Watch
	audit audit.Log
	// Tokens of those who may read metrics, and look at the status page.
	prometheus, person string
}

func newCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	log, err := audit.NewLog(t.TempDir(), "system:serviceaccount:"+stack.OperatorNamespace+":"+stack.OperatorServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := stack.StartControlPlane(t.Context(), stack.ControlPlaneOptions{CRDs: true, APIServerFlags: log.Flags()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	_, kubeconfig, err := plane.InstallOperator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plane.Kubectl(t.Context(), strings.NewReader(readers), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, leaks: &canary.Watch{}, audit: log}
	admin, err := client.NewWithWatch(plane.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	c.Client = admin
	stop, err := c.leaks.Follow(context.WithoutCancel(t.Context()), admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	flags = append(flags, "--zap-devel", "--zap-log-level=10", "--otlp-endpoint="+collects(t, c.leaks))
	for name, token := range map[string]*string{"prometheus": &c.prometheus, "person": &c.person} {
		config, _, err := plane.ServiceAccount(t.Context(), stack.OperatorNamespace, name)
		if err != nil {
			t.Fatal(err)
		}
		*token = config.BearerToken
	}
	c.operator, err = stack.StartOperator(t.Context(), stack.OperatorOptions{Kubeconfig: kubeconfig, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.operator.Close() })
	return c
}

func (c *cluster) create(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		o.SetNamespace(namespace)
		if err := c.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
	}
}

func issuer(name, url string) *v1alpha1.TokenIssuer {
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	i.Spec.URL = v1alpha1.HTTPURL(url)
	return i
}

func credential(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"client-secret": value}}
}

// grantOf is a grant of the client of the same name, for the audience nextcloud.
func grantOf(name, issuerName, nextcloud string) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	g.Spec.IssuerRef.Name = issuerName
	g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: name, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: name + "-client"}}}
	g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
	if nextcloud != "" {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(nextcloud)}}
		g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	}
	return g
}

// refresh asks for another token of a grant.
func (c *cluster) refresh(name string) {
	c.t.Helper()
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := `{"metadata":{"annotations":{"` + v1alpha1.RefreshRequestedAnnotation + `":"` + time.Now().Format(time.RFC3339Nano) + `"}}}`
	if err := c.Patch(c.t.Context(), g, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		c.t.Fatal(err)
	}
}

// read gets a page of the operator's metrics server.
func (c *cluster) read(path, token string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.operator.MetricsURL, "/metrics")+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := anyCertificate.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// anyCertificate takes the one that the operator made for itself.
var anyCertificate = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// eventually polls until something holds; the text says what was seen instead.
func eventually(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	began := time.Now()
	for {
		ok, seen := holds()
		if ok {
			t.Logf("%s: after %s", what, time.Since(began).Round(100*time.Millisecond))
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("not seen in %s: %s\ninstead: %s", patience, what, seen)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func withNamespace(g *v1alpha1.TokenGrant) *v1alpha1.TokenGrant {
	g.Namespace = namespace
	return g
}
