package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/skew"
)

// setBy are the managedFields of an object in which somebody has set a field.
func setBy(fields string) []metav1.ManagedFieldsEntry {
	return []metav1.ManagedFieldsEntry{{Manager: "m", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}}
}

const (
	knownField   = `{"f:spec":{"f:suspend":{}}}`
	unknownField = `{"f:spec":{"f:exchange":{"f:onlyFor":{}},"f:suspend":{}}}`
)

func TestOfManagedFieldsTheUnknownOnesAreCached(t *testing.T) {
	for _, o := range []client.Object{&v1alpha1.TokenGrant{}, &v1alpha1.TokenIssuer{}, &v1alpha1.ClusterTokenIssuer{}} {
		o.SetManagedFields(setBy(`{"f:spec":{"f:newField":{"f:a":{}}}}`))
		for range 2 { // The cache may do it again.
			if _, err := trimOwn(o); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"spec.newField"}, skew.Kinds[kindOf(o)].InManagedFields(o.GetManagedFields())); diff != "" {
			t.Errorf("%T (-want +got):\n%s", o, diff)
		}
		o.SetManagedFields(setBy(`{"f:spec":{"f:serviceAccount":{"f:clientID":{}}}}`))
		if _, err := trimOwn(o); err != nil || o.GetManagedFields() != nil {
			t.Errorf("%T: kept without need: %v", o, o.GetManagedFields())
		}
	}
}

// TestGrantsWakeWhenUnknownFieldsAreForgotten: the generation does not move then.
func TestGrantsWakeWhenUnknownFieldsAreForgotten(t *testing.T) {
	held := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{ManagedFields: setBy(unknownField)}}
	if !specOrRequest().Update(event.UpdateEvent{ObjectOld: held, ObjectNew: &v1alpha1.TokenGrant{}}) {
		t.Error("a grant that is clear again is not looked at")
	}
	if specOrRequest().Update(event.UpdateEvent{ObjectOld: held, ObjectNew: held.DeepCopy()}) {
		t.Error("a held grant is looked at without need")
	}
}

// newerManifests is a cache in which the grant has a field that this operator does not know, while on is set.
type newerManifests struct {
	client.Client

	on bool
}

func (c *newerManifests) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	err := c.Client.Get(ctx, key, o, opts...)
	if g, ok := o.(*v1alpha1.TokenGrant); ok && c.on {
		g.ManagedFields = setBy(unknownField)
	}
	return err
}

// TestAHeldGrantLosesNothing: what its spec seems not to ask for is neither ended nor moved, nor is anything made.
func TestAHeldGrantLosesNothing(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.TokenGrant){
		"another source, which is unknown here": func(g *v1alpha1.TokenGrant) { g.Spec.AppPassword, g.Spec.Check = nil, nil },
		"another way to deliver":                func(g *v1alpha1.TokenGrant) { g.Spec.Delivery = &v1alpha1.Delivery{} },
		"other templates": func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "g-token", Data: templated}}
		},
		"a request": request("now"),
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t, func(g *v1alpha1.TokenGrant) {
					g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "g-token"}}
				})
				b.run()
				before := b.secret("g-token")
				logins, former := b.logins(), b.grant().Spec
				cache := &newerManifests{Client: b.Client, on: true}
				b.Client = cache
				b.edit(edit)
				if restart {
					b.restart()
				}
				if wait := b.run(); wait != 0 && wait < time.Hour {
					t.Errorf("it is looked at again after %s without a cause", wait)
				}
				g := b.grant()
				if diff := cmp.Diff(before, b.secret("g-token")); diff != "" {
					t.Errorf("the Secret (-want +got):\n%s", diff)
				}
				if b.secret("g") != nil {
					t.Error("there is a second Secret")
				}
				if b.logins() != logins || b.atNextcloud() != 1 || !b.works(string(before.Data["password"])) {
					t.Error("the app password has ended, or another was made")
				}
				s := g.Status
				if s.LastAttempt == nil || s.LastAttempt.Reason != v1alpha1.ReasonFieldUnknown || s.SecretName != "g-token" || s.Token == nil {
					t.Errorf("status %+v", s)
				}
				if !strings.Contains(strings.Join(said(s), "\n"), "Ready=True") {
					t.Errorf("what is published still works, and the status says %v", said(s))
				}

				cache.on = false
				b.edit(func(g *v1alpha1.TokenGrant) { g.Spec = former })
				b.run()
				if a := b.grant().Status; a.ConsecutiveFailures != 0 {
					t.Errorf("it does not go on: %+v", a.LastAttempt)
				}
			})
		}
	}
}

// TestALoginOfALaterKindIsUnknown: a union that is empty here has a member that was dropped.
func TestALoginOfALaterKindIsUnknown(t *testing.T) {
	b := newBench(t, func(g *v1alpha1.TokenGrant) { g.Spec.AppPassword.From.LoginSecretRef = nil })
	b.run()
	if a := b.grant().Status.LastAttempt; a == nil || a.Reason != v1alpha1.ReasonFieldUnknown || b.logins() != 0 {
		t.Errorf("%+v after %d logins", a, b.logins())
	}
}

// listing answers lists of one object.
type listing struct {
	client.Reader

	object unstructured.Unstructured
	lists  int
	err    error
}

func (l *listing) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	l.lists++
	if u, ok := list.(*unstructured.UnstructuredList); ok {
		u.Items = []unstructured.Unstructured{*l.object.DeepCopy()}
	}
	return l.err
}

// TestObjectsAreReadOncePerGenerationWhileTheCRDsAreNewer, and not at all before.
func TestObjectsAreReadOncePerGenerationWhileTheCRDsAreNewer(t *testing.T) {
	served, document := servedSchema(t)
	live := &listing{}
	u := newUnknownFields(live, served)
	issuer := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared", UID: "u", Generation: 4}}
	of := user{kindClusterTokenIssuer, client.ObjectKeyFromObject(issuer)}
	check := func(want string, lists int) {
		t.Helper()
		err := u.check(t.Context(), of, issuer)
		failed, _ := errors.AsType[*failure](err)
		if (want == "") != (err == nil) || want != "" && (failed == nil || failed.reason != v1alpha1.ReasonFieldUnknown || !strings.Contains(failed.message, want)) {
			t.Errorf("got %v, want %q", err, want)
		}
		if live.lists != lists {
			t.Errorf("%d requests, want %d", live.lists, lists)
		}
	}
	set := func(generation int64, rule map[string]any) {
		live.object.Object = map[string]any{"spec": map[string]any{"allow": []any{rule}}}
		live.object.SetUID("u")
		live.object.SetGeneration(generation)
	}
	set(4, map[string]any{"audiences": []any{"a"}, "except": []any{"b"}})
	check("", 0)
	document.Store(`"url":{},"allow":{"items":{"properties":{"audiences":{},"except":{}}}}`)
	if err := served.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(u.changed[kindTokenGrant]) != 1 || len(u.changed[kindClusterTokenIssuer]) != 1 {
		t.Error("nobody is woken")
	}
	check("spec.allow[0].except", 1)
	check("spec.allow[0].except", 1)

	issuer.Generation = 5 // The live object is behind, as with another API server.
	if err := u.check(t.Context(), of, issuer); err == nil || live.lists != 2 {
		t.Errorf("a stale object counts: %v", err)
	}
	set(5, map[string]any{"audiences": []any{"a"}})
	check("", 3)
	check("", 3)
	u.forget(of)
	if len(u.seen) != 0 {
		t.Error("it is not forgotten")
	}
	live.err = errors.New("no answer")
	if err := u.check(t.Context(), of, issuer); err == nil {
		t.Error("an object that cannot be read passes")
	}
}

// TestTheMessageOfADroppedFieldHasTheCommandThatClearsIt: no manifest can.
func TestTheMessageOfADroppedFieldHasTheCommandThatClearsIt(t *testing.T) {
	served, _ := servedSchema(t)
	u := newUnknownFields(&listing{}, served)
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "g", ManagedFields: setBy(unknownField)}}
	err := u.check(t.Context(), user{kindTokenGrant, client.ObjectKeyFromObject(g)}, g)
	const want = `kubectl patch tokengrant g -n apps --type=merge -p '{"metadata":{"managedFields":[{}]}}'`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v\nwant the command %s", err, want)
	}
	g.ManagedFields = setBy(knownField)
	if err := u.check(t.Context(), user{kindTokenGrant, client.ObjectKeyFromObject(g)}, g); err != nil {
		t.Error(err)
	}
}

// servedSchema serves the OpenAPI document of a ClusterTokenIssuer with some fields, which the test stores, and all other
// kinds as they are here.
func servedSchema(t *testing.T) (*skew.Served, *atomic.Value) {
	t.Helper()
	var document atomic.Value
	document.Store(`"url":{}`)
	const path = "/openapi/v3/apis/tokengrant.dev/v1alpha1"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields, _ := document.Load().(string)
		if r.URL.Path != path {
			_, _ = fmt.Fprintf(w, `{"paths":{"apis/tokengrant.dev/v1alpha1":{"serverRelativeURL":"%s?hash=%d"}}}`, path, len(fields))
			return
		}
		_, _ = fmt.Fprintf(w, `{"components":{"schemas":{"x":{"properties":{"spec":{"properties":{%s}}},"x-kubernetes-group-version-kind":[{"group":"tokengrant.dev","version":"v1alpha1","kind":"ClusterTokenIssuer"}]}}}}`, fields)
	}))
	t.Cleanup(server.Close)
	served, err := skew.NewServed(&rest.Config{Host: server.URL}, clocktesting.NewFakeClock(noon))
	if err != nil {
		t.Fatal(err)
	}
	if err := served.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return served, &document
}
