package main

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// permissions are the operator's, split for an operator that works in some namespaces only.
type permissions struct {
	// Cluster are for objects that are in no namespace: a ClusterRole is the only way to give them.
	Cluster []rbacv1.PolicyRule `json:"cluster"`
	// Namespaced are needed in each namespace with TokenGrants.
	Namespaced []rbacv1.PolicyRule `json:"namespaced"`
	// AllNamespaces are needed beside those by an operator of all namespaces.
	AllNamespaces []rbacv1.PolicyRule `json:"allNamespaces"`
	// Tokens are for grants with kubernetesToken, in each namespace with TokenGrants.
	Tokens []rbacv1.PolicyRule `json:"kubernetesToken"`
	// OperatorNamespace are needed where the Secrets of ClusterTokenIssuers are, when that is none with TokenGrants.
	OperatorNamespace []rbacv1.PolicyRule `json:"operatorNamespace"`
}

var (
	clusterScoped = []string{"clustertokenissuers", "clustertokenissuers/status"}
	// A Role can allow to get the Namespace it is in. Whoever wants to watch Namespaces needs the permission for all.
	ownNamespace, allNamespaces = []string{"get"}, []string{"list", "watch"}
	// What a ClusterTokenIssuer refers to, and what may be done with it.
	referredTo = map[string][]string{
		"configmaps":      {"get", "list", "watch"},
		"secrets":         {"get", "list", "watch"},
		"serviceaccounts": {"get", "list", "watch"},
	}
)

func split(rules []rbacv1.PolicyRule) permissions {
	var p permissions
	for _, rule := range rules {
		var cluster, namespaced, namespaces, tokens []string
		for _, resource := range rule.Resources {
			switch {
			case slices.Contains(clusterScoped, resource):
				cluster = append(cluster, resource)
			case resource == "namespaces":
				namespaces = append(namespaces, resource)
			case resource == "serviceaccounts/token":
				tokens = append(tokens, resource)
			default:
				namespaced = append(namespaced, resource)
			}
		}
		p.Cluster = with(p.Cluster, rule, cluster, rule.Verbs)
		p.Namespaced = with(p.Namespaced, rule, namespaced, rule.Verbs)
		p.Namespaced = with(p.Namespaced, rule, namespaces, ownNamespace)
		p.Tokens = with(p.Tokens, rule, tokens, rule.Verbs)
		p.AllNamespaces = with(p.AllNamespaces, rule, namespaces, allNamespaces)
		p.OperatorNamespace = appendReferred(p.OperatorNamespace, rule)
	}
	return p
}

// appendReferred adds what of a rule is for the objects that a ClusterTokenIssuer refers to.
func appendReferred(rules []rbacv1.PolicyRule, rule rbacv1.PolicyRule) []rbacv1.PolicyRule {
	if !slices.Equal(rule.APIGroups, []string{""}) {
		return rules
	}
	for _, resource := range rule.Resources {
		verbs := slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool {
			return !slices.Contains(referredTo[resource], verb)
		})
		if len(verbs) > 0 {
			rules = with(rules, rule, []string{resource}, verbs)
		}
	}
	return rules
}

// with adds a rule for other resources and verbs; none when no resource is left.
func with(rules []rbacv1.PolicyRule, rule rbacv1.PolicyRule, resources, verbs []string) []rbacv1.PolicyRule {
	if len(resources) == 0 {
		return rules
	}
	rule.Resources, rule.Verbs = resources, verbs
	return append(rules, rule)
}
