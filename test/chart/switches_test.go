package chart

import (
	"slices"
	"strings"
	"testing"
)

// TestTokensOfServiceAccountsAreASwitch: without it, the operator has all its other permissions, everywhere and in some
// namespaces.
func TestTokensOfServiceAccountsAreASwitch(t *testing.T) {
	for _, scope := range []string{"watchNamespaces=null", "watchNamespaces={apps}"} {
		with, without := given(t, scope), given(t, scope, "rbac.kubernetesToken=false")
		tokens := 0
		for _, p := range with {
			if strings.Contains(p, "serviceaccounts/token") {
				tokens++
			}
		}
		for _, p := range without {
			if strings.Contains(p, "serviceaccounts/token") {
				t.Errorf("%s: %s, in spite of the switch", scope, p)
			}
		}
		if tokens == 0 || len(without) != len(with)-tokens {
			t.Errorf("%s: %d permissions without the switch, %d with it, %d of them for tokens", scope, len(without), len(with), tokens)
		}
	}
}

// TestClusterIssuersAreASwitch: without it, the operator may do nothing with ClusterTokenIssuers. With watchNamespaces it has no
// permission in the whole cluster, and none in its own namespace but what the leader election needs.
func TestClusterIssuersAreASwitch(t *testing.T) {
	for _, scope := range []string{"watchNamespaces=null", "watchNamespaces={apps}"} {
		with := given(t, scope, "metrics.enabled=false", "rbac.aggregate=false")
		without := given(t, scope, "metrics.enabled=false", "rbac.aggregate=false", "clusterIssuers=false")
		if !mentions(with, "clustertokenissuers") || mentions(without, "clustertokenissuers") {
			t.Errorf("%s: with the switch %q, without it %q", scope, with, without)
		}
		if !mentions(without, "tokengrants") {
			t.Errorf("%s: the switch takes away more: %q", scope, without)
		}
	}
	for _, p := range given(t, "watchNamespaces={apps}", "clusterIssuers=false", "metrics.enabled=false", "rbac.aggregate=false") {
		if !strings.HasPrefix(p, "in apps: ") && !strings.Contains(p, "coordination.k8s.io/leases") && !strings.Contains(p, "events") {
			t.Errorf("%s, in spite of the switch", p)
		}
	}
}

func mentions(permissions []string, resource string) bool {
	return slices.ContainsFunc(permissions, func(p string) bool { return strings.Contains(p, resource) })
}

// given lists the permissions of whoever the chart gives some.
func given(t *testing.T, values ...string) (list []string) {
	t.Helper()
	for _, of := range permissions(template(t, values...)) {
		list = append(list, of...)
	}
	return list
}
