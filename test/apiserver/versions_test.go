//go:build integration

package apiserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestALaterVersionIsThisSchemaWithoutConversion serves v1beta1 beside v1alpha1, moves what is stored to it and back, and has
// the operator, which knows v1alpha1 only, work all along.
func TestALaterVersionIsThisSchemaWithoutConversion(t *testing.T) {
	ns := namespace(t)
	shipped(t, ns)
	v := &versioned{t: t, ns: ns}
	v.serve(alpha, false)
	v.serve(alpha, true)
	operate(t, ns)
	v.create(alpha, "old", "nextcloud")
	v.create(beta, "new", "nextcloud")
	v.all("nextcloud", alpha)

	v.serve(beta, true)
	v.write(alpha, "old", "calendar") // One that is written is stored anew by that.
	published(t, ns, "old", "calendar")
	if got := v.stored("tokengrants", "new"); got != alpha {
		t.Errorf("a grant that nobody wrote is stored as %s", got)
	}
	v.move(beta)
	v.write(beta, "new", "calendar")
	v.all("calendar", beta)
	if err := replace(t, crd(t, "tokengrants"), client.DryRunAll); !apierrors.IsInvalid(err) || !strings.Contains(says(err), "storedVersions") {
		t.Errorf("a CRD without the stored version: %v, want a refusal", err)
	}

	v.serve(alpha, true)
	v.move(alpha)
	v.write(beta, "old", "contacts")
	v.write(alpha, "new", "contacts")
	v.all("contacts", alpha)
	v.serve(alpha, false)
	v.write(alpha, "old", "nextcloud")
	published(t, ns, "old", "nextcloud")
}

// versioned are objects of two versions in one namespace.
type versioned struct {
	t  *testing.T
	ns string
}

// serve installs the CRDs, with v1beta1 or without, that store one version.
func (v *versioned) serve(stored string, both bool) {
	v.t.Helper()
	for _, plural := range plurals {
		c := crd(v.t, plural)
		if both {
			serveBeta(c)
		}
		for i := range c.Spec.Versions {
			c.Spec.Versions[i].Storage = c.Spec.Versions[i].Name == stored
		}
		install(v.t, c, func() (bool, string) { return v.answers(c, stored, both) })
	}
}

// answers tells whether the API server serves v1beta1 or not, and stores the wanted version.
func (v *versioned) answers(c *apiextensionsv1.CustomResourceDefinition, stored string, both bool) (bool, string) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(group + "/" + beta)
	list.SetKind(c.Spec.Names.ListKind)
	err := shared.admin.List(v.t.Context(), list)
	if (err == nil) != both {
		return false, says(err)
	}
	probe := manifest(v.t, map[string]string{"TokenGrant": tokenGrant, "TokenIssuer": tokenIssuer, "ClusterTokenIssuer": clusterTokenIssuer}[c.Spec.Names.Kind])
	probe.SetName("probe-" + v.ns)
	if c.Spec.Scope == apiextensionsv1.NamespaceScoped {
		probe.SetNamespace(v.ns)
	}
	if c.Spec.Names.Kind == "TokenGrant" {
		set(v.t, probe, true, "spec", "suspend") // The operator is not to work for it.
	}
	if err := shared.admin.Create(v.t.Context(), probe); err != nil {
		v.t.Fatal(err)
	}
	now := v.storedAt(c.Spec.Names.Plural, probe)
	if err := shared.admin.Delete(v.t.Context(), probe); err != nil {
		v.t.Fatal(err)
	}
	return now == stored, "stored as " + now
}

func (v *versioned) create(version, name, audience string) {
	v.t.Helper()
	g := manifest(v.t, tokenGrant)
	g.SetAPIVersion(group + "/" + version)
	g.SetNamespace(v.ns)
	g.SetName(name)
	unstructured.RemoveNestedField(g.Object, "spec", "check")
	set(v.t, g, "worker", "spec", "serviceAccount", "clientID")
	set(v.t, g, "worker", "spec", "serviceAccount", "clientSecret", "secretRef", "name")
	set(v.t, g, words(audience), "spec", "exchange", "audiences")
	if err := shared.admin.Create(v.t.Context(), g); err != nil {
		v.t.Fatal(err)
	}
}

func (v *versioned) grant(name string) *unstructured.Unstructured {
	g := &unstructured.Unstructured{}
	g.SetKind("TokenGrant")
	g.SetNamespace(v.ns)
	g.SetName(name)
	return g
}

// write changes the audience of a grant in a version.
func (v *versioned) write(version, name, audience string) {
	v.t.Helper()
	change(v.t, v.grant(name), version, func(u *unstructured.Unstructured) { set(v.t, u, words(audience), "spec", "exchange", "audiences") })
}

// all checks that the operator has served every grant, that both versions show the same of it, and which is stored.
func (v *versioned) all(audience, stored string) {
	v.t.Helper()
	for _, name := range []string{"old", "new"} {
		published(v.t, v.ns, name, audience)
		a, b := read(v.t, v.grant(name), alpha), read(v.t, v.grant(name), beta)
		for _, part := range []string{"spec", "status"} {
			if diff := cmp.Diff(a.Object[part], b.Object[part]); diff != "" {
				v.t.Errorf("%s of %s (-v1alpha1 +v1beta1):\n%s", part, name, diff)
			}
		}
		if got := v.stored("tokengrants", name); got != stored {
			v.t.Errorf("%s is stored as %s, want %s", name, got, stored)
		}
	}
}

// move writes all objects again, which stores them in the version that is stored now, and forgets the other.
func (v *versioned) move(to string) {
	v.t.Helper()
	for _, name := range []string{"old", "new"} {
		change(v.t, v.grant(name), alpha, func(*unstructured.Unstructured) {})
	}
	issuer := &unstructured.Unstructured{}
	issuer.SetKind("TokenIssuer")
	issuer.SetNamespace(v.ns)
	issuer.SetName("kc")
	change(v.t, issuer, alpha, func(*unstructured.Unstructured) {})
	if got := v.stored("tokenissuers", "kc"); got != to {
		v.t.Errorf("the issuer is stored as %s, want %s", got, to)
	}
	for _, plural := range plurals {
		if err := storedOnly(plural+"."+group, to); err != nil {
			v.t.Fatal(err)
		}
	}
}

// stored is the version in which an object of the namespace stands in etcd.
func (v *versioned) stored(plural, name string) string {
	v.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetNamespace(v.ns)
	u.SetName(name)
	return v.storedAt(plural, u)
}

func (v *versioned) storedAt(plural string, object client.Object) string {
	v.t.Helper()
	key := "/registry/" + group + "/" + plural + "/"
	if object.GetNamespace() != "" {
		key += object.GetNamespace() + "/"
	}
	question := fmt.Sprintf(`{"key":%q}`, base64.StdEncoding.EncodeToString([]byte(key+object.GetName())))
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, shared.plane.EtcdURL+"/v3/kv/range", strings.NewReader(question))
	if err != nil {
		v.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		KVs []struct{ Value []byte } `json:"kvs"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		v.t.Fatal(err)
	}
	if len(answer.KVs) != 1 {
		v.t.Fatalf("%d objects at %s of etcd", len(answer.KVs), key)
	}
	var stored struct{ APIVersion string }
	if err := json.NewDecoder(bytes.NewReader(answer.KVs[0].Value)).Decode(&stored); err != nil {
		v.t.Fatal(err)
	}
	return strings.TrimPrefix(stored.APIVersion, group+"/")
}
