package main

import (
	"context"
	"fmt"
	"time"
)

// neighbours refreshes good grants alone, and then beside as many whose issuer is dead, whose secret is wrong, and whose
// Nextcloud hangs.
func neighbours(ctx context.Context, w *world, o options, t *table) error {
	n := o.n / 2
	w.endpoint.life.Store(int64(o.life / time.Second))
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if _, err := w.burstOf(ctx, "good", n); err != nil {
		return err
	}
	alone, err := w.latenessOf(ctx, o)
	if err != nil {
		return err
	}
	for _, bad := range []struct{ realm, nextcloud string }{
		{"dead", ""}, {"wrong", ""}, {"hanging", w.endpoint.URL + "/hanging"},
	} {
		if err := w.namespace(ctx, bad.realm, bad.realm, noLimit); err != nil {
			return err
		}
		if err := apply(ctx, w.client, bad.realm, n/2, bad.nextcloud); err != nil {
			return err
		}
	}
	applied, err := w.latenessOf(ctx, o)
	if err != nil {
		return err
	}
	beside, err := w.latenessOf(ctx, o)
	if err != nil {
		return err
	}
	t.add("good grants, and bad ones of each of three kinds", fmt.Sprintf("%d, %d", n, n/2))
	// A second more on both sides: alone they are late by next to nothing, and its multiples say nothing.
	t.ratio("lateness of the good ones (99 %) + 1 s, floor: alone", max(beside.p99, 0)+time.Second, max(alone.p99, 0)+time.Second, 1.2)
	t.ratio("the same of the median", max(beside.p50, 0)+time.Second, max(alone.p50, 0)+time.Second, 0)
	t.ratio("the same (99 %) while the bad ones are applied", max(applied.p99, 0)+time.Second, max(alone.p99, 0)+time.Second, 0)
	t.add("API writes a second: alone, while they are applied, beside them", fmt.Sprintf("%.0f, %.0f, %.0f", alone.writes, applied.writes, beside.writes))
	t.goal("good tokens that expired", fmt.Sprint(applied.expired+beside.expired), "0", applied.expired+beside.expired == 0)
	return nil
}

type lateStats struct {
	p50, p99 time.Duration
	expired  int
	// writes are those of all to the API server, a second.
	writes float64
}

// latenessOf watches the namespace "good" for one and a half lives.
func (w *world) latenessOf(ctx context.Context, o options) (lateStats, error) {
	w.seen.record()
	before, err := w.apiRequests(ctx)
	if err != nil {
		return lateStats{}, err
	}
	during := o.life * 3 / 2
	if err := pause(ctx, during); err != nil {
		return lateStats{}, err
	}
	after, err := w.apiRequests(ctx)
	if err != nil {
		return lateStats{}, err
	}
	var late []time.Duration
	s := lateStats{expired: w.seen.dead("good"), writes: float64(after.since(before, "POST", "PUT", "PATCH", "APPLY")) / during.Seconds()}
	for _, c := range w.seen.record() {
		if c.namespace != "good" {
			continue
		}
		late = append(late, c.late)
		if c.expired > 0 {
			s.expired++
		}
	}
	s.p50, s.p99 = percentile(late, 50), percentile(late, 99)
	return s, nil
}
