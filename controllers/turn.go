package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	"github.com/tokengrant/tokengrant/internal/issuer"
)

const (
	// parkedRetry is the pause after which who waits for a turn looks again, though nobody has called.
	parkedRetry = 10 * time.Second
	// looksApart is the pause between two such looks at one issuer, on average: ten thousand who wait must not fill the
	// workers.
	looksApart = 20 * time.Millisecond
)

// Priorities in the queue, where those that were just applied or changed have 0, or less where their namespace has many of
// them. Neither the failures of some nor those who wait delay refreshes of others, however many they are.
const (
	priorityCalled  = 2 // has a turn at its issuer
	priorityHolding = 1 // holds a token that will expire
	priorityWaiting = -1
	priorityFailing = -1
)

// priority is that of the next reconcile. Without one, the low one that a grant has at the start would stay for good.
func (o outcome) priority() int {
	switch {
	case o.parked:
		return priorityWaiting
	case o.usable:
		return priorityHolding
	case o.failed != nil:
		return priorityFailing
	default:
		return 0
	}
}

// turn asks the issuer for a turn to mint. A grant that gets none is put back, and called when there is one: it keeps no
// worker from the grants of other issuers. The grants of a namespace wait for each other only, the first tokens apart from
// the others, least life left first.
func (r *GrantReconciler) turn(g *gathered) bool {
	if g.conn == nil || g.unpublished() != nil || g.keptOut() != nil {
		return true
	}
	v := issuer.Visitor{Key: string(g.grant.UID), Flow: "first/" + g.grant.Namespace, Deadline: g.grant.CreationTimestamp.Time}
	if g.record != nil {
		v.Flow, v.Deadline = "next/"+g.grant.Namespace, g.record.Token.ExpiresAt.Time
	}
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: g.grant.Namespace, Name: g.grant.Name}}
	v.Call = func() { r.hurry(request) }
	var ok bool
	g.left, ok = g.conn.Enter(v)
	return ok
}

// hurry lets who is called pass those that will only take their place in the line.
func (r *GrantReconciler) hurry(request ctrl.Request) {
	if q, ok := r.queue.(priorityqueue.PriorityQueue[ctrl.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priorityCalled)}, request)
		return
	}
	r.queue.Add(request)
}

// lookAgain is when a grant that was turned away looks again.
func (g *gathered) lookAgain() time.Duration {
	return max(parkedRetry, time.Duration(g.conn.Waiting())*looksApart)
}

// leave gives the turn back, once the issuer has answered.
func (g *gathered) leave() {
	if g.left != nil {
		g.left()
	}
}

// keepQueue is a source of no events: it hands out the queue, for those who wait for a turn.
func (r *GrantReconciler) keepQueue(_ context.Context, q queue) error {
	r.queue = q
	return nil
}
