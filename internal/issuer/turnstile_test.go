package issuer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	testingclock "k8s.io/utils/clock/testing"
)

// hall is a turnstile, and who has been called.
type hall struct {
	*turnstile

	clock  *testingclock.FakeClock
	places int
	heard  []string
}

func newHall(places int) *hall {
	h := &hall{clock: testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), places: places}
	h.turnstile = newTurnstile(h.clock, func() int { return h.places })
	return h
}

// ask is a visitor's request. The flow is the first letter of the key.
func (h *hall) ask(key string, deadline int) (leave func(), ok bool) {
	return h.enter(Visitor{
		Key: key, Flow: key[:1], Deadline: time.Unix(int64(deadline), 0), Call: func() { h.heard = append(h.heard, key) },
	})
}

func (h *hall) mustEnter(t *testing.T, key string) (leave func()) {
	t.Helper()
	leave, ok := h.ask(key, 0)
	if !ok {
		t.Fatalf("%s was turned away", key)
	}
	return leave
}

func (h *hall) mustWait(t *testing.T, key string, deadline int) {
	t.Helper()
	if _, ok := h.ask(key, deadline); ok {
		t.Fatalf("%s was let in", key)
	}
}

func TestTurnsGoToTheLeastLifeLeft(t *testing.T) {
	h := newHall(1)
	leave := h.mustEnter(t, "a0")
	for i, deadline := range []int{40, 10, 30, 20} {
		h.mustWait(t, fmt.Sprint("a", i+1), deadline)
	}
	h.mustWait(t, "a1", 5) // It asks again, with less time.
	for range 5 {
		leave()
		leave() // The second counts for nothing.
		if len(h.heard) == 0 {
			break
		}
		leave = h.mustEnter(t, h.heard[len(h.heard)-1])
	}
	if diff := cmp.Diff([]string{"a1", "a2", "a4", "a3"}, h.heard); diff != "" {
		t.Error(diff)
	}
}

func TestFlowsTakeTurnsHoweverLongTheyAre(t *testing.T) {
	h := newHall(1)
	leave := h.mustEnter(t, "a-first")
	for i := range 100 {
		h.mustWait(t, fmt.Sprint("a", i), i)
	}
	h.mustWait(t, "b0", 1000)
	h.mustWait(t, "c0", 2000)
	for range 6 {
		leave()
		leave = h.mustEnter(t, h.heard[len(h.heard)-1])
	}
	if diff := cmp.Diff([]string{"a0", "b0", "c0", "a1", "a2", "a3"}, h.heard); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyOvertakesThoseWhoWait(t *testing.T) {
	h := newHall(2)
	leave := h.mustEnter(t, "a0")
	h.mustEnter(t, "a1")
	h.mustWait(t, "a2", 10)
	leave()
	h.mustWait(t, "a3", 1) // The free place is kept for a2.
	h.mustEnter(t, "a2")
}

func TestAPlaceIsNotKeptForEver(t *testing.T) {
	h := newHall(1)
	leave := h.mustEnter(t, "a0")
	h.mustWait(t, "a1", 10)
	h.mustWait(t, "a2", 20)
	leave() // a1 is called, and has been deleted.
	h.clock.Step(calledLife + time.Second)
	h.mustWait(t, "a3", 30)
	if diff := cmp.Diff([]string{"a1", "a2"}, h.heard); diff != "" {
		t.Error(diff)
	}
	h.mustEnter(t, "a2")
	h.mustWait(t, "a1", 10) // It does come: at the end of the line.
	if len(h.where) != 2 {
		t.Errorf("%d wait, want a1 and a3", len(h.where))
	}
}

func TestMorePlacesCallMore(t *testing.T) {
	h := newHall(1)
	leave := h.mustEnter(t, "a0")
	for i := range 4 {
		h.mustWait(t, fmt.Sprint("a", i+1), i)
	}
	h.places = 3
	leave()
	if len(h.heard) != 3 {
		t.Errorf("called %v, want three", h.heard)
	}
	for _, key := range slices.Clone(h.heard) {
		h.mustEnter(t, key)()
	}
	if len(h.heard) != 4 || len(h.order) != 0 || len(h.lines) != 0 || len(h.where) != 0 {
		t.Errorf("called %v, and %d lines are left", h.heard, len(h.lines))
	}
}

func TestRoomFollowsTheLimits(t *testing.T) {
	for _, tt := range []struct {
		rate        float64
		concurrency int
		want        int
	}{
		{50, 16, 20}, {1, 16, 2}, {0.2, 16, 1}, {5, 16, 10}, {10000, 1, 5}, {0, 0, 20},
	} {
		g := newGate(Config{RequestsPerSecond: tt.rate, Concurrency: tt.concurrency, Clock: testingclock.NewFakeClock(time.Unix(0, 0))})
		if got := g.room(); got != tt.want {
			t.Errorf("%v a second, %d at once: room for %d, want %d", tt.rate, tt.concurrency, got, tt.want)
		}
	}
}
