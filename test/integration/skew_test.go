package integration

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// The fields of a newer CRD: one narrows, one redirects, one adds a check; the last one is in an element of a list that is
// written as a whole, of which managedFields do not tell.
const (
	otherSecret = "secret-of-the-newer-world"

	grantCRD  = "tokengrants.tokengrant.dev"
	issuerCRD = "clustertokenissuers.tokengrant.dev"
)

var (
	newerGrant = map[string]any{
		"exchange/onlyFor": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "x-kubernetes-list-type": "atomic"},
		"delivery/volume":  map[string]any{"type": "object", "properties": map[string]any{"path": map[string]any{"type": "string"}}},
		"check/http":       map[string]any{"type": "object", "properties": map[string]any{"url": map[string]any{"type": "string"}}},
	}
	newerIssuer = map[string]any{
		"caRef/pin":      map[string]any{"type": "string"},
		"allow[]/except": map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
	}
)

// newerWorld is a control plane of its own: its CRDs change.
func newerWorld(t *testing.T) (*world, *keycloaktest.Server) {
	t.Helper()
	ctx := context.Background() // the control plane outlives the test's context, until it is closed
	plane, err := stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	admin, err := client.New(plane.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Client: admin, t: t, namespace: "apps", operatorNamespace: "operator", keys: filepath.Join(t.TempDir(), "keys")}
	if w.server, _, err = plane.AddUser(operatorName); err != nil {
		t.Fatal(err)
	}
	if err := grantRole(ctx, admin, operatorName); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{w.namespace, w.operatorNamespace} {
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	w.neighbours = []string{w.operatorNamespace}
	w.setKeys(firstKey)
	w.start()
	t.Cleanup(func() { w.stop() })
	// The search for leaks does not follow this control plane, and would take its values for those of others.
	s := keycloaktest.NewServer(t, keycloaktest.Options{})
	s.Client("worker", otherSecret)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": otherSecret})
	return w, s
}

// upgradeCRD gives fields to spec of a CRD, by their paths there, and returns what rolls it back.
func (w *world) upgradeCRD(name string, fields map[string]any) (rollback func()) {
	w.t.Helper()
	w.changeCRD(name, func(members func(string) map[string]any) {
		for path, schema := range fields {
			below, last, _ := strings.Cut(path, "/")
			members(below)[last] = schema
		}
	})
	return func() {
		w.changeCRD(name, func(members func(string) map[string]any) {
			for path := range fields {
				below, last, _ := strings.Cut(path, "/")
				delete(members(below), last)
			}
		})
	}
}

func (w *world) changeCRD(name string, f func(members func(path string) map[string]any)) {
	w.t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName(name)
	change(w, crd, func(crd *unstructured.Unstructured) {
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		f(func(path string) map[string]any {
			list := strings.HasSuffix(path, "[]")
			fields := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", strings.TrimSuffix(path, "[]")}
			if list {
				fields = append(fields, "items")
			}
			at := versions[0].(map[string]any)
			for _, name := range append(fields, "properties") {
				at = at[name].(map[string]any)
			}
			return at
		})
		if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
			w.t.Fatal(err)
		}
	})
}

// merge patches an object of a kind as its author would, once the API server knows the field, and says whether it is kept.
func (w *world) merge(kind string, key client.ObjectKey, patch string) {
	w.t.Helper()
	w.eventually("the API server knows the field of "+patch, func() (bool, string) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		object.SetNamespace(key.Namespace)
		object.SetName(key.Name)
		err := w.Patch(w.t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldValidation(metav1.FieldValidationStrict))
		return err == nil, show(err)
	})
}

func show(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// held waits until the latest attempt of a grant has failed with FieldUnknown, and gives its message.
func (w *world) held(g *v1alpha1.TokenGrant) string {
	w.t.Helper()
	w.eventually(g.Name+" is held", func() (bool, string) {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
			return false, err.Error()
		}
		seen, _ := json.Marshal(g.Status)
		a := g.Status.LastAttempt
		return g.Status.ObservedGeneration == g.Generation && a != nil && a.Reason == v1alpha1.ReasonFieldUnknown, string(seen)
	})
	return g.Status.LastAttempt.Message
}

// TestAnOlderOperatorHoldsGrantsWithFieldsThatItDoesNotKnow, says which field it is, and goes on with the others.
func TestAnOlderOperatorHoldsGrantsWithFieldsThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w, s := newerWorld(t)
	cloud := httptest.NewServer(nextcloudtest.New(nextcloudtest.Options{Issuer: s.URL}).Handler())
	defer cloud.Close()
	grants := map[string]*v1alpha1.TokenGrant{}
	fields := map[string]struct{ path, set, remove string }{
		"narrowed":   {"spec.exchange.onlyFor", `{"spec":{"exchange":{"onlyFor":["read"]}}}`, `{"spec":{"exchange":{"onlyFor":null}}}`},
		"redirected": {"spec.delivery.volume", `{"spec":{"delivery":{"secret":null,"volume":{"path":"/token"}}}}`, `{"spec":{"delivery":{"volume":null}}}`},
		"checked":    {"spec.check.http", `{"spec":{"check":{"http":{"url":"https://app.example.com"}}}}`, `{"spec":{"check":{"http":null}}}`},
	}
	for _, name := range []string{"narrowed", "redirected", "checked", "plain"} {
		g := w.grantFor(name, "kc", "worker", func(g *v1alpha1.TokenGrant) {
			g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(cloud.URL)}}
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: name + "-token"}}
		})
		w.create(g)
		grants[name] = g
	}
	before := map[string]*corev1.Secret{}
	for name, g := range grants {
		w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		before[name] = w.published(g)
	}

	w.upgradeCRD(grantCRD, newerGrant)
	for name, f := range fields {
		w.merge("TokenGrant", client.ObjectKeyFromObject(grants[name]), f.set)
		contains(t, w.held(grants[name]), "this operator does not know "+f.path+": upgrade the operator, or remove the field")
	}
	minted := exchanges(s)
	for _, g := range grants {
		w.merge("TokenGrant", client.ObjectKeyFromObject(g), `{"metadata":{"annotations":{"tokengrant.dev/refresh-requested":"1"}}}`)
	}
	w.awaitSecret(grants["plain"], "is refreshed", func(s *corev1.Secret) bool { return s.ResourceVersion != before["plain"].ResourceVersion })
	settled(t, s, minted+1)
	for name := range fields {
		g := grants[name]
		w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		kept := &corev1.Secret{}
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(before[name]), kept); err != nil || kept.ResourceVersion != before[name].ResourceVersion {
			t.Errorf("%s: the Secret is not as it was: %v", name, err)
		}
		if g.Status.SecretName != before[name].Name || g.Status.Token == nil {
			t.Errorf("%s: the status has lost what is published: %+v", name, g.Status)
		}
	}

	for name, f := range fields {
		w.merge("TokenGrant", client.ObjectKeyFromObject(grants[name]), f.remove)
		w.await(grants[name], v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		w.eventually(name+" has answered", func() (bool, string) {
			s := w.published(grants[name])
			return s != nil && s.UID != "" && s.Annotations[v1alpha1.PublishedAnnotation] != before[name].Annotations[v1alpha1.PublishedAnnotation], show(nil)
		})
	}
}

// TestAnOlderOperatorMintsNothingForANewGrant, not even while its issuer is what it does not know.
func TestAnOlderOperatorMintsNothingForANewGrant(t *testing.T) {
	t.Parallel()
	w, s := newerWorld(t)
	shared := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	shared.Spec.URL = v1alpha1.HTTPURL(s.URL)
	shared.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}}
	shared.Spec.Allow = []v1alpha1.AllowRule{{Namespaces: []v1alpha1.NamespaceName{"apps"}, Audiences: []v1alpha1.Audience{"nextcloud"}}}
	w.create(shared)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.operatorNamespace, Name: "worker"}, StringData: map[string]string{"client-secret": otherSecret}})
	w.await(shared, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)

	rollback := w.upgradeCRD(issuerCRD, newerIssuer)
	w.merge("ClusterTokenIssuer", client.ObjectKey{Name: "shared"}, `{"spec":{"allow":[{"namespaces":["apps"],"audiences":["nextcloud"],"except":["guest"]}]}}`)
	began := time.Now()
	message := w.await(shared, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonFieldUnknown)
	t.Logf("seen after %s", time.Since(began))
	contains(t, message, `ClusterTokenIssuer "shared": this operator does not know spec.allow[0].except`)
	g := w.grantFor("g", "shared", "worker", func(g *v1alpha1.TokenGrant) {
		g.Spec.IssuerRef.Kind, g.Spec.ServiceAccount = "ClusterTokenIssuer", nil
	})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonFieldUnknown), `ClusterTokenIssuer "shared": this operator does not know spec.allow[0].except`)
	settled(t, s, 0)

	// Rolled back, the API server drops the field.
	rollback()
	w.await(shared, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

// TestARollbackPastTheCRDHoldsGrantsThatUsedTheField: the API server drops it on reading, and only managedFields tell of it.
func TestARollbackPastTheCRDHoldsGrantsThatUsedTheField(t *testing.T) {
	t.Parallel()
	w, s := newerWorld(t)
	w.stop()
	rollback := w.upgradeCRD(grantCRD, newerGrant)
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	key := client.ObjectKeyFromObject(g)
	w.merge("TokenGrant", key, `{"spec":{"exchange":{"onlyFor":["read"]}}}`)
	rollback()
	w.eventually("the field is dropped", func() (bool, string) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TokenGrant"))
		err := w.Get(t.Context(), key, object)
		_, found, _ := unstructured.NestedSlice(object.Object, "spec", "exchange", "onlyFor")
		return err == nil && !found, show(err)
	})
	w.start()
	message := w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonFieldUnknown)
	_, command, found := strings.Cut(message, "run: kubectl patch tokengrant g -n apps --type=merge -p '")
	contains(t, message, "neither this operator nor the CRD knows spec.exchange.onlyFor")
	if !found {
		t.Fatal("the message has no command")
	}
	settled(t, s, 0)
	w.merge("TokenGrant", key, strings.TrimSuffix(command, "'"))
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}
