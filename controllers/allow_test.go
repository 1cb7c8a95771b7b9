package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestARuleThatCannotBeRead: the schema takes every label selector. One that means nothing is the fault of its issuer, and of
// no grant that another rule admits.
func TestARuleThatCannotBeRead(t *testing.T) {
	for name, selector := range map[string]metav1.LabelSelector{
		"an unknown operator": {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Contains", Values: []string{"b"}}}},
		"In without values":   {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn}}},
		"a key with a space":  {MatchLabels: map[string]string{"a b": "c"}},
		"a value with spaces": {MatchLabels: map[string]string{"a": "c d"}},
	} {
		t.Run(name, func(t *testing.T) {
			issuers := &Issuers{OperatorNamespace: "system"}
			object := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "kc"}}
			object.Spec.Allow = []v1alpha1.AllowRule{
				{NamespaceSelector: &selector, Audiences: []v1alpha1.Audience{"nextcloud"}},
				{Namespaces: []v1alpha1.NamespaceName{"apps"}, Audiences: []v1alpha1.Audience{"nextcloud"}},
			}
			view := issuers.view(object)
			g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "g"}}
			g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
			if err := issuers.allows(t.Context(), view, g); err != nil {
				t.Errorf("another rule admits it: %v", err)
			}
			g.Namespace = "other"
			if failed, err := asFailure(issuers.allows(t.Context(), view, g)); err != nil || failed == nil || failed.reason != v1alpha1.ReasonNotAllowed {
				t.Errorf("%v %v, want NotAllowed", failed, err)
			}
			failed := invalidRule(view)
			if failed == nil || failed.reason != v1alpha1.ReasonInvalidSpec || !strings.HasPrefix(failed.message, "spec.allow[0].namespaceSelector: ") {
				t.Errorf("the issuer says %v", failed)
			}
		})
	}
}
