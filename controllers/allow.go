package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// allows says whether a grant may use the issuer's own service account for its audiences and scopes, and act as the user
// that it requests, whoever brings the service account: one rule must allow all of it. Without an exchange the token
// carries every audience, so that needs "*".
func (i *Issuers) allows(ctx context.Context, view issuerView, grant *v1alpha1.TokenGrant) error {
	own, user, namespace := grant.Spec.ServiceAccount != nil, requestedSubject(grant), grant.Namespace
	if view.kind != kindClusterTokenIssuer || own && user == "" {
		return nil
	}
	wanted, scopes := []v1alpha1.Audience{"*"}, grant.Spec.Scopes
	if e := grant.Spec.Exchange; e != nil {
		wanted, scopes = e.Audiences, slices.Concat(scopes, e.Scopes)
	}
	admitted, served := false, false
	for _, rule := range view.allow {
		ok, err := i.admits(ctx, rule, namespace)
		if err != nil {
			return err
		}
		covers := ok && (slices.Contains(rule.Audiences, "*") || subset(wanted, rule.Audiences)) &&
			(len(rule.Scopes) == 0 || subset(scopes, rule.Scopes))
		if covers && (user == "" || slices.Contains(rule.RequestedSubjects, v1alpha1.RequestedSubject(user))) {
			return nil
		}
		admitted, served = admitted || ok, served || covers
	}
	switch {
	case user != "" && (own || served):
		return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q act as user %q for %s: one rule of spec.allow there must name the namespace, the audience and, in requestedSubjects, the user",
			view, namespace, user, demanded(grant.Spec.Exchange, scopes))
	case !admitted:
		return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q use its serviceAccount: add the namespace to spec.allow there, or set spec.serviceAccount here", view, namespace)
	}
	return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q use its serviceAccount for %s: add that to a rule of spec.allow there, or set spec.serviceAccount here",
		view, namespace, demanded(grant.Spec.Exchange, scopes))
}

func (i *Issuers) admits(ctx context.Context, rule v1alpha1.AllowRule, namespace string) (bool, error) {
	if rule.NamespaceSelector == nil {
		return slices.Contains(rule.Namespaces, v1alpha1.NamespaceName(namespace)), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rule.NamespaceSelector)
	if err != nil {
		return false, nil //nolint:nilerr // The status of the issuer names the rule. The other rules still count.
	}
	m, err := i.References.meta(ctx, kindNamespace, types.NamespacedName{Name: namespace})
	if err != nil || m == nil {
		return false, err
	}
	return selector.Matches(labels.Set(m.Labels)), nil
}

// invalidRule names the first rule whose selector cannot be read: the schema does not check it.
func invalidRule(view issuerView) *failure {
	for n, rule := range view.allow {
		if _, err := metav1.LabelSelectorAsSelector(rule.NamespaceSelector); err != nil {
			return failf(v1alpha1.ReasonInvalidSpec, "spec.allow[%d].namespaceSelector: %v: correct it; the rule admits no namespace until then", n, err)
		}
	}
	return nil
}

// demanded names what a grant asks for.
func demanded(exchange *v1alpha1.Exchange, scopes []v1alpha1.Scope) string {
	var words []string
	if exchange == nil {
		words = append(words, `every audience ("*"), as a grant without exchange asks for`)
	} else {
		for _, a := range exchange.Audiences {
			words = append(words, fmt.Sprintf("audience %q", a))
		}
	}
	for _, s := range scopes {
		words = append(words, fmt.Sprintf("scope %q", s))
	}
	return strings.Join(words, ", ")
}

func subset[E comparable](part, whole []E) bool {
	for _, e := range part {
		if !slices.Contains(whole, e) {
			return false
		}
	}
	return true
}
