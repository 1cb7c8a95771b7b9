package integration

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// moment is what a grant or an issuer takes to become Ready on a busy machine. Behind a server that hangs it was minutes.
const moment = 5 * time.Second

// TestASlowIssuerHoldsUpNobodyElse: 40 grants of a tenant, at an issuer of theirs that answers well, after 13 s.
func TestASlowIssuerHoldsUpNobodyElse(t *testing.T) {
	s := newTenants(t)
	slow := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "slow"}}
	slow.Spec.URL = v1alpha1.HTTPURL(s.evil.URL)
	slow.Spec.Limits = v1alpha1.Limits{RequestsPerSecond: 10000, Burst: 10000, Concurrency: 1024}
	s.create(slow)
	s.await(slow, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
	s.evil.Script(keycloaktest.Answer{Delay: 13 * time.Second, Forever: true})
	s.secret("worker", map[string]string{"client-secret": "worker-secret"})
	for n := range 40 {
		s.create(s.grantFor(fmt.Sprint("slow-", n), "slow", "worker"))
	}
	s.eventually("the issuer keeps more grants waiting than there are workers", func() (bool, string) {
		return len(s.evil.Requests()) > 8, fmt.Sprint(len(s.evil.Requests()))
	})
	for n := range 3 {
		g := s.grantFor(fmt.Sprint("beside-", n), "kc", "worker", func(g *v1alpha1.TokenGrant) { g.Namespace = s.victim })
		began := time.Now()
		s.create(g)
		s.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		if took := time.Since(began); took > moment {
			t.Errorf("a grant of another namespace is Ready after %s", took)
		}
	}
	s.evil.Script()
}

// TestSlowDiscoveriesHoldUpNobodyElse: five issuers of a tenant give their documents after 13 s.
func TestSlowDiscoveriesHoldUpNobodyElse(t *testing.T) {
	s := newTenants(t)
	s.evil.ScriptDiscovery(keycloaktest.Answer{Delay: 13 * time.Second, Forever: true})
	for n := range 5 {
		s.issuer(fmt.Sprint("slow-", n), s.evil.URL)
	}
	before := s.evil.DiscoveryCount()
	s.eventually("the slow issuers are asked", func() (bool, string) { return s.evil.DiscoveryCount() > before, "" })
	beside := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: s.victim, Name: "beside"}}
	beside.Spec.URL = v1alpha1.HTTPURL(s.good.URL)
	began := time.Now()
	s.create(beside)
	s.await(beside, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
	if took := time.Since(began); took > moment {
		t.Errorf("an issuer of another namespace is Ready after %s", took)
	}
	s.evil.ScriptDiscovery()
}
