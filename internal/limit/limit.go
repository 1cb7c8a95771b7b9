// Package limit gives out slots for requests to servers that users choose, and never blocks: a waiter that gets none is
// queued, and called when there is one. Namespaces compete fairly, however many waiters each of them has.
package limit

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// calledLife is how long a slot is kept for a waiter that was called. Its object may have been deleted meanwhile.
const calledLife = 5 * time.Second

// Waiter asks for a slot.
type Waiter struct {
	// Key identifies the waiter: a second request with the same key replaces the first in the queue.
	Key string
	// Namespace is what competes: namespaces take turns, however long their queues are.
	Namespace string
	// First marks a waiter that has nothing yet. The first tokens of a namespace and its refreshes take turns, too.
	First bool
	// Deadline orders the queue of a namespace, earliest first.
	Deadline time.Time
	// Call tells a queued waiter to ask again. It must not block. It may be nil.
	Call func()
}

func (w Waiter) flow() flow { return flow{w.Namespace, w.First} }

// Limits bound what a Limiter gives out.
type Limits struct {
	// Slots is how many may be held at once; at least 1.
	Slots int
	// Share keeps slots for namespaces that come later: while n namespaces hold slots, none of them gets another one beyond
	// Slots/(n+1). A first slot it always may have.
	Share bool
	// Most bounds the slots of one namespace; 0 is no bound.
	Most int
}

// Limiter gives out slots. It is safe for concurrent use. A nil Limiter has a slot for everybody.
type Limiter struct {
	clock clock.PassiveClock

	mu     sync.Mutex
	limits Limits
	held   int             // slots in use, and those that are kept for called waiters
	holds  map[string]int  // the same by namespace
	called map[string]call // by key
	queue  queue
}

type call struct {
	namespace string
	since     time.Time
}

// New returns a limiter.
func New(c clock.PassiveClock, l Limits) *Limiter {
	return &Limiter{clock: c, limits: l, holds: map[string]int{}, called: map[string]call{}, queue: newQueue()}
}

// Set changes the limits. Slots that are held stay held.
func (l *Limiter) Set(limits Limits) {
	l.mu.Lock()
	l.limits = limits
	calls := l.next()
	l.mu.Unlock()
	run(calls)
}

// Acquire gives a slot, or queues the waiter and returns false. It does not block. The slot is given back by release, whose
// second call does nothing.
func (l *Limiter) Acquire(w Waiter) (release func(), ok bool) {
	if l == nil {
		return func() {}, true
	}
	l.mu.Lock()
	l.expire()
	c, wasCalled := l.called[w.Key]
	wasCalled = wasCalled && c.namespace == w.Namespace
	// Nobody overtakes those who wait, and nobody waits for what only another namespace may not have.
	if ok = wasCalled || l.free(w.Namespace) && !l.queue.admitted(l.free); ok {
		if !wasCalled {
			l.take(w.Namespace)
		}
		delete(l.called, w.Key)
		l.queue.remove(w.Key)
	} else {
		l.queue.add(w)
	}
	calls := l.next()
	l.mu.Unlock()
	run(calls)
	if !ok {
		return nil, false
	}
	return sync.OnceFunc(func() { l.release(w.Namespace) }), true
}

func (l *Limiter) release(namespace string) {
	l.mu.Lock()
	l.give(namespace)
	l.expire()
	calls := l.next()
	l.mu.Unlock()
	run(calls)
}

// Waiting is how many are queued and have not been called.
func (l *Limiter) Waiting() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue.where)
}

func (l *Limiter) take(namespace string) {
	l.held++
	l.holds[namespace]++
}

func (l *Limiter) give(namespace string) {
	l.held--
	l.holds[namespace]--
	if l.holds[namespace] == 0 {
		delete(l.holds, namespace)
	}
}

func (l *Limiter) free(namespace string) bool {
	return l.held < max(l.limits.Slots, 1) && l.holds[namespace] < l.most(namespace)
}

// most is how many slots a namespace may hold now.
func (l *Limiter) most(namespace string) int {
	most := max(l.limits.Slots, 1)
	if l.limits.Most > 0 {
		most = min(most, l.limits.Most)
	}
	if l.limits.Share {
		active := len(l.holds)
		if l.holds[namespace] == 0 {
			active++
		}
		most = min(most, max(1, l.limits.Slots/(active+1)))
	}
	return most
}

// expire takes back the slots of called waiters that have not come.
func (l *Limiter) expire() {
	for key, c := range l.called {
		if l.clock.Since(c.since) > calledLife {
			delete(l.called, key)
			l.give(c.namespace)
		}
	}
}

// next calls those for whom there is a slot.
func (l *Limiter) next() (calls []func()) {
	for {
		w, ok := l.queue.pop(l.free)
		if !ok {
			return calls
		}
		l.take(w.Namespace)
		l.called[w.Key] = call{w.Namespace, l.clock.Now()}
		if w.Call != nil {
			calls = append(calls, w.Call)
		}
	}
}

func run(calls []func()) {
	for _, call := range calls {
		call()
	}
}
