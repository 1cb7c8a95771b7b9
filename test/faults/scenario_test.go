//go:build integration

package faults

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// scenario is one row: what breaks while a grant that is Ready is asked for another token.
type scenario struct {
	name string
	setup
	// fault breaks something, and returns what ends the cause; nil where there is nothing to end.
	fault func(w *world) (undo func())
	// says is the reason that the status gives meanwhile, of the attempt or of the condition CheckPassed; empty where nothing
	// may fail.
	says string
	// unready: it is known meanwhile that the token is of no use. Else the grant stays Ready with the token it has.
	unready bool
	// quiet: no other token is asked for, so that none may be minted.
	quiet bool
	// first: it is broken before there is a first token.
	first bool
	// blocks says that nothing can be written while it lasts.
	blocks bool
	// hold is how long it is broken where nothing tells of it.
	hold time.Duration
	// step is the longest wait for the next try, where the backoff of the grant is not what it waits for.
	step time.Duration
	promise
}

// run makes the row. Everything it waits for has all the time of patience; the promises are judged afterwards, by what was
// measured.
func (s scenario) run(t *testing.T, order int) {
	t.Helper()
	w := newWorld(t, s.setup)
	r := result{order: order, scenario: s.name, says: s.says, allowed: s.promise}
	if !s.first {
		w.begin()
	}
	undo := s.fault(w)
	gone := time.Now()
	if s.first {
		w.create(w.grant)
	}
	request := ""
	if !s.quiet {
		request = "1"
		w.request(request)
	}
	if s.says != "" {
		r.Step = w.awaitFailure(s)
	}
	time.Sleep(s.hold)
	if s.blocks && w.holds(request) {
		t.Error("a token was published meanwhile: this row breaks nothing")
	}
	if undo != nil {
		undo()
		gone = time.Now()
	}
	w.awaitWell(request)
	r.Recovery = time.Since(gone)
	r.Step = max(r.Step, s.step)
	w.judge(r)
}

// begin creates the grant and waits for its first token, which is to be seen before another takes its place.
func (w *world) begin() {
	w.t.Helper()
	w.create(w.grant)
	w.awaitWell("")
	cluster.sampler.after(1)
}

// judge closes the window and holds the row against what is promised.
func (w *world) judge(r result) {
	w.t.Helper()
	cluster.sampler.close(w.window)
	r.measure = w.window.measured(w.grant)
	cluster.results.add(r)
	for _, b := range r.broken() {
		w.t.Error(b)
	}
}

// awaitFailure waits until the status says what is wrong, and says how long the next wait of the backoff is at most.
func (w *world) awaitFailure(s scenario) (step time.Duration) {
	w.t.Helper()
	attempts := int32(1)
	if plan.HandlingOf(s.says) == plan.Retry {
		attempts = 2
	}
	var status *v1alpha1.TokenGrantStatus
	w.eventually("the status says "+s.says, func() (bool, any) {
		status = w.status()
		failed := status.LastAttempt != nil && status.LastAttempt.Reason == s.says && status.ConsecutiveFailures >= attempts
		return failed || w.says(v1alpha1.ConditionCheckPassed, s.says) || w.says(v1alpha1.ConditionReady, s.says) && status.ConsecutiveFailures >= attempts, status
	})
	if meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) == s.unready {
		w.t.Errorf("Ready meanwhile: %t; %s", !s.unready, show(status))
	}
	reason := s.says
	if reason == v1alpha1.ReasonTokenExpired && status.LastAttempt != nil {
		reason = status.LastAttempt.Reason // That the token has expired is no reason to wait; why there is no other one is.
	}
	return w.step(reason, status)
}

// says tells whether a condition of the grant, as it was read last, has a reason.
func (w *world) says(condition, reason string) bool {
	c := meta.FindStatusCondition(w.grant.Status.Conditions, condition)
	return c != nil && c.Reason == reason
}

// step is the longest wait that the backoff can have come to when the cause goes: it may just have grown.
func (w *world) step(reason string, status *v1alpha1.TokenGrantStatus) time.Duration {
	if plan.HandlingOf(reason) == plan.Stalled {
		return 0 // A watch wakes.
	}
	var left time.Duration
	if status.Token != nil && !status.Token.ExpiresAt.IsZero() {
		left = time.Until(status.Token.ExpiresAt.Time)
	}
	f := plan.Failure{At: time.Now(), Reason: reason, Count: max(status.ConsecutiveFailures, 1) + 1}
	return plan.Backoff(string(w.grant.UID), f, left).Round(time.Millisecond)
}

// awaitWell waits until the grant is Ready with the token that was asked for, nothing fails, and Nextcloud takes it.
func (w *world) awaitWell(request string) {
	w.t.Helper()
	w.eventually("all is well after request "+request, func() (bool, any) {
		status := w.status()
		ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
		well := ready != nil && ready.Status == "True" && ready.ObservedGeneration == w.grant.Generation && status.ConsecutiveFailures == 0
		if accepted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionCheckPassed); w.nextcloud != nil {
			well = well && accepted != nil && accepted.Status == "True"
		}
		return well && w.holds(request), status
	})
}

// holds says whether the Secret has the token of a request, and it is a good one that lives.
func (w *world) holds(request string) bool {
	var s corev1.Secret
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: secretOf(w.grant)}, &s); err != nil {
		return false
	}
	record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation])
	token := string(s.Data[publish.KeyAccessToken])
	return err == nil && ours(&s) && record.Request == request && w.window.ledger.judge(token) == fine && !w.window.ledger.expired(token)
}

func show(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// startOperator runs an operator in this process until the test ends, or stop is called; in all namespaces when none is named.
func startOperator(t *testing.T, as *rest.Config, namespaces ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	mgr, err := ctrl.NewManager(as, ctrl.Options{
		Scheme: stack.Scheme(), Cache: controllers.CacheOptions(namespaces, nil), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = controllers.Setup(ctx, mgr, controllers.Options{
		OperatorNamespace: stack.OperatorNamespace, Namespaces: namespaces, Concurrency: 32, UserAgent: "faults", EncryptionKeys: encryptionKeys(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("operator: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// encryptionKeys makes a file with a key.
func encryptionKeys(t *testing.T) offline.Keyring {
	t.Helper()
	var key fernet.Key
	if err := key.Generate(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(key.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	return offline.Keyring{File: file}
}
