//go:build integration

package apiserver

import (
	"context"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
)

const (
	ofTheCluster    = `issuerRef: {kind: ClusterTokenIssuer, name: keycloak}`
	ofTheNamespace  = `issuerRef: {kind: TokenIssuer, name: keycloak}`
	ofAbsentKind    = `issuerRef: {name: keycloak}`
	ofAnAppPassword = `appPassword: {nextcloud: {url: "https://cloud.example.com"}, from: {loginSecretRef: {name: login}}}`
	ofAThirdKind    = `issuerRef: {kind: FederatedTokenIssuer, name: keycloak}`
	atAnotherPath   = `source: {issuer: {kind: ClusterTokenIssuer, name: keycloak}}`
)

// TestThePolicyRefusesWhatItDoesNotKnow: another version of the API, another path of the issuer, another kind that belongs to
// the cluster. A user who may write TokenGrants, and may not use any issuer, gets none of them past config/admission.
func TestThePolicyRefusesWhatItDoesNotKnow(t *testing.T) {
	ns := namespace(t)
	shipped(t, ns)
	alice := member(t, ns)
	kubectl(t, "apply", "--kustomize", "config/admission")
	t.Cleanup(func() { kubectl(t, "delete", "--kustomize", "config/admission") })
	attempt := func(version, spec string) error {
		g := manifest(t, "apiVersion: "+group+"/"+version+"\nkind: TokenGrant\nmetadata: {generateName: g-}\nspec:\n  "+spec)
		g.SetNamespace(ns)
		return alice.Create(t.Context(), g, client.DryRunAll)
	}
	refused := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tokengrant-issuer-use") {
			t.Errorf("%s: %v, want %q of the policy", what, err, want)
		}
	}
	eventually(t, "the policy works", func() (bool, string) {
		err := attempt(alpha, ofTheCluster)
		return apierrors.IsForbidden(err), says(err)
	})

	// The same schema under another name, with one kind more.
	next := crd(t, "tokengrants")
	kinds := next.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["issuerRef"].Properties
	kind := kinds["kind"]
	kind.Enum = append(kind.Enum, apiextensionsv1.JSON{Raw: []byte(`"FederatedTokenIssuer"`)})
	kinds["kind"] = kind
	serveBeta(next)
	install(t, next, func() (bool, string) { err := attempt(beta, ofTheNamespace); return err == nil, says(err) })
	for _, version := range []string{alpha, beta} {
		for _, spec := range []string{ofTheNamespace, ofAbsentKind, ofAnAppPassword} {
			if err := attempt(version, spec); err != nil {
				t.Errorf("%s %s: %v", version, spec, err)
			}
		}
		refused(version+" a ClusterTokenIssuer", attempt(version, ofTheCluster), "may not use the ClusterTokenIssuer")
		refused(version+" a third kind", attempt(version, ofAThirdKind), "knows no issuers of this kind")
	}

	// The issuer at another path, as an incompatible version would have it.
	moved := crd(t, "tokengrants")
	serveBeta(moved)
	spec := moved.Spec.Versions[1].Schema.OpenAPIV3Schema.Properties["spec"]
	delete(spec.Properties, "issuerRef")
	spec.XValidations = nil
	spec.Properties["source"] = apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}
	moved.Spec.Versions[1].Schema.OpenAPIV3Schema.Properties["spec"] = spec
	install(t, moved, func() (bool, string) {
		g := manifest(t, "apiVersion: "+group+"/"+beta+"\nkind: TokenGrant\nmetadata: {generateName: g-, namespace: "+ns+"}\nspec: {"+atAnotherPath+"}")
		err := shared.admin.Create(t.Context(), g, client.DryRunAll)
		return strings.Contains(says(err), "finds no spec.issuerRef"), says(err)
	})
	refused("the issuer at another path", attempt(beta, atAnotherPath), "finds no spec.issuerRef")
	if err := attempt(beta, ofAnAppPassword); err != nil {
		t.Errorf("an app password beside that: %v", err)
	}
	mayUse(t, ns)
	eventually(t, "whoever may use the issuer references it", func() (bool, string) {
		err := attempt(alpha, ofTheCluster)
		return err == nil, says(err)
	})
	refused("the issuer at another path, by who may use it", attempt(beta, atAnotherPath), "finds no spec.issuerRef")
}

// member makes a user who may write the TokenGrants of a namespace.
func member(t *testing.T, ns string) client.Client {
	t.Helper()
	config, _, err := shared.plane.AddUser("alice")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := client.New(config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	allow(t, ns, "edit", rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"tokengrants"}, Verbs: []string{"get", "create", "update"}})
	return alice
}

func mayUse(t *testing.T, ns string) {
	t.Helper()
	allow(t, ns, "use", rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"clustertokenissuers"}, ResourceNames: []string{"keycloak"}, Verbs: []string{"use"}})
}

func allow(t *testing.T, ns, name string, rule rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: ns, Name: name}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}},
		},
	} {
		if err := shared.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := shared.plane.Kubectl(context.Background(), nil, args...); err != nil {
		t.Fatal(err)
	}
}

// serveBeta adds v1beta1, with the schema of v1alpha1, to what a CRD serves; v1alpha1 is stored.
func serveBeta(c *apiextensionsv1.CustomResourceDefinition) {
	next := c.Spec.Versions[0].DeepCopy()
	next.Name, next.Storage = beta, false
	c.Spec.Versions = append(c.Spec.Versions, *next)
	c.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
}
