//go:build integration

package faults

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const (
	// patience is how long anything may take; no figure depends on it.
	patience = 2 * time.Minute
	audience = "nextcloud"
	// life of the tokens: longer than the longest outage and what follows it. They are refreshed after 51 to 60 s, or when
	// that is asked for.
	life = 90 * time.Second
)

// world is a namespace with an issuer, a Nextcloud where one is asked for, and a grant. Nothing of it is shared but the API
// server and the operator.
type world struct {
	client.Client

	t         *testing.T
	namespace string
	issuer    *keycloaktest.Server
	// link is what the connections to the issuer go through.
	link *link
	// front ends TLS before the issuer; nil without.
	front *front
	// skew of the issuer's clock.
	skew      time.Duration
	nextcloud *nextcloudtest.Server
	// config is how the world's own operator uses the API, where it has one, and api the gate that it goes through.
	config *rest.Config
	api    *gate
	// boundaries are those of a process of its own.
	boundaries *boundaries
	// throttles: the Nextcloud answers 429 to everything.
	throttles atomic.Bool
	ledger    *ledger
	window    *window
	grant     *v1alpha1.TokenGrant
}

// setup is how a world differs from the plain one.
type setup struct {
	// tls puts the issuer behind https, under a name that the test resolves.
	tls bool
	// nextcloud checks the tokens every 10 s.
	nextcloud bool
	life      time.Duration
	// skew is how far the issuer's clock is ahead of the operator's.
	skew time.Duration
	// crashes gives the world an operator in a process of its own, with gates on all its ways.
	crashes bool
	// gated gives the world an operator of its own, with a gate on its way to the API server.
	gated bool
	// operator gives it one that uses the API like this.
	operator func(*world) *rest.Config
	// down: the issuer cannot be reached from the beginning.
	down bool
	// prepare makes what the grant needs besides.
	prepare func(*world)
	grant   func(*v1alpha1.TokenGrant)
}

// newWorld makes everything but the grant.
func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{Client: cluster.admin, t: t, skew: s.skew}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "f-"}}
	w.create(ns)
	w.namespace = ns.Name
	switch {
	case s.crashes:
		w.boundaries = &boundaries{}
		w.api, w.config = newAPIGate(t)
		w.api.set(w.boundaries.rule(apiEffect))
	case s.gated:
		w.api, w.config = newAPIGate(t)
	case s.operator != nil:
		w.config = s.operator(w)
	}
	w.startIssuer(s)
	w.ledger = &ledger{url: w.issuer.URL, minted: w.issuer.Minted, clock: w.now}
	w.window = &window{namespace: w.namespace, ledger: w.ledger}
	cluster.sampler.open(w.window)
	t.Cleanup(func() { w.leave() })

	w.secret("worker", map[string]string{"client-secret": "worker-secret"}, nil)
	// One that nobody has reason to touch, and one that could be taken for ours.
	w.secret("bystander", map[string]string{"access_token": "mine"}, nil)
	w.secret("lookalike", map[string]string{"access_token": "mine"}, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}}
	i.Spec.URL = v1alpha1.HTTPURL(w.issuer.URL)
	if w.front != nil {
		w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": string(w.front.authority.pem)}})
		i.Spec.CARef = &v1alpha1.CARef{Name: "ca"}
	}
	w.create(i)
	w.describe(s)
	if s.prepare != nil {
		s.prepare(w)
	}
	switch {
	case w.boundaries != nil:
		w.boundaries.process = startProcess(t, w.config, w.namespace, false)
	case w.config != nil:
		startOperator(t, w.config, w.namespace)
	}
	return w
}

// startIssuer starts the issuer with a link before it.
func (w *world) startIssuer(s setup) {
	w.t.Helper()
	w.link = newLink(w.t)
	url := "http://" + w.link.Listen
	if s.tls {
		w.front = newFront(w.t)
		url = "https://" + w.front.name + url[strings.LastIndex(url, ":"):]
	}
	if s.life == 0 {
		s.life = life
	}
	w.issuer = keycloaktest.NewServer(w.t, keycloaktest.Options{URL: url, Lifespan: s.life, Now: w.now})
	w.issuer.Client("worker", "worker-secret")
	upstream := w.issuer.Addr()
	switch {
	case w.front != nil:
		upstream = w.front.serve(w.t, upstream)
	case w.boundaries != nil:
		upstream = w.watched("http://" + upstream)[len("http://"):]
	}
	w.link.to(w.t, upstream)
	w.t.Cleanup(w.link.Stop) // before the server, which waits for its connections to end
	if s.down {
		w.link.up(w.t, false)
	}
	if s.nextcloud {
		w.nextcloud = nextcloudtest.New(nextcloudtest.Options{Issuer: w.issuer.URL})
	}
}

// watched puts a gate before a server, which counts the requests among the effects of the operator.
func (w *world) watched(server string) (address string) {
	w.t.Helper()
	g := newGate(w.t, server, http.DefaultTransport)
	g.set(w.boundaries.rule(serverEffect))
	return g.url
}

// describe makes the grant "g", which is not created yet.
func (w *world) describe(s setup) {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "g"}}
	g.Spec.IssuerRef.Name = "kc"
	g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}}
	g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{audience}}
	if w.nextcloud != nil {
		handler := w.nextcloud.Handler()
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if w.throttles.Load() {
				rw.Header().Set("Retry-After", "2")
				http.Error(rw, "Reached maximum delay", http.StatusTooManyRequests)
				return
			}
			handler.ServeHTTP(rw, r)
		}))
		w.t.Cleanup(server.Close)
		address := server.URL
		if w.boundaries != nil {
			address = w.watched(address)
		}
		g.Spec.Check = &v1alpha1.Check{Interval: &metav1.Duration{Duration: 10 * time.Second}, Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(address)}}
		g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	}
	if s.grant != nil {
		s.grant(g)
	}
	w.grant = g
}

// leave takes the window and the grant away; the operator has others to work for.
func (w *world) leave() {
	cluster.sampler.close(w.window)
	_ = w.DeleteAllOf(context.WithoutCancel(w.t.Context()), &v1alpha1.TokenGrant{}, client.InNamespace(w.namespace))
}

// now is the issuer's time.
func (w *world) now() time.Time { return time.Now().Add(w.skew) }

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.Create(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// secret makes a Secret that is not the operator's.
func (w *world) secret(name string, data, labels map[string]string) {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: labels}, StringData: data}
	w.create(s)
	w.window.wrote(s)
}

func (w *world) get(name string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// edit changes a Secret, whoever's it is, and again on a conflict.
func (w *world) edit(name string, f func(*corev1.Secret)) {
	w.t.Helper()
	for {
		s := w.get(name)
		f(s)
		err := w.Update(w.t.Context(), s)
		if err == nil {
			w.window.wrote(s)
			return
		}
		if !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) delete(name string) {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}); err != nil {
		w.t.Fatal(err)
	}
}

// status reads the grant.
func (w *world) status() *v1alpha1.TokenGrantStatus {
	w.t.Helper()
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(w.grant), w.grant); err != nil {
		w.t.Fatal(err)
	}
	return &w.grant.Status
}

// requestOnItsWay asks for another token of an issuer that takes its time, and returns while it makes one.
func (w *world) requestOnItsWay(value string) {
	w.t.Helper()
	w.issuer.Script(keycloaktest.Answer{Delay: 3 * time.Second, Forever: true})
	asked := w.issuer.Count(keycloak.GrantTypeTokenExchange)
	w.request(value)
	w.eventually("the exchange", func() (bool, any) {
		n := w.issuer.Count(keycloak.GrantTypeTokenExchange)
		return n > asked, n
	})
}

// request asks for another token.
func (w *world) request(value string) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAnnotation, value)
	if err := w.Patch(w.t.Context(), w.grant, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		w.t.Fatal(err)
	}
}

// eventually polls until something holds; the text says what was seen instead.
func (w *world) eventually(what string, holds func() (bool, any)) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, seen := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not seen in %s: %s\ninstead: %s", patience, what, show(seen))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func secretOf(g *v1alpha1.TokenGrant) string {
	if g.SecretDelivery().Name != "" {
		return g.SecretDelivery().Name
	}
	return g.Name
}

// link is a proxy of Toxiproxy.
type link struct{ *toxiproxy.Proxy }

// newLink listens; to says where it leads.
func newLink(t *testing.T) *link {
	t.Helper()
	p := toxiproxy.NewProxy(cluster.links, t.Name(), "127.0.0.1:0", "")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &link{p}
}

func (l *link) to(t *testing.T, upstream string) {
	t.Helper()
	if err := l.Update(&toxiproxy.Proxy{Listen: l.Listen, Upstream: upstream, Enabled: true}); err != nil {
		t.Fatal(err)
	}
}

// up lets connections through, or refuses them and ends those there are.
func (l *link) up(t *testing.T, up bool) {
	t.Helper()
	if err := l.Update(&toxiproxy.Proxy{Listen: l.Listen, Upstream: l.Upstream, Enabled: up}); err != nil {
		t.Error(err)
	}
}

// poison does something to the data on their way to the server (upstream) or back (downstream), and returns what ends it.
func (l *link) poison(t *testing.T, stream, kind, attributes string) (end func()) {
	t.Helper()
	toxic := fmt.Sprintf(`{"name":"t","type":%q,"stream":%q,"attributes":%s}`, kind, stream, attributes)
	if _, err := l.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	return func() {
		if err := l.Toxics.RemoveToxic(ctx, "t"); err != nil {
			t.Error(err)
		}
	}
}
