package controllers

import (
	"sync"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

const (
	// namespaceBurst is how many requests of a namespace have the same priority, one after the other.
	namespaceBurst = 50
	// lastPriority bounds how far back a namespace is put. The priority is a label of the queue's metrics.
	lastPriority = -20
)

// fairQueue lets no namespace fill the queue for the others: the more of its requests are to be worked on now, the lower is
// the priority of the next one. What has a priority of its own keeps it, and what comes at its time has none that is lower.
type fairQueue struct {
	priorityqueue.PriorityQueue[ctrl.Request]

	mu    sync.Mutex
	ready map[ctrl.Request]bool
	// of counts what is ready, by namespace.
	of map[string]int
}

// newFairQueue is of controller.Options.
func newFairQueue(name string, limiter workqueue.TypedRateLimiter[ctrl.Request]) workqueue.TypedRateLimitingInterface[ctrl.Request] {
	q := priorityqueue.New(name, func(o *priorityqueue.Opts[ctrl.Request]) {
		o.Log = ctrl.Log.WithValues("controller", name)
		o.RateLimiter = limiter
	})
	return &fairQueue{PriorityQueue: q, ready: map[ctrl.Request]bool{}, of: map[string]int{}}
}

// Add implements workqueue.TypedInterface.
func (q *fairQueue) Add(request ctrl.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, request) }

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *fairQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...ctrl.Request) {
	if o.After > 0 || o.RateLimited || o.Priority != nil && *o.Priority != 0 {
		q.PriorityQueue.AddWithOpts(o, requests...)
		return
	}
	for _, request := range requests {
		o.Priority = new(q.enter(request))
		q.PriorityQueue.AddWithOpts(o, request)
	}
}

// enter counts a request, and gives its priority.
func (q *fairQueue) enter(request ctrl.Request) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.of[request.Namespace]
	if !q.ready[request] {
		q.ready[request] = true
		q.of[request.Namespace]++
	}
	return max(lastPriority, -(before / namespaceBurst))
}

// GetWithPriority implements priorityqueue.PriorityQueue.
func (q *fairQueue) GetWithPriority() (request ctrl.Request, priority int, shutdown bool) {
	request, priority, shutdown = q.PriorityQueue.GetWithPriority()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready[request] {
		delete(q.ready, request)
		q.of[request.Namespace]--
		if q.of[request.Namespace] == 0 {
			delete(q.of, request.Namespace)
		}
	}
	return request, priority, shutdown
}

// Get implements workqueue.TypedInterface.
func (q *fairQueue) Get() (request ctrl.Request, shutdown bool) {
	request, _, shutdown = q.GetWithPriority()
	return request, shutdown
}
