package integration

import (
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	oauth "github.com/tokengrant/tokengrant/keycloak"
)

// TestTwoOperatorsDivideTheGrants by a label: each works on its own, and one whose label changes goes over without a mint.
func TestTwoOperatorsDivideTheGrants(t *testing.T) {
	t.Parallel()
	s := scripted(t)
	var operators []*world
	namespace, shared := newNamespace(t), newNamespace(t)
	for _, selects := range []string{"tier=gold", "tier!=gold"} {
		selector, err := labels.Parse(selects)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{Client: cluster.admin, t: t, namespace: namespace, operatorNamespace: shared, keys: filepath.Join(t.TempDir(), "keys"), selector: selector}
		w.setKeys(firstKey)
		w.start()
		t.Cleanup(func() { w.stop() })
		operators = append(operators, w)
	}
	gold, rest := operators[0], operators[1]
	gold.issuer("kc", s.URL)
	gold.secret("worker", map[string]string{"client-secret": "worker-secret"})
	tier := func(value string) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) { g.Labels = map[string]string{"tier": value} }
	}
	first, second, third := gold.grantFor("first", "kc", "worker", tier("gold")), gold.grantFor("second", "kc", "worker", tier("silver")), gold.grantFor("third", "kc", "worker")
	exchanges := func() int { return s.Count(oauth.GrantTypeTokenExchange) }
	for _, g := range []*v1alpha1.TokenGrant{first, second, third} {
		gold.create(g)
	}
	for _, g := range []*v1alpha1.TokenGrant{first, second, third} {
		gold.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	}
	if n := exchanges(); n != 3 {
		t.Errorf("%d exchanges for three grants", n)
	}

	before := gold.published(first)
	gold.stop()
	change(rest, first, tier("silver"))
	refreshed := rest.grantFor("fourth", "kc", "worker")
	rest.create(refreshed)
	rest.await(refreshed, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	time.Sleep(time.Second) // Nothing is to happen to the one that has gone over.
	if n, after := exchanges(), rest.published(first); n != 4 || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("%d exchanges, Secret %s before and %s after", n, before.ResourceVersion, after.ResourceVersion)
	}
	change(rest, first, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: "now"}
	})
	rest.eventually("a refresh by the other operator", func() (bool, string) { return exchanges() == 5, "" })
}
