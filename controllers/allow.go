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

// allows says whether grants of a namespace may use the issuer's own service account for these audiences.
// Without an exchange the token carries every audience, so that needs "*".
func (i *Issuers) allows(ctx context.Context, view issuerView, namespace string, exchange *v1alpha1.Exchange) error {
	if view.kind != kindClusterTokenIssuer {
		return nil
	}
	wanted := []v1alpha1.Audience{"*"}
	if exchange != nil {
		wanted = exchange.Audience
	}
	admitted := false
	for _, rule := range view.allow {
		ok, err := i.admits(ctx, rule, namespace)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		admitted = true
		if slices.Contains(rule.Audiences, "*") || subset(wanted, rule.Audiences) {
			return nil
		}
	}
	if !admitted {
		return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q use its serviceAccount: add the namespace to spec.allow there, or set spec.serviceAccount here", view, namespace)
	}
	return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q use its serviceAccount for %s: add the audience to a rule of spec.allow there, or set spec.serviceAccount here",
		view, namespace, describeAudience(exchange))
}

// allowsUser says whether grants of a namespace may act as a user: at a ClusterTokenIssuer only where a rule names that
// user, whoever brings the service account.
func (i *Issuers) allowsUser(ctx context.Context, view issuerView, namespace, user string) error {
	if view.kind != kindClusterTokenIssuer || user == "" {
		return nil
	}
	for _, rule := range view.allow {
		if !slices.Contains(rule.RequestedSubjects, v1alpha1.RequestedSubject(user)) {
			continue
		}
		if ok, err := i.admits(ctx, rule, namespace); ok || err != nil {
			return err
		}
	}
	return failf(v1alpha1.ReasonNotAllowed, "%s does not let namespace %q act as user %q: add the user to requestedSubjects of a rule of spec.allow there", view, namespace, user)
}

func (i *Issuers) admits(ctx context.Context, rule v1alpha1.AllowRule, namespace string) (bool, error) {
	if rule.NamespaceSelector == nil {
		return slices.Contains(rule.Namespaces, v1alpha1.NamespaceName(namespace)), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rule.NamespaceSelector)
	if err != nil {
		return false, failf(v1alpha1.ReasonInvalidSpec, "spec.allow has a namespaceSelector that is not valid: %v", err)
	}
	m, err := i.References.meta(ctx, kindNamespace, types.NamespacedName{Name: namespace})
	if err != nil || m == nil {
		return false, err
	}
	return selector.Matches(labels.Set(m.Labels)), nil
}

func describeAudience(exchange *v1alpha1.Exchange) string {
	if exchange == nil {
		return `every audience ("*"), as a grant without exchange asks for`
	}
	words := make([]string, len(exchange.Audience))
	for i, a := range exchange.Audience {
		words[i] = fmt.Sprintf("audience %q", a)
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
