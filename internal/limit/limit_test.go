package limit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	testingclock "k8s.io/utils/clock/testing"
)

// fixture is a limiter, and who has been called.
type fixture struct {
	*Limiter

	t      *testing.T
	clock  *testingclock.FakeClock
	called []string
}

func newFixture(t *testing.T, l Limits) *fixture {
	t.Helper()
	c := testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return &fixture{Limiter: New(c, l), t: t, clock: c}
}

// ask is a waiter's request. The namespace is the first letter of the key.
func (f *fixture) ask(key string, deadline int) (release func(), ok bool) {
	return f.Acquire(Waiter{
		Key: key, Namespace: key[:1], Deadline: time.Unix(int64(deadline), 0), Call: func() { f.called = append(f.called, key) },
	})
}

func (f *fixture) acquires(key string) (release func()) {
	f.t.Helper()
	release, ok := f.ask(key, 0)
	if !ok {
		f.t.Fatalf("%s got no slot", key)
	}
	return release
}

func (f *fixture) waits(key string, deadline int) {
	f.t.Helper()
	if _, ok := f.ask(key, deadline); ok {
		f.t.Fatalf("%s got a slot", key)
	}
}

func TestTheEarliestDeadlineIsFirst(t *testing.T) {
	f := newFixture(t, Limits{Slots: 1})
	release := f.acquires("a0")
	for i, deadline := range []int{40, 10, 30, 20} {
		f.waits(fmt.Sprint("a", i+1), deadline)
	}
	f.waits("a1", 5) // It asks again, with less time.
	for range 5 {
		release()
		release() // The second counts for nothing.
		if len(f.called) == 4 {
			break
		}
		release = f.acquires(f.called[len(f.called)-1])
	}
	if diff := cmp.Diff([]string{"a1", "a2", "a4", "a3"}, f.called); diff != "" {
		t.Error(diff)
	}
}

func TestNamespacesTakeTurnsHoweverManyWait(t *testing.T) {
	f := newFixture(t, Limits{Slots: 1})
	release := f.acquires("a-first")
	for i := range 100 {
		f.waits(fmt.Sprint("a", i), i)
	}
	f.waits("b0", 1000)
	f.waits("c0", 2000)
	for range 6 {
		release()
		release = f.acquires(f.called[len(f.called)-1])
	}
	if diff := cmp.Diff([]string{"a0", "b0", "c0", "a1", "a2", "a3"}, f.called); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyOvertakesThoseWhoWait(t *testing.T) {
	f := newFixture(t, Limits{Slots: 2})
	release := f.acquires("a0")
	f.acquires("a1")
	f.waits("a2", 10)
	release()
	f.waits("a3", 1) // The free slot is kept for a2.
	f.acquires("a2")
}

func TestASlotIsNotKeptForEver(t *testing.T) {
	f := newFixture(t, Limits{Slots: 1})
	release := f.acquires("a0")
	f.waits("a1", 10)
	f.waits("a2", 20)
	release() // a1 is called, and has been deleted.
	f.clock.Step(calledLife + time.Second)
	f.waits("a3", 30)
	if diff := cmp.Diff([]string{"a1", "a2"}, f.called); diff != "" {
		t.Error(diff)
	}
	f.acquires("a2")
	f.waits("a1", 10) // It does come: it is queued again.
	if f.Waiting() != 2 {
		t.Errorf("%d wait, want a1 and a3", f.Waiting())
	}
}

func TestMoreSlotsCallMore(t *testing.T) {
	f := newFixture(t, Limits{Slots: 1})
	f.acquires("a0")
	for i := range 4 {
		f.waits(fmt.Sprint("a", i+1), i)
	}
	f.Set(Limits{Slots: 3})
	if len(f.called) != 2 {
		t.Errorf("called %v, want two", f.called)
	}
	for _, key := range slices.Clone(f.called) {
		f.acquires(key)()
	}
	if len(f.called) != 4 || f.Waiting() != 0 || len(f.queue.lines)+len(f.queue.order) != 0 {
		t.Errorf("called %v, and %d wait", f.called, f.Waiting())
	}
}

// TestOneNamespaceLeavesAShare: whatever a namespace does, the next one gets a slot at once.
func TestOneNamespaceLeavesAShare(t *testing.T) {
	f := newFixture(t, Limits{Slots: 12, Share: true})
	count := func(namespace string) (n int) {
		for i := range 20 {
			if _, ok := f.ask(fmt.Sprint(namespace, i), i); ok {
				n++
			}
		}
		return n
	}
	if got := []int{count("a"), count("b"), count("c")}; !slices.Equal(got, []int{6, 4, 2}) {
		t.Errorf("three namespaces got %v slots of 12", got)
	}
	f.waits("d0", 0) // All are held. As they are given back, no namespace gets more than its share of them.
}

func TestSlotsOfOneNamespaceAreBounded(t *testing.T) {
	f := newFixture(t, Limits{Slots: 100, Most: 2})
	release := f.acquires("a0")
	f.acquires("a1")
	f.waits("a2", 0)
	f.acquires("b0") // What a may not have, b need not wait for.
	release()
	if diff := cmp.Diff([]string{"a2"}, f.called); diff != "" {
		t.Error(diff)
	}
}

func TestFirstTokensAndRefreshesTakeTurns(t *testing.T) {
	f := newFixture(t, Limits{Slots: 1})
	release := f.acquires("a0")
	var order []string
	for i := range 2 {
		for _, first := range []bool{true, false} {
			key := fmt.Sprintf("a-%d-%t", i, first)
			f.Acquire(Waiter{Key: key, Namespace: "a", First: first, Deadline: time.Unix(int64(i), 0), Call: func() { order = append(order, key) }})
		}
	}
	for range 4 {
		release()
		release, _ = f.Acquire(Waiter{Key: order[len(order)-1], Namespace: "a"})
	}
	if diff := cmp.Diff([]string{"a-0-true", "a-0-false", "a-1-true", "a-1-false"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestANilLimiterHasASlotForEverybody(t *testing.T) {
	var l *Limiter
	release, ok := l.Acquire(Waiter{})
	if !ok || l.Waiting() != 0 {
		t.Error("no slot")
	}
	release()
}
