package integration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/httpclient"
)

// TestHostsThatAreNotAllowed names issuers and Nextclouds inside and outside of --allowed-hosts.
func TestHostsThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	w.stop()
	var err error
	if w.allowedHosts, err = httpclient.ParseHosts("id.example.com,127.0.0.1/32"); err != nil {
		t.Fatal(err)
	}
	w.start()
	inside := w.issuer("inside", s.URL)
	w.await(inside, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
	address := w.issuer("address", "https://192.0.2.1/realms/x")
	contains(t, w.await(address, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec), `host "192.0.2.1"`, "--allowed-hosts", "ask an administrator")
	name := w.issuer("name", strings.Replace(s.URL, "127.0.0.1", "[::1]", 1))
	contains(t, w.await(name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec), `host "::1"`, "--allowed-hosts")
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "inside", "worker", func(g *v1alpha1.TokenGrant) {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://192.0.2.1"}}
	})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec), "spec.check.nextcloud.url", "--allowed-hosts")
}
