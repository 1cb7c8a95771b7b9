package controllers

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// referring is an operator whose grants read a client secret, and then fail for a subject token that is missing.
type referring struct {
	*GrantReconciler

	t       *testing.T
	issuers *IssuerReconciler
}

func newReferring(t *testing.T) *referring {
	t.Helper()
	of := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "keycloak", UID: "uid-of-issuer", Generation: 1}}
	of.Spec.URL = "https://127.0.0.1:1/realms/r"
	of.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	of.Status.LastDiscovery = new(metav1.NewTime(noon))
	c := fake.NewClientBuilder().WithScheme(stack.Scheme()).WithStatusSubresource(&v1alpha1.TokenGrant{}, &v1alpha1.TokenIssuer{}).WithObjects(of).Build()
	clock := clocktesting.NewFakeClock(noon)
	issuers := &Issuers{Reader: c, References: NewReferences(c, c), Registry: issuer.NewRegistry(), Clock: clock}
	return &referring{
		t:               t,
		GrantReconciler: &GrantReconciler{Client: c, Live: c, Recorder: nobody{}, Clock: clock, Issuers: issuers},
		issuers:         &IssuerReconciler{Client: c, Issuers: issuers, Clock: clock, New: func() client.Object { return &v1alpha1.TokenIssuer{} }},
	}
}

func quiet(t *testing.T) context.Context { return ctrl.LoggerInto(t.Context(), logr.Discard()) }

// nobody hears events. The recorder for tests keeps them.
type nobody struct{}

func (nobody) Eventf(_, _ k8sruntime.Object, _, _, _, _ string, _ ...any) {}

func (r *referring) grant(name, secret string) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, UID: types.UID("uid-of-" + name), Generation: 1}}
	g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: kindTokenIssuer, Name: "keycloak"}
	g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "c", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: secret, Key: "k"}, Method: v1alpha1.ClientSecretBasic}}
	g.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "missing", Key: "k"}}
	return g
}

func secretOf(name string, size int) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name},
		Data:       map[string][]byte{"k": bytes.Repeat([]byte("x"), size), "other": bytes.Repeat([]byte("y"), 1000)},
	}
}

func (r *referring) make(objects ...client.Object) {
	r.t.Helper()
	for _, o := range objects {
		if err := r.Create(r.t.Context(), o); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *referring) remove(objects ...client.Object) {
	r.t.Helper()
	for _, o := range objects {
		if err := r.Delete(r.t.Context(), o); client.IgnoreNotFound(err) != nil {
			r.t.Fatal(err)
		}
	}
}

// look reconciles grants, as a watch would have it.
func (r *referring) look(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if _, err := r.Reconcile(quiet(r.t), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "apps", Name: name}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *referring) change(name string, change func(*v1alpha1.TokenGrant)) {
	r.t.Helper()
	var g v1alpha1.TokenGrant
	if err := r.Get(r.t.Context(), types.NamespacedName{Namespace: "apps", Name: name}, &g); err != nil {
		r.t.Fatal(err)
	}
	change(&g)
	g.Generation++
	if err := r.Update(r.t.Context(), &g); err != nil {
		r.t.Fatal(err)
	}
	r.look(name)
}

// kept is how many bytes of foreign content are in memory.
func (r *referring) kept() (size int) {
	known := r.Issuers.References.known
	for ref := range known {
		size += len(known[ref].value.Reveal())
	}
	return size
}

func TestContentIsKeptWhileAGrantRefersToIt(t *testing.T) {
	for name, tt := range map[string]struct {
		act  func(r *referring)
		want int
	}{
		"both grants live":              {func(*referring) {}, 100},
		"one grant of two is deleted":   {func(r *referring) { r.remove(r.grant("a", "")); r.look("a") }, 100},
		"both grants are deleted":       {func(r *referring) { r.remove(r.grant("a", ""), r.grant("b", "")); r.look("a", "b") }, 0},
		"the Secret is deleted":         {func(r *referring) { r.remove(secretOf("s", 0)); r.look("a") }, 0},
		"one grant of two is suspended": {func(r *referring) { r.change("a", suspended) }, 100},
		"both grants are suspended":     {func(r *referring) { r.change("a", suspended); r.change("b", suspended) }, 0},
		"both grants name another Secret": {func(r *referring) {
			r.make(secretOf("t", 7))
			r.change("a", names("t", "k"))
			r.change("b", names("t", "k"))
		}, 7},
		"both grants name another key":  {func(r *referring) { r.change("a", names("s", "other")); r.change("b", names("s", "other")) }, 1000},
		"the issuer of both is deleted": {func(r *referring) { r.remove(r.issuer()); r.look("a", "b") }, 0},
		"both grants were deleted and made again": {func(r *referring) {
			r.remove(r.grant("a", ""), r.grant("b", ""))
			r.make(r.grant("a", "s"), r.grant("b", "s"))
			r.look("a", "b")
		}, 100},
		"the Secret is another one of the same name": {func(r *referring) {
			r.remove(secretOf("s", 0))
			r.look("a")
			r.make(secretOf("s", 50))
			r.look("a", "b")
		}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReferring(t)
			r.make(secretOf("s", 100), r.grant("a", "s"), r.grant("b", "s"))
			r.look("a", "b")
			tt.act(r)
			if got := r.kept(); got != tt.want {
				t.Errorf("%d bytes are in memory, want %d", got, tt.want)
			}
		})
	}
}

func suspended(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true }

func names(secret, key string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientSecret.SecretRef.Name, g.Spec.ServiceAccount.ClientSecret.SecretRef.Key = secret, key
	}
}

func (r *referring) issuer() *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "keycloak"}}
}

func TestContentThatIsTooLarge(t *testing.T) {
	r := newReferring(t)
	r.make(secretOf("s", sensitive.MaxClientSecret), r.grant("a", "s"))
	r.look("a")
	if got := r.kept(); got != sensitive.MaxClientSecret {
		t.Errorf("%d bytes are in memory, want all of them", got)
	}
	large := secretOf("s", sensitive.MaxClientSecret+1)
	if err := r.Update(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	r.look("a")
	if got := r.kept(); got != 0 {
		t.Errorf("%d bytes are in memory, want none", got)
	}
	var g v1alpha1.TokenGrant
	if err := r.Get(t.Context(), types.NamespacedName{Namespace: "apps", Name: "a"}, &g); err != nil {
		t.Fatal(err)
	}
	last := g.Status.LastAttempt
	if last.Reason != v1alpha1.ReasonCredentialMissing || !strings.Contains(last.Message, "4097 bytes") || !strings.Contains(last.Message, "4096") {
		t.Errorf("%s: %s", last.Reason, last.Message)
	}
	t.Log(last.Message)
}

func TestAuthoritiesAreKeptWhileTheirIssuerLives(t *testing.T) {
	r := newReferring(t)
	r.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "ca"}, BinaryData: map[string][]byte{"ca.crt": bytes.Repeat([]byte("x"), 1<<20)}})
	with := func(ref *v1alpha1.CARef) {
		var i v1alpha1.TokenIssuer
		if err := r.Get(t.Context(), client.ObjectKeyFromObject(r.issuer()), &i); err != nil {
			t.Fatal(err)
		}
		if i.Spec.CARef = ref; r.Update(t.Context(), &i) != nil {
			t.Fatal("the issuer could not be changed")
		}
		r.discover()
	}
	ca := &v1alpha1.CARef{Kind: kindConfigMap, Name: "ca", Key: "ca.crt"}
	for _, step := range []struct {
		name string
		act  func()
		want int
	}{
		{"the issuer names them", func() { with(ca) }, 1 << 20},
		{"the issuer names none", func() { with(nil) }, 0},
		{"the issuer names them again", func() { with(ca) }, 1 << 20},
		{"the issuer is deleted", func() { r.remove(r.issuer()); r.discover() }, 0},
	} {
		step.act()
		if r.kept() != step.want {
			t.Errorf("%s: %d bytes are in memory, want %d", step.name, r.kept(), step.want)
		}
	}
}

func (r *referring) discover() {
	r.t.Helper()
	if _, err := r.issuers.Reconcile(quiet(r.t), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(r.issuer())}); err != nil {
		r.t.Fatal(err)
	}
}
