package limit

import (
	"container/heap"
	"slices"
)

// flow is what takes turns.
type flow struct {
	namespace string
	first     bool
}

// queue holds waiters: one line for each flow, ordered by deadline.
type queue struct {
	lines map[flow]*line
	order []*line // those with waiters, the next first
	where map[string]*queued
}

// line is a heap by deadline.
type line struct {
	flow    flow
	waiting []*queued
}

type queued struct {
	Waiter

	line  *line
	index int
}

func newQueue() queue { return queue{lines: map[flow]*line{}, where: map[string]*queued{}} }

// add puts a waiter into its line, once.
func (q *queue) add(w Waiter) {
	if old := q.where[w.Key]; old != nil && old.line.flow == w.flow() {
		old.Waiter = w
		heap.Fix(old.line, old.index)
		return
	}
	q.remove(w.Key)
	l := q.lines[w.flow()]
	if l == nil {
		l = &line{flow: w.flow()}
		q.lines[l.flow] = l
		q.order = append(q.order, l)
	}
	n := &queued{Waiter: w, line: l}
	q.where[w.Key] = n
	heap.Push(l, n)
}

// remove takes a waiter out of its line.
func (q *queue) remove(key string) {
	n := q.where[key]
	if n == nil {
		return
	}
	heap.Remove(n.line, n.index)
	delete(q.where, key)
	if len(n.line.waiting) > 0 {
		return
	}
	delete(q.lines, n.line.flow)
	q.order = slices.DeleteFunc(q.order, func(l *line) bool { return l == n.line })
}

// admitted reports whether there is a line whose namespace is admitted.
func (q *queue) admitted(admits func(namespace string) bool) bool {
	return slices.ContainsFunc(q.order, func(l *line) bool { return admits(l.flow.namespace) })
}

// pop takes the first waiter of the next line whose namespace is admitted. That line is the last then.
func (q *queue) pop(admits func(namespace string) bool) (Waiter, bool) {
	i := slices.IndexFunc(q.order, func(l *line) bool { return admits(l.flow.namespace) })
	if i < 0 {
		return Waiter{}, false
	}
	l := q.order[i]
	q.order = append(slices.Delete(q.order, i, i+1), l)
	w := l.waiting[0].Waiter
	q.remove(w.Key)
	return w, true
}

func (l *line) Len() int           { return len(l.waiting) }
func (l *line) Less(i, j int) bool { return l.waiting[i].Deadline.Before(l.waiting[j].Deadline) }

func (l *line) Swap(i, j int) {
	l.waiting[i], l.waiting[j] = l.waiting[j], l.waiting[i]
	l.waiting[i].index, l.waiting[j].index = i, j
}

// Push is of heap.Interface.
func (l *line) Push(x any) {
	n, _ := x.(*queued)
	n.index = len(l.waiting)
	l.waiting = append(l.waiting, n)
}

// Pop is of heap.Interface.
func (l *line) Pop() any {
	last := len(l.waiting) - 1
	n := l.waiting[last]
	l.waiting[last] = nil
	l.waiting = l.waiting[:last]
	return n
}
