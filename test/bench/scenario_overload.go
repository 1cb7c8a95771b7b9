package main

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// overloadRate is the limit of the issuer that cannot do what is asked for.
	overloadRate = 40
	// demand is how much more than that the schedule asks for.
	demand = 1.5
	// newcomers are applied one by one meanwhile.
	newcomers = 5
)

// overload asks one and a half times as many refreshes of an issuer as it allows.
func overload(ctx context.Context, w *world, o options, t *table) error {
	n := min(o.n, 2000)
	// Refreshes are planned at 67 % of the life, and up to a tenth of the life earlier.
	life := time.Duration(float64(n) / (overloadRate * demand * 0.62) * float64(time.Second)).Truncate(time.Second)
	w.endpoint.life.Store(int64(life / time.Second))
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := w.namespace(ctx, "overload", "good", overloadRate); err != nil {
		return err
	}
	if err := apply(ctx, w.client, "overload", n, ""); err != nil {
		return err
	}
	// Not Ready: the first tokens may expire before the last ones are there.
	if err := settle(ctx, "first tokens", 10*time.Minute, func() bool { return w.endpoint.counts().exchanges >= int64(n) }); err != nil {
		return err
	}
	w.seen.record()
	begin, state, asked := time.Now(), w.seen.expiries("overload"), w.endpoint.counts()
	var slowest time.Duration
	for i := range newcomers {
		if err := pause(ctx, 2*life/newcomers); err != nil {
			return err
		}
		applied := time.Now()
		if err := w.client.Create(ctx, grantOf("overload", n+i, "", clientOf(0))); err != nil {
			return err
		}
		if err := settle(ctx, "a new grant Ready", time.Minute, func() bool { return w.seen.isReady("overload", grantName(n+i)) }); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(applied))
	}
	end := time.Now()
	expired := w.seen.expiredSince("overload", begin, end)
	did := w.endpoint.counts().since(asked)
	// Subject tokens take their part of the rate, and new grants theirs.
	rate := overloadRate - float64(did.subjects+newcomers)/end.Sub(begin).Seconds()
	best := leastExpired(state, begin, end, life, rate)
	whole := float64(n) * end.Sub(begin).Seconds()
	t.add("grants, life of a token, refreshes planned and allowed in a second", fmt.Sprintf("%d, %s, %.0f and %d", n, life, overloadRate*demand, overloadRate))
	t.add("requests for tokens in a second", fmt.Sprintf("%.1f", float64(did.exchanges+did.subjects)/end.Sub(begin).Seconds()))
	t.ratio("seconds with an expired token, floor: the least that a simulation can do", expired, best, 0)
	share := (expired - best).Seconds() / whole
	t.goal("the difference, of all seconds of all grants", fmt.Sprintf("%.3f %%", 100*share), "≤ 0.1 %, or 10 % of the floor", share <= 0.001 || expired <= best*11/10)
	t.goal("first token of a new grant, the slowest", short(slowest), "≤ 5 s", slowest <= 5*time.Second)
	return nil
}

// leastExpired simulates who knows all: always the token that expires first, as late as the rate allows.
func leastExpired(expires []time.Time, begin, end time.Time, life time.Duration, rate float64) time.Duration {
	h := expiries(slices.SortedFunc(slices.Values(expires), time.Time.Compare))
	var sum time.Duration
	for now := begin; now.Before(end); now = now.Add(time.Duration(float64(time.Second) / rate)) {
		if len(h) == 0 {
			break
		}
		sum += overlap(h[0], now, begin, end)
		h[0] = now.Truncate(time.Second).Add(life) // as tokens have it
		heap.Fix(&h, 0)
	}
	for _, e := range h {
		sum += overlap(e, end, begin, end)
	}
	return sum
}

// overlap is how much of the time between from and to lies within the window.
func overlap(from, to, begin, end time.Time) time.Duration {
	from, to = maxTime(from, begin), minTime(to, end)
	return max(0, to.Sub(from))
}

func maxTime(a, b time.Time) time.Time { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }

func minTime(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }

type expiries []time.Time

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].Before(e[j]) }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push is of heap.Interface, and never called.
func (e *expiries) Push(any) {}

// Pop is of heap.Interface, and never called.
func (e *expiries) Pop() any { return nil }

// disorder tells how far the refreshes that were due by a time were from the order of the life left: for each, by how much
// one that was seen before it could have waited longer.
func disorder(changes []change, due time.Time) (most, median time.Duration) {
	changes = slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return c.at.Add(-c.late).After(due) })
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	var latest time.Time
	var by []time.Duration
	for _, c := range changes {
		by = append(by, max(0, latest.Sub(c.expires)))
		latest = maxTime(latest, c.expires)
	}
	return percentile(by, 99), percentile(by, 50)
}

// expiries are those of the tokens of a namespace.
func (w *watcher) expiries(namespace string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Time
	for key, record := range w.secrets {
		if key.Namespace == namespace {
			all = append(all, record.Token.ExpiresAt.Time)
		}
	}
	return all
}

// expiredSince sums the time that Secrets of a namespace have held expired tokens.
func (w *watcher) expiredSince(namespace string, begin, end time.Time) time.Duration {
	var sum time.Duration
	for _, c := range w.record() {
		if c.namespace == namespace {
			sum += overlap(c.expires, c.at, begin, end)
		}
	}
	for _, e := range w.expiries(namespace) {
		sum += overlap(e, end, begin, end)
	}
	return sum
}

func (w *watcher) isReady(namespace, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.ready {
		if key.Namespace == namespace && key.Name == name {
			return true
		}
	}
	return false
}
