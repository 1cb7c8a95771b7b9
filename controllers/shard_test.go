package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/shard"
	"github.com/tokengrant/tokengrant/internal/shard/shardtest"
)

// newShards takes part until stop, beside whoever uses the server as well.
func newShards(t *testing.T, s *shardtest.Server, number int) (*Shards, func()) {
	t.Helper()
	h, err := shard.NewWith(s.Client(), shard.Options{
		Shards: number, Leader: "leader", LeaseDuration: 3 * time.Second, RenewDeadline: time.Second, RetryPeriod: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	shards := &Shards{Holder: h}
	go func() {
		defer close(done)
		_ = shards.Start(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return shards, stop
}

func awaitShards(t *testing.T, s *Shards, want int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if held, _ := s.Held(); held == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d shards are not held in a minute", want)
		}
	}
}

func TestEachObjectIsReconciledByOneProcess(t *testing.T) {
	leases := shardtest.NewServer()
	one, _ := newShards(t, leases, 4)
	awaitShards(t, one, 4)
	two, stop := newShards(t, leases, 4)
	awaitShards(t, two, 2)
	awaitShards(t, one, 2)
	done := map[string]int{}
	reconcilers := []*divided{}
	for _, s := range []*Shards{one, two} {
		reconcilers = append(reconcilers, &divided{shards: s, kind: kindTokenGrant, running: make(chan struct{}), Reconciler: reconcile.Func(
			func(_ context.Context, r ctrl.Request) (ctrl.Result, error) {
				done[r.Name]++
				return ctrl.Result{RequeueAfter: time.Hour}, nil
			},
		)})
	}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	all := func(d *divided) (took int) {
		for _, name := range names {
			result, err := d.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "apps", Name: name}})
			if err != nil {
				t.Fatal(err)
			}
			if result.RequeueAfter > 0 {
				took++
			}
		}
		return took
	}
	first, second := all(reconcilers[0]), all(reconcilers[1])
	if first == 0 || second == 0 || first+second != len(names) {
		t.Errorf("%d and %d of %d objects were reconciled", first, second, len(names))
	}
	for _, name := range names {
		if done[name] != 1 {
			t.Errorf("%s was reconciled %d times", name, done[name])
		}
	}
	stop()
	awaitShards(t, one, 4)
	if took := all(reconcilers[0]); took != len(names) {
		t.Errorf("%d of %d objects were reconciled by the one that is left", took, len(names))
	}
	if _, err := reconcilers[0].Reconcile(t.Context(), ctrl.Request{}); err != nil || !closed(reconcilers[0].running) {
		t.Errorf("the workers run, and nobody knows: %v", err)
	}
}

// laggard is a cache that does not show the latest state of a Secret yet.
type laggard struct {
	client.Client

	shown *corev1.Secret
}

func (l *laggard) Get(ctx context.Context, key client.ObjectKey, object client.Object, o ...client.GetOption) error {
	if s, ok := object.(*corev1.Secret); ok && key.Name == l.shown.Name {
		l.shown.DeepCopyInto(s)
		return nil
	}
	return l.Client.Get(ctx, key, object, o...)
}

// TestTakeoverMintsNothing: the former holder has answered a request, and the cache of the new one does not know.
func TestTakeoverMintsNothing(t *testing.T) {
	b := newBench(t)
	b.clock.SetTime(time.Now().Add(-time.Hour)) // The elections go by the real clock.
	b.run()
	before := b.secret("g")
	b.edit(request("1"))
	b.pass(time.Hour)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)

	b.restart()
	cluster := b.Client
	b.Client = &laggard{cluster, before}
	b.Shards, _ = newShards(t, shardtest.NewServer(), 1)
	awaitShards(t, b.Shards, 1)
	b.run()
	b.Client = cluster
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
	if b.memory.of(types.NamespacedName{Namespace: "apps", Name: "g"}, "uid-of-g").saved == "" {
		t.Fatal("nothing is remembered")
	}
	b.forgetShard(0)
	if len(b.memory.grants) != 0 {
		t.Error("a grant of a shard that was lost is remembered")
	}
}
