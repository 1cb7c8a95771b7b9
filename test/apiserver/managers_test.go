//go:build integration

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// The field managers of the programs that apply manifests from a repository.
const (
	flux = client.FieldOwner("kustomize-controller")
	argo = client.FieldOwner("argocd-controller")
)

const (
	tokenGrant = `
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: g}
spec:
  issuerRef: {name: kc}
  serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}
  exchange: {audiences: [nextcloud]}
  check: {nextcloud: {url: "https://cloud.example.com", expect: {user: c}}}`
	tokenIssuer = `
apiVersion: tokengrant.dev/v1alpha1
kind: TokenIssuer
metadata: {name: kc}
spec: {url: "https://id.example.com"}`
	clusterTokenIssuer = `
apiVersion: tokengrant.dev/v1alpha1
kind: ClusterTokenIssuer
metadata: {name: kc}
spec: {url: "https://id.example.com", serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}}`
)

func words(list ...any) []any { return append([]any{}, list...) }

func allowing(rules ...map[string]any) []any {
	list := []any{}
	for _, rule := range rules {
		list = append(list, rule)
	}
	return list
}

// TestTwoManagersNeverMergeAList: the last one who is allowed to write a list gets that list, and nothing of the other's.
func TestTwoManagersNeverMergeAList(t *testing.T) {
	team := map[string]any{"namespaces": words("team"), "audiences": words("nextcloud")}
	other := map[string]any{"namespaces": words("other"), "audiences": words("*")}
	for _, list := range []struct {
		name, manifest string
		path           string
		a, b           []any
		required       bool
	}{
		{"audiences", tokenGrant, "spec.exchange.audiences", words("nextcloud"), words("calendar", "contacts"), true},
		{"scopes of the exchange", tokenGrant, "spec.exchange.scopes", words("files"), words("notes"), false},
		{"scopes", tokenGrant, "spec.scopes", words("openid", "roles"), words("openid"), false},
		{"groups", tokenGrant, "spec.check.nextcloud.expect.groups", words("staff"), words("robots"), false},
		{"notInGroups", tokenGrant, "spec.check.nextcloud.expect.notInGroups", words("admin"), words("ops"), false},
		{"notInGroups of nobody", tokenGrant, "spec.check.nextcloud.expect.notInGroups", words("admin"), words(), false},
		{"endpointHosts", tokenIssuer, "spec.endpointHosts", words("login.example.com"), words("keys.example.com"), false},
		{"allow", clusterTokenIssuer, "spec.allow", allowing(team), allowing(other), false},
	} {
		for _, order := range []struct {
			first, second client.FieldOwner
			a, b          []any
		}{{flux, argo, list.a, list.b}, {argo, flux, list.b, list.a}} {
			t.Run(fmt.Sprintf("%s by %s, then by %s", list.name, order.first, order.second), func(t *testing.T) {
				m := managed{t, manifest(t, list.manifest), strings.Split(list.path, ".")}
				m.begin()
				m.force(order.first, order.a)
				if err := m.apply(order.second, order.b); !apierrors.IsConflict(err) {
					t.Errorf("%s without force: %v, want a conflict", order.second, err)
				}
				m.is(order.a, "after the conflict")
				m.force(order.second, order.b)
				m.is(order.b, "by force")
				m.force(order.first, order.a)
				m.is(order.a, "by force of the first again")
				if !list.required {
					m.force(order.first, nil)
					m.is(nil, "when its only manager gave it up")
				}
			})
		}
	}
}

// managed is an object with a list that two managers want.
type managed struct {
	t      *testing.T
	object *unstructured.Unstructured
	path   []string
}

func (m managed) begin() {
	m.t.Helper()
	if m.object.GetKind() != "ClusterTokenIssuer" {
		m.object.SetNamespace(namespace(m.t))
	}
	m.t.Cleanup(func() {
		if err := shared.admin.Delete(context.Background(), m.object.DeepCopy()); err != nil {
			m.t.Error(err)
		}
	})
}

// apply is a server-side apply of the whole manifest with a list in it; nil leaves the list out.
func (m managed) apply(by client.FieldOwner, list []any, options ...client.ApplyOption) error {
	m.t.Helper()
	object := m.object.DeepCopy()
	unstructured.RemoveNestedField(object.Object, m.path...)
	if list != nil {
		set(m.t, object, list, m.path...)
	}
	return shared.admin.Apply(m.t.Context(), client.ApplyConfigurationFromUnstructured(object), append(options, by)...)
}

func (m managed) force(by client.FieldOwner, list []any) {
	m.t.Helper()
	if err := m.apply(by, list, client.ForceOwnership); err != nil {
		m.t.Fatalf("%s applies %v: %v", by, list, err)
	}
}

// is compares the stored list, in which empty and absent differ.
func (m managed) is(want []any, when string) {
	m.t.Helper()
	stored := read(m.t, m.object, alpha)
	got, _, err := unstructured.NestedSlice(stored.Object, m.path...)
	if err != nil {
		m.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	if m.path[len(m.path)-1] == "notInGroups" {
		m.means(stored, want)
	}
}

// means compares what the operator reads: an absent list is [admin], an empty one nobody.
func (m managed) means(stored *unstructured.Unstructured, want []any) {
	m.t.Helper()
	var grant v1alpha1.TokenGrant
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, &grant); err != nil {
		m.t.Fatal(err)
	}
	grant.Default()
	if want == nil {
		want = words("admin")
	}
	got := []any{}
	for _, g := range grant.Spec.Check.Nextcloud.Expect.NotInGroups {
		got = append(got, string(g))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("the operator reads (-want +got):\n%s", diff)
	}
}
