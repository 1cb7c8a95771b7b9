//go:build integration

package apiserver

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lawless breaks every rule of the root of a TokenGrant, and with them some of its members'.
const lawless = `
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: g, finalizers: [tokengrant.dev/revoke]}
spec:
  issuerRef: {name: kc}
  serviceAccount:
    clientID: c
    clientSecret: {secretRef: {name: x-tokengrant-session}}
    privateKeyJWT: {secretRef: {name: x-tokengrant-session}}
    certificate: {secretRef: {name: x-tokengrant-session}}
  subject:
    tokenSecretRef: {name: x-tokengrant-session}
    offlineTokenSecretRef: {name: x-tokengrant-session}
    assertion: {tokenSecretRef: {name: x-tokengrant-session}}
  appPassword:
    nextcloud: {url: "https://cloud.example.com", caRef: {kind: Secret, name: x-tokengrant-session}}
    from: {loginSecretRef: {name: x-tokengrant-session}}
  check: {nextcloud: {url: "https://cloud.example.com", caRef: {kind: Secret, name: x-tokengrant-session}}}
  delivery: {secret: {name: x-tokengrant-session}}`

// TestNewRulesNeverLockOldGrants: what a former CRD has taken can still be finalized and reported on; only a change of its
// spec must obey.
func TestNewRulesNeverLockOldGrants(t *testing.T) {
	ns := namespace(t)
	shipped(t, ns)
	now := crd(t, "tokengrants")
	before := crd(t, "tokengrants")
	unruled(before.Spec.Versions[0].Schema.OpenAPIV3Schema)
	old, another := manifest(t, lawless), manifest(t, lawless)
	old.SetNamespace(ns)
	another.SetNamespace(ns)
	another.SetName("another")
	taken := func() error {
		probe := old.DeepCopy()
		probe.SetName("probe")
		return shared.admin.Create(t.Context(), probe, client.DryRunAll)
	}
	install(t, before, func() (bool, string) { err := taken(); return err == nil, says(err) })
	for _, g := range []*unstructured.Unstructured{old, another} {
		if err := shared.admin.Create(t.Context(), g.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}

	// Without its guard a rule would lock them: this test can fail.
	unguarded := crd(t, "tokengrants")
	rules := unguarded.Spec.Versions[0].Schema.OpenAPIV3Schema.XValidations
	for i := range rules {
		var guarded bool
		rules[i].Rule, guarded = strings.CutPrefix(rules[i].Rule, "oldSelf.hasValue() && oldSelf.value().spec == self.spec || ")
		if rules[i].OptionalOldSelf = nil; !guarded {
			t.Errorf("rule %d has no guard: %s", i, rules[i].Message)
		}
	}
	install(t, unguarded, func() (bool, string) { return taken() != nil, "a new grant is taken" })
	if err := finalized(t, another); !apierrors.IsInvalid(err) {
		t.Errorf("removing a finalizer under rules without guards: %v, want a refusal", err)
	}

	install(t, now, func() (bool, string) {
		err := shared.admin.Patch(t.Context(), old.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)), client.DryRunAll)
		return err == nil, says(err)
	})
	obeys(t, now, old)
	if err := shared.admin.Delete(t.Context(), another.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := finalized(t, another); err != nil {
		t.Errorf("removing the finalizer of a deleted grant: %v", err)
	}
	if err := shared.admin.Get(t.Context(), client.ObjectKeyFromObject(another), another.DeepCopy()); !apierrors.IsNotFound(err) {
		t.Errorf("a deleted grant without finalizers: %v, want it gone", err)
	}
}

// obeys checks what may be written of a grant that breaks the rules, and what may not.
func obeys(t *testing.T, now *apiextensionsv1.CustomResourceDefinition, old *unstructured.Unstructured) {
	t.Helper()
	status := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"observedGeneration":1,"secretName":"x"}}`))
	if err := shared.admin.Status().Patch(t.Context(), old.DeepCopy(), status); err != nil {
		t.Errorf("writing the status: %v", err)
	}
	if err := finalized(t, old); err != nil {
		t.Errorf("removing the finalizer: %v", err)
	}
	refused := shared.admin.Patch(t.Context(), old.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`)))
	if !apierrors.IsInvalid(refused) {
		t.Fatalf("another spec: %v, want a refusal", refused)
	}
	rules := now.Spec.Versions[0].Schema.OpenAPIV3Schema.XValidations
	if len(rules) < 10 {
		t.Errorf("only %d rules at the root", len(rules))
	}
	for _, rule := range rules {
		if !strings.Contains(refused.Error(), rule.Message) {
			t.Errorf("the grant does not break the rule %q: %v", rule.Message, refused)
		}
	}
	change(t, old, alpha, func(u *unstructured.Unstructured) { u.Object["spec"] = manifest(t, tokenGrant).Object["spec"] })
}

func finalized(t *testing.T, grant *unstructured.Unstructured) error {
	t.Helper()
	return shared.admin.Patch(t.Context(), grant.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
}

// unruled takes all CEL rules out of a schema.
func unruled(s *apiextensionsv1.JSONSchemaProps) {
	s.XValidations = nil
	for name, property := range s.Properties {
		unruled(&property)
		s.Properties[name] = property
	}
	if s.Items != nil && s.Items.Schema != nil {
		unruled(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		unruled(s.AdditionalProperties.Schema)
	}
}

// says is an error as text, or that there is none.
func says(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
