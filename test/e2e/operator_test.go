// Package e2e tests the operator as it is shipped: its binary, its permissions, its flags; what it does is seen
// through the Kubernetes API only.
package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const (
	exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grants   = 20
)

// TestLeadersComeAndGo runs two replicas. Neither a leader that stops, nor one that is killed, costs a mint or a token.
func TestLeadersComeAndGo(t *testing.T) {
	plane, kubeconfig := install(t)
	c := newClient(t, plane)
	issuer := keycloaktest.NewServer(t)
	issuer.Client("worker", "worker-secret")

	first := replica(t, kubeconfig)
	await(t, "the first leader", 30*time.Second, func() bool { return holder(t, c) != "" })
	strangersGetNoMetrics(t, first.MetricsURL)
	populate(t, c, issuer.URL)
	await(t, "all grants Ready", time.Minute, func() bool { return ready(t, c) == grants })
	if got := issuer.Count(exchange); got != grants {
		t.Errorf("%d exchanges for %d grants", got, grants)
	}

	second := replica(t, kubeconfig)
	stopped := holder(t, c)
	begin := time.Now()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, "another leader after SIGTERM", 30*time.Second, func() bool { return holder(t, c) != "" && holder(t, c) != stopped })
	t.Logf("taken over %s after SIGTERM", time.Since(begin).Round(time.Millisecond))
	requestRefresh(t, c, issuer, "after-sigterm", grants+1)

	third := replica(t, kubeconfig)
	killed := holder(t, c)
	begin = time.Now()
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, "another leader after SIGKILL", 40*time.Second, func() bool { return holder(t, c) != "" && holder(t, c) != killed })
	t.Logf("taken over %s after SIGKILL", time.Since(begin).Round(time.Millisecond))
	requestRefresh(t, c, issuer, "after-sigkill", grants+2)
	if n := ready(t, c); n != grants {
		t.Errorf("%d of %d grants are Ready", n, grants)
	}
	_ = third
}

// install starts a control plane with what `kubectl apply -k config/default` installs, but the Deployment.
func install(t *testing.T) (*stack.ControlPlane, string) {
	t.Helper()
	plane, err := stack.StartControlPlane(t.Context(), stack.ControlPlaneOptions{CRDs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	_, kubeconfig, err := plane.InstallOperator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plane, kubeconfig
}

func replica(t *testing.T, kubeconfig string) *stack.Operator {
	t.Helper()
	// Not the test's context: the process is to be stopped by the test, not with it.
	o, err := stack.StartOperator(context.Background(), stack.OperatorOptions{Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// strangersGetNoMetrics asks without a token.
func strangersGetNoMetrics(t *testing.T, url string) {
	t.Helper()
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the operator's certificate is self-signed
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	var answer *http.Response
	await(t, "the metrics endpoint, which makes its certificate first", 30*time.Second, func() bool {
		answer, err = insecure.Do(request)
		return err == nil
	})
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("metrics without a token: %s, want 401", answer.Status)
	}
}

func newClient(t *testing.T, plane *stack.ControlPlane) client.Client {
	t.Helper()
	c, err := client.New(plane.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func populate(t *testing.T, c client.Client, issuerURL string) {
	t.Helper()
	objects := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "worker"}, StringData: map[string]string{"client-secret": "worker-secret"}},
		&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kc"}, Spec: v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(issuerURL)}},
	}
	for n := range grants {
		objects = append(objects, &v1alpha1.TokenGrant{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("g-%d", n)},
			Spec: v1alpha1.TokenGrantSpec{
				IssuerRef:      v1alpha1.IssuerRef{Name: "kc"},
				ServiceAccount: &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}},
				Exchange:       &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
			},
		})
	}
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// requestRefresh shows that the leader works, and that its election has minted nothing by itself.
func requestRefresh(t *testing.T, c client.Client, issuer *keycloaktest.Server, value string, want int) {
	t.Helper()
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "g-0"}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAnnotation, value)
	if err := c.Patch(t.Context(), g, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	await(t, "the refresh", 30*time.Second, func() bool { return issuer.Count(exchange) >= want })
	time.Sleep(time.Second)
	if got := issuer.Count(exchange); got != want {
		t.Errorf("%d exchanges, want %d: a new leader must mint nothing that is not due", got, want)
	}
}

func ready(t *testing.T, c client.Client) int {
	t.Helper()
	var list v1alpha1.TokenGrantList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range list.Items {
		if meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady) {
			n++
		}
	}
	return n
}

// holder names the leader; "" while there is none.
func holder(t *testing.T, c client.Client) string {
	t.Helper()
	var lease coordinationv1.Lease
	err := c.Get(t.Context(), client.ObjectKey{Namespace: stack.OperatorNamespace, Name: "leader.tokengrant.dev"}, &lease)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// await polls until something holds; more tells what was seen instead.
func await(t *testing.T, what string, within time.Duration, holds func() bool, more ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			instead := ""
			for _, f := range more {
				instead += "\n" + f()
			}
			t.Fatalf("not seen in %s: %s%s", within, what, instead)
		}
	}
}
