package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/limit"
)

const (
	// queuedRetry is the pause after which a grant without a slot asks again, though nobody has called it.
	queuedRetry = 10 * time.Second
	// retriesApart is the pause between two such tries of all that wait for the same slots, on average: ten thousand
	// waiting grants must not fill the workers.
	retriesApart = 20 * time.Millisecond
)

// outboundLimits bound the steps that wait for servers of users' choice, of all grants together. A server that hangs holds
// a slot of its namespace, and no worker.
var outboundLimits = limit.Limits{Slots: 256, Most: 32, Share: true}

// Priorities in the queue, where those that were just applied or changed have 0, or less where their namespace has many of
// them. Neither failing grants nor those that wait for a slot delay refreshes of others, however many they are.
const (
	priorityCalled  = 2 // has a slot
	priorityHolding = 1 // holds a token that will expire
	priorityWaiting = -1
	priorityFailing = -1
)

// priority is that of the next reconcile. Without one, the low one that a grant has at the start would stay for good.
func (o outcome) priority() int {
	switch {
	case o.queued:
		return priorityWaiting
	case o.usable:
		return priorityHolding
	case o.failed != nil:
		return priorityFailing
	default:
		return 0
	}
}

// workers bound how many reconciles work at once. Waiting for a server is not work. Nil is no bound.
type workers chan struct{}

func newWorkers(n int) workers { return make(workers, n) }

func (w workers) begin() {
	if w != nil {
		w <- struct{}{}
	}
}

func (w workers) end() {
	if w != nil {
		<-w
	}
}

// queuedAt is where a grant waits for a slot.
type queuedAt interface{ Waiting() int }

// admit acquires, without blocking, what a step needs that asks servers: an outbound slot of the grant's namespace, and for
// a mint one of the issuer. A grant that gets none is requeued when there is one. The first tokens of a namespace and its
// refreshes take turns, least life left first.
func (r *GrantReconciler) admit(g *observation, d plan.Decision) bool {
	if d.Mint && g.unpublished() != nil {
		return true // It is only written.
	}
	release, ok := r.outbound.Acquire(r.waiter(g))
	if !ok {
		g.queuedAt = r.outbound
		return false
	}
	if d.Mint && g.conn != nil && g.withheld() == nil {
		if g.left, ok = g.conn.Acquire(r.waiter(g)); !ok {
			release()
			g.queuedAt = g.conn
			return false
		}
	}
	g.release = release
	return true
}

// waiter asks for a slot on behalf of a grant.
func (r *GrantReconciler) waiter(g *observation) limit.Waiter {
	w := limit.Waiter{Key: string(g.grant.UID), Namespace: g.grant.Namespace, First: true, Deadline: g.grant.CreationTimestamp.Time}
	if g.record != nil {
		w.First, w.Deadline = false, g.record.Token.ExpiresAt.Time
	}
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: g.grant.Namespace, Name: g.grant.Name}}
	w.Call = func() { r.requeueFirst(request) }
	return w
}

// away runs what asks servers, without holding a worker meanwhile. What has no outbound slot yet acquires one, or is
// deferred.
func (r *GrantReconciler) away(ctx context.Context, g *observation, ask func(context.Context) error) error {
	if g.away {
		return ask(ctx)
	}
	if g.release == nil {
		release, ok := r.outbound.Acquire(r.waiter(g))
		if !ok {
			return r.deferred(g, r.outbound, "Request deferred: %d other grants wait for servers that do not answer", r.outbound.Waiting())
		}
		defer release()
	}
	if g.issuer.kind != kindTokenIssuer {
		ctx = issuer.WithTenant(ctx, g.grant.Namespace)
	}
	g.away = true
	r.workers.end()
	defer func() {
		g.away = false
		r.workers.begin()
	}()
	return ask(ctx)
}

// deferred is the failure of a request that was not sent because of our own limits. It says nothing about the server.
func (r *GrantReconciler) deferred(g *observation, at queuedAt, format string, args ...any) error {
	g.queuedAt = at
	return &failure{reason: v1alpha1.ReasonThrottled, message: fmt.Sprintf(format, args...), retryAfter: queuedRetry, deferred: true}
}

// requeueFirst lets a grant that is called pass those that would only be queued again.
func (r *GrantReconciler) requeueFirst(request ctrl.Request) {
	switch q := r.queue.(type) {
	case priorityqueue.PriorityQueue[ctrl.Request]:
		q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priorityCalled)}, request)
	case nil: // Nothing works yet, or this is a test.
	default:
		q.Add(request)
	}
}

// askAgainAfter is when a queued grant asks again for a slot, if nobody calls it before.
func (g *observation) askAgainAfter() time.Duration {
	if g.queuedAt == nil {
		return queuedRetry
	}
	return max(queuedRetry, time.Duration(g.queuedAt.Waiting())*retriesApart)
}

// leave gives the issuer's slot back, once the issuer has answered.
func (g *observation) leave() {
	if g.left != nil {
		g.left()
	}
}

// releaseAll gives back what admit acquired.
func (g *observation) releaseAll() {
	g.leave()
	if g.release != nil {
		g.release()
		g.release = nil
	}
}

// keepQueue is a source of no events: it hands out the queue, for those who wait for a slot.
func (r *GrantReconciler) keepQueue(_ context.Context, q queue) error {
	r.queue = q
	return nil
}
