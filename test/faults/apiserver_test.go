//go:build integration

package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// ruled breaks the operator's way to the API server, with a rule of its gate.
func ruled(rule func(w http.ResponseWriter, r *http.Request, next http.Handler)) func(*world) func() {
	return func(w *world) func() {
		w.api.set(rule)
		return func() { w.api.set(nil) }
	}
}

// reflectorPause is the longest pause before an informer of client-go opens its watch again after some 20 s of refusals: the
// pauses double from 0.8 s on, and each is made up to twice as long by dice. Refreshes that are due do not wait for it.
const reflectorPause = 26 * time.Second

// writeRetry is the longest pause of the workqueue before a write is tried again.
const writeRetry = 30 * time.Second

// apiServer are faults between one operator and the API server. Nothing can be said in a status meanwhile.
var apiServer = []scenario{
	{name: "API server cannot be reached for 20 s", setup: gated, blocks: true, hold: 20 * time.Second, step: reflectorPause, fault: func(w *world) func() {
		w.api.set(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
		w.api.closeWatches()
		return func() { w.api.set(nil) }
	}},
	{name: "API server takes 2 s for each answer", setup: gated, hold: 15 * time.Second, step: 4 * time.Second, fault: ruled(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		time.Sleep(2 * time.Second)
		next.ServeHTTP(w, r)
	})},
	{name: "API server answers 409 to every write for 10 s", setup: gated, blocks: true, hold: 10 * time.Second, step: 8 * time.Second, fault: ruled(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) {
			refusal(http.StatusConflict, "Conflict")(w)
			return
		}
		next.ServeHTTP(w, r)
	})},
	{name: "API server answers 500 to every write for 10 s", setup: gated, blocks: true, hold: 10 * time.Second, step: 8 * time.Second, fault: ruled(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) {
			refusal(http.StatusInternalServerError, "InternalError")(w)
			return
		}
		next.ServeHTTP(w, r)
	})},
	{name: "API server has written the Secret, and its answer is lost", setup: gated, step: 2 * time.Second, fault: once(func(r *http.Request) bool { return isWriteOf(r, "secrets") })},
	{name: "API server has written the status, and its answer is lost", setup: gated, step: 2 * time.Second, fault: once(func(r *http.Request) bool { return isWriteOf(r, "tokengrants/status") })},
	{name: "watches closed every second for 10 s", setup: gated, hold: 10 * time.Second, step: reflectorPause, fault: func(w *world) func() {
		stop := make(chan struct{})
		var stopped sync.WaitGroup
		stopped.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					w.api.closeWatches()
				}
			}
		})
		return func() {
			close(stop)
			stopped.Wait()
		}
	}},
	{name: "cache is 15 s behind what was just written", setup: setup{gated: true, nextcloud: true}, hold: 15 * time.Second, fault: func(w *world) func() {
		w.api.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if isWriteOf(r, "secrets") {
				w.api.keepEvents()
			}
			next.ServeHTTP(rw, r)
		})
		return func() {
			w.api.set(nil)
			w.api.letEventsPass()
		}
	}},
	{
		name: "two operators at work for 10 s", setup: gated, hold: 10 * time.Second, promise: promise{Crashes: 1},
		fault: func(w *world) func() {
			w.issuer.Script(keycloaktest.Answer{Delay: 3 * time.Second, Forever: true}) // so that both ask
			stop := startOperator(w.t, cluster.operator, w.namespace)
			return func() {
				w.issuer.Script()
				stop()
			}
		},
	},
	{
		name: "priority and fairness gives the operator a level of no shares for 10 s", hold: 10 * time.Second, step: reflectorPause, fault: fairness,
		setup: setup{operator: func(w *world) *rest.Config { return w.user("outflowed") }},
	},
}

var gated = setup{gated: true}

// once loses the answer to one request that was carried out.
func once(which func(*http.Request) bool) func(*world) func() {
	return func(w *world) func() {
		var first sync.Once
		w.api.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			hit := false
			if which(r) {
				first.Do(func() { hit = true })
			}
			if hit {
				lose(r, next)
			}
			next.ServeHTTP(rw, r)
		})
		return nil
	}
}

// user makes another user with the operator's permissions.
func (w *world) user(name string) *rest.Config {
	w.t.Helper()
	config, _, err := cluster.plane.AddUser(name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, role := range []string{"tokengrant-manager", "tokengrant-cluster-issuers", "tokengrant-kubernetes-token"} {
		w.create(&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
		})
	}
	return config
}

// fairness gives the user a level without shares, and waits until the API server itself answers it 429. Single requests still
// get through, so nothing says that the operator can write nothing.
func fairness(w *world) func() {
	level := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "no-seats"}}
	level.Spec.Type = flowcontrolv1.PriorityLevelEnablementLimited
	level.Spec.Limited = &flowcontrolv1.LimitedPriorityLevelConfiguration{
		NominalConcurrencyShares: new(int32), BorrowingLimitPercent: new(int32), LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
	}
	schema := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: "no-seats"}}
	schema.Spec.MatchingPrecedence = 2 // Only the API server itself comes before.
	schema.Spec.PriorityLevelConfiguration.Name = level.Name
	everything := []string{"*"}
	schema.Spec.Rules = []flowcontrolv1.PolicyRulesWithSubjects{{
		Subjects:      []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "outflowed"}}},
		ResourceRules: []flowcontrolv1.ResourcePolicyRule{{Verbs: everything, APIGroups: everything, Resources: everything, Namespaces: everything, ClusterScope: true}},
	}}
	w.create(level)
	w.create(schema)
	w.eventually("429", func() (bool, any) {
		// One request alone has a seat in any level.
		answers := make([]int, 64)
		var asked sync.WaitGroup
		for i := range answers {
			asked.Go(func() { answers[i] = w.rawStatus() })
		}
		asked.Wait()
		return slices.Contains(answers, http.StatusTooManyRequests), answers
	})
	return func() {
		for _, o := range []client.Object{schema, level} {
			if err := w.Delete(w.t.Context(), o); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// rawStatus is what the API server answers the world's operator, without the patience of client-go; 0 is no answer.
func (w *world) rawStatus() int {
	transport, err := rest.TransportFor(w.config)
	if err != nil {
		w.t.Error(err)
		return 0
	}
	answer, err := (&http.Client{Transport: transport}).Get(cluster.plane.URL + "/api/v1/namespaces/" + w.namespace + "/secrets")
	if err != nil {
		w.t.Error(err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// TestAPIServer gives each row an operator of its own, whose way to the API server is broken.
func TestAPIServer(t *testing.T) {
	for i, s := range apiServer {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, 200+i)
		})
	}
}

// TestAPIServerGoneForAMinute cuts the operator off while the issuer makes a token for it. What it has then waits in its memory
// for the Secret.
func TestAPIServerGoneForAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{gated: true, life: 3 * time.Minute}) // so that no refresh is due meanwhile
	w.begin()
	w.requestOnItsWay("1")
	w.api.set(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	w.api.closeWatches()
	time.Sleep(time.Minute)
	if w.holds("1") {
		t.Error("a token was published meanwhile: this row breaks nothing")
	}
	w.api.set(nil)
	back := time.Now()
	w.awaitWell("1")
	w.judge(result{order: 219, scenario: "API server cannot be reached for 60 s, with a token on its way", Recovery: time.Since(back), Step: writeRetry})
}

// TestAPIServerRestart stops the API server and etcd, which have forgotten the changes of meanwhile when they are back: one
// operator has watched until then, another was cut off before the changes that were compacted.
func TestAPIServerRestart(t *testing.T) {
	watching, behind := newWorld(t, gated), newWorld(t, gated)
	for _, w := range []*world{watching, behind} {
		w.begin()
	}
	behind.api.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("watch") == "true" {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(rw, r)
	})
	behind.api.closeWatches()
	for i := range 20 {
		behind.edit("bystander", func(s *corev1.Secret) { s.Annotations = map[string]string{"n": fmt.Sprint(i)} })
	}
	behind.request("1")
	watching.request("1")
	watching.awaitWell("1")
	cluster.sampler.after(1)
	compact(t)
	if err := cluster.plane.Stop(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if err := cluster.plane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	behind.api.set(nil)
	back := time.Now()
	watching.request("2")
	watching.awaitWell("2")
	first := time.Since(back)
	behind.awaitWell("1")
	second := time.Since(back)
	watching.judge(result{order: 220, scenario: "API server and etcd stopped and started", Recovery: first, Step: reflectorPause})
	behind.judge(result{order: 221, scenario: "watches cut, and what they missed compacted in etcd", Recovery: second, Step: reflectorPause})
}

// compact makes etcd forget all but the newest.
func compact(t *testing.T) {
	t.Helper()
	var status struct {
		Header struct {
			Revision json.Number `json:"revision"`
		} `json:"header"`
	}
	if err := json.Unmarshal([]byte(etcd(t, "/v3/maintenance/status", "{}")), &status); err != nil {
		t.Fatal(err)
	}
	etcd(t, "/v3/kv/compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, status.Header.Revision))
}

// TestCRDUpgrade gives the kinds another field and another column while grants are in place.
func TestCRDUpgrade(t *testing.T) {
	w := newWorld(t, gated)
	w.begin()
	var crds apiextensionsv1.CustomResourceDefinitionList
	if err := w.List(t.Context(), &crds); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range crds.Items {
		crd := &crds.Items[i]
		v := &crd.Spec.Versions[0]
		spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
		spec.Properties["later"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		v.AdditionalPrinterColumns = append(v.AdditionalPrinterColumns, apiextensionsv1.CustomResourceColumnDefinition{Name: "Later", Type: "string", JSONPath: ".spec.later"})
		if err := w.Update(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
	w.request("1")
	w.awaitWell("1")
	w.judge(result{order: 230, scenario: "CRDs upgraded with grants in place", Recovery: time.Since(began), Step: reflectorPause})
}

// TestNamespaceDeleted takes a namespace away while the issuer thinks about a token for it. The grant's finalizer does not
// hold it up.
func TestNamespaceDeleted(t *testing.T) {
	w := newWorld(t, setup{gated: true, grant: func(g *v1alpha1.TokenGrant) { g.Spec.DeletionPolicy = v1alpha1.DeletionRevoke }})
	w.begin()
	w.requestOnItsWay("1")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if err := w.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.eventually("the end of the namespace", func() (bool, any) {
		err := w.Get(t.Context(), client.ObjectKeyFromObject(ns), ns)
		return apierrors.IsNotFound(err), ns.Status
	})
	w.judge(result{
		order: 240, scenario: "namespace deleted while a token is minted", says: "the namespace goes", Recovery: time.Since(began),
		Step:    15 * time.Second, // the namespace controller's own, and the token that is on its way
		allowed: promise{Crashes: 1},
	})
}
