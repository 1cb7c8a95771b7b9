package controllers

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/shard"
)

// kindTokenGrant is that of grants, in the keys of shards.
const kindTokenGrant = "TokenGrant"

// Shards leave to this process the objects whose shards it holds; nil leaves it all. Every process watches everything, so
// that it can take over at once, and its reconcilers pass over what is not theirs.
type Shards struct {
	*shard.Holder

	// running are closed when the workers of the controllers run.
	running []<-chan struct{}
}

// Start takes part when all caches are filled and all workers run: a shard is not to wait for them.
func (s *Shards) Start(ctx context.Context) error {
	for _, running := range s.running {
		select {
		case <-running:
		case <-ctx.Done():
			return nil
		}
	}
	return s.Holder.Start(ctx)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: this is the election. As one that needs none it is
// stopped first, while the workers that it waits for still run.
func (s *Shards) NeedLeaderElection() bool { return false }

func shardKey(kind string, name types.NamespacedName) string { return kind + "/" + name.String() }

func (s *Shards) holds(kind string, object client.Object) bool {
	return s == nil || s.Holds(shardKey(kind, client.ObjectKeyFromObject(object)))
}

// works says whether the process holds anything.
func (s *Shards) works() bool {
	held, _ := s.Held()
	return held > 0
}

// complete builds a controller that works on the objects of a kind in the shards that are held. list gives all of them, in
// the order in which they are to be looked at when a shard is taken over.
func (s *Shards) complete(b *builder.Builder, r reconcile.Reconciler, kind string, list func(context.Context) []ctrl.Request) error {
	if s == nil {
		return b.Complete(r)
	}
	d := &divided{Reconciler: r, shards: s, kind: kind, list: list, running: make(chan struct{})}
	s.running = append(s.running, d.running)
	return b.WatchesRawSource(source.Func(d.gain)).Complete(d)
}

// divided is a Reconciler of the shards that are held.
type divided struct {
	reconcile.Reconciler

	shards  *Shards
	kind    string
	list    func(context.Context) []ctrl.Request
	running chan struct{}
	once    sync.Once
}

// Reconcile implements reconcile.Reconciler.
func (d *divided) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if request == (ctrl.Request{}) { // from gain
		d.once.Do(func() { close(d.running) })
		return ctrl.Result{}, nil
	}
	work, leave, ok := d.shards.Enter(ctx, shardKey(d.kind, request.NamespacedName))
	if !ok {
		return ctrl.Result{}, nil // Whoever holds the shard sees the same, and will see it when it takes it over.
	}
	defer leave()
	result, err := d.Reconciler.Reconcile(work, request)
	if shard.Lost(work) {
		return ctrl.Result{}, nil
	}
	return result, err
}

// gain brings all objects of a shard to the queue when it is taken over, and before that a request for no object: when
// that comes out of the queue, the workers run.
func (d *divided) gain(ctx context.Context, q queue) error {
	d.shards.OnGain(func(number int) {
		for _, request := range d.list(ctx) {
			if d.shards.Of(shardKey(d.kind, request.NamespacedName)) == number {
				q.Add(request)
			}
		}
	})
	q.Add(ctrl.Request{})
	return nil
}

// all lists the grants, least life left first.
func (r *GrantReconciler) all(ctx context.Context) []ctrl.Request {
	var list v1alpha1.TokenGrantList
	if err := r.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return nil
	}
	return leastLifeFirst(list.Items)
}

// all lists the issuers of the kind.
func (r *IssuerReconciler) all(ctx context.Context) []ctrl.Request {
	views, err := r.Issuers.all(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list issuers")
		return nil
	}
	var requests []ctrl.Request
	for _, view := range views {
		if view.kind == r.kind() {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(view.object)})
		}
	}
	return requests
}

// forgetShard drops what is known of the grants of a shard: whoever works on them now will know more.
func (r *GrantReconciler) forgetShard(number int) {
	for _, key := range r.memory.keys() {
		if r.Shards.Of(shardKey(kindTokenGrant, key)) == number {
			r.forget(key)
		}
	}
}

// settling is for how long after a takeover the cache is not believed when it calls for a mint: it may not show yet what
// the former holder of the shard wrote last.
const settling = time.Minute

// decide is plan.Decide; where the cache cannot be believed yet, the Secret is read from the API server before a mint.
func (r *GrantReconciler) decide(ctx context.Context, g *gathered, missing *failure) (plan.Decision, *failure, error) {
	d := plan.Decide(r.planInput(g, missing))
	if r.Shards == nil || !d.Mint || missing != nil {
		return d, missing, nil
	}
	since, _ := r.Shards.Since(shardKey(kindTokenGrant, client.ObjectKeyFromObject(g.grant)))
	if g.now.Sub(since) > settling || g.existing != nil && g.existing.ResourceVersion == g.past.written {
		return d, nil, nil
	}
	g.existing, g.record, g.reshaped, g.drift, g.doubted = nil, nil, false, publish.None, true
	missing, err := asFailure(r.gatherSecret(ctx, g))
	if err != nil {
		return d, nil, err
	}
	return plan.Decide(r.planInput(g, missing)), missing, nil
}

// leastLifeFirst gives requests for grants, those whose token ends first before the others.
func leastLifeFirst(grants []v1alpha1.TokenGrant) []ctrl.Request {
	slices.SortStableFunc(grants, func(a, b v1alpha1.TokenGrant) int { return cmp.Compare(expiry(a), expiry(b)) })
	requests := make([]ctrl.Request, len(grants))
	for i := range grants {
		requests[i].NamespacedName = types.NamespacedName{Namespace: grants[i].Namespace, Name: grants[i].Name}
	}
	return requests
}

// detached gives a context that outlives the stop of the operator by a moment, but not the lease of a shard.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, release := shard.Detach(ctx)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	return ctx, func() { cancel(); release() }
}
