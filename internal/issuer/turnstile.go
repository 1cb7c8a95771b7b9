package issuer

import (
	"container/heap"
	"math"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// ahead is how many more than may be under way are let in, so that the next request is there when one ends.
	ahead = 4
	// calledLife is how long a place is kept for somebody who was called. A grant may have been deleted meanwhile.
	calledLife = 5 * time.Second
)

// Visitor asks for a turn to mint.
type Visitor struct {
	// Key names the visitor, Flow whom it competes with: flows take turns, however long their lines are.
	Key, Flow string
	// Deadline orders a flow: the earliest is first.
	Deadline time.Time
	// Call tells a visitor that was turned away to come again. It must not block.
	Call func()
}

// turnstile lets as many visitors in as the issuer's limits can serve soon. The others are turned away at once, so that
// nobody's worker waits for an issuer that has too much to do, and are called when there is a place: one flow after the
// other, within a flow in the order of the deadlines. The zero value is not usable.
type turnstile struct {
	clock clock.PassiveClock
	room  func() int

	mu     sync.Mutex
	inside int
	called map[string]time.Time // whose place is kept, since when
	lines  map[string]*line
	order  []*line // of those that have somebody, the next first
	where  map[string]*waiting
}

// line is a heap by deadline.
type line struct {
	flow    string
	waiting []*waiting
}

type waiting struct {
	Visitor

	line  *line
	index int
}

func newTurnstile(c clock.PassiveClock, room func() int) *turnstile {
	return &turnstile{clock: c, room: room, called: map[string]time.Time{}, lines: map[string]*line{}, where: map[string]*waiting{}}
}

// room is what limits can serve soon: what may be under way, and not more than two seconds of the rate.
func (g *gate) room() int {
	l := g.limits.Load()
	return max(1, min(l.concurrency+ahead, int(math.Ceil(2*float64(l.turns.Limit())))))
}

// Enter gives a visitor a turn, or says that it will be called. Who has been let in must leave; to leave twice is to leave
// once.
func (i *Issuer) Enter(v Visitor) (leave func(), ok bool) { return i.turnstile.enter(v) }

func (t *turnstile) enter(v Visitor) (leave func(), ok bool) {
	t.mu.Lock()
	t.forget()
	_, wasCalled := t.called[v.Key]
	if ok = wasCalled || len(t.order) == 0 && t.free(); ok {
		delete(t.called, v.Key)
		t.drop(v.Key)
		t.inside++
	} else {
		t.queue(v)
	}
	calls := t.next()
	t.mu.Unlock()
	run(calls)
	if !ok {
		return nil, false
	}
	return sync.OnceFunc(t.leave), true
}

// Waiting is how many have been turned away and not been called yet.
func (i *Issuer) Waiting() int {
	i.turnstile.mu.Lock()
	defer i.turnstile.mu.Unlock()
	return len(i.turnstile.where)
}

func (t *turnstile) leave() {
	t.mu.Lock()
	t.inside--
	t.forget()
	calls := t.next()
	t.mu.Unlock()
	run(calls)
}

func run(calls []func()) {
	for _, call := range calls {
		call()
	}
}

func (t *turnstile) free() bool { return t.inside+len(t.called) < t.room() }

// forget gives up the places of those who were called and have not come.
func (t *turnstile) forget() {
	for key, since := range t.called {
		if t.clock.Since(since) > calledLife {
			delete(t.called, key)
		}
	}
}

// queue puts a visitor into its line, once.
func (t *turnstile) queue(v Visitor) {
	if w := t.where[v.Key]; w != nil && w.line.flow == v.Flow {
		w.Visitor = v
		heap.Fix(w.line, w.index)
		return
	}
	t.drop(v.Key)
	l := t.lines[v.Flow]
	if l == nil {
		l = &line{flow: v.Flow}
		t.lines[v.Flow] = l
		t.order = append(t.order, l)
	}
	w := &waiting{Visitor: v, line: l}
	t.where[v.Key] = w
	heap.Push(l, w)
}

// drop takes a visitor out of its line.
func (t *turnstile) drop(key string) {
	w := t.where[key]
	if w == nil {
		return
	}
	heap.Remove(w.line, w.index)
	delete(t.where, key)
	if len(w.line.waiting) > 0 {
		return
	}
	delete(t.lines, w.line.flow)
	t.order = slices.DeleteFunc(t.order, func(l *line) bool { return l == w.line })
}

// next calls those for whom there is a place.
func (t *turnstile) next() (calls []func()) {
	for len(t.order) > 0 && t.free() {
		l := t.order[0]
		t.order = append(t.order[1:], l)
		first := l.waiting[0]
		t.drop(first.Key)
		t.called[first.Key] = t.clock.Now()
		calls = append(calls, first.Call)
	}
	return calls
}

func (l *line) Len() int           { return len(l.waiting) }
func (l *line) Less(i, j int) bool { return l.waiting[i].Deadline.Before(l.waiting[j].Deadline) }

func (l *line) Swap(i, j int) {
	l.waiting[i], l.waiting[j] = l.waiting[j], l.waiting[i]
	l.waiting[i].index, l.waiting[j].index = i, j
}

// Push is of heap.Interface.
func (l *line) Push(x any) {
	w, _ := x.(*waiting)
	w.index = len(l.waiting)
	l.waiting = append(l.waiting, w)
}

// Pop is of heap.Interface.
func (l *line) Pop() any {
	last := len(l.waiting) - 1
	w := l.waiting[last]
	l.waiting[last] = nil
	l.waiting = l.waiting[:last]
	return w
}
