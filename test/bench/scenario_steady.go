package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// lives is for how many lives of a token the steady state is watched.
const lives = 2

// steady keeps n grants fresh, with tokens that live so short that it is the load of many more.
func steady(ctx context.Context, w *world, o options, t *table) error {
	w.endpoint.life.Store(int64(o.life / time.Second))
	m, err := w.manager(ctx)
	if err != nil {
		return err
	}
	if _, err := w.burstOf(ctx, "steady", o.n); err != nil {
		return err
	}
	// The burst makes all of them due at the same time; after one life they have been spread.
	if err := pause(ctx, o.life); err != nil {
		return err
	}
	w.seen.record()
	asked := w.endpoint.counts()
	api, err := w.apiRequests(ctx)
	if err != nil {
		return err
	}
	before, err := usageOf(m)
	if err != nil {
		return err
	}
	if err := pause(ctx, lives*o.life); err != nil {
		return err
	}
	after, err := usageOf(m)
	if err != nil {
		return err
	}
	apiAfter, err := w.apiRequests(ctx)
	if err != nil {
		return err
	}
	did, changes := w.endpoint.counts().since(asked), w.seen.record()
	if len(changes) == 0 {
		return fmt.Errorf("no token was refreshed")
	}
	n := float64(did.exchanges)
	t.add("refreshes a second", fmt.Sprintf("%.1f", n/(lives*o.life).Seconds()))
	lateness(t, changes)
	requests(t, o, did, len(changes), api, apiAfter)
	base, err := floor(ctx, bare{Kubeconfig: w.plane.Kubeconfig, Namespace: "steady", Issuer: w.endpoint.issuer("good"), N: o.n, Refresh: true})
	if err != nil {
		return err
	}
	if o.profile != "" {
		if err := w.profile(ctx, m, o.profile, o.life/2); err != nil {
			return err
		}
	}
	t.ratio("CPU of the manager for each refresh", time.Duration(float64(after.cpu-before.cpu)/n), base.CPU/time.Duration(o.n), 0)
	return nil
}

// requests tells what each refresh asked of the issuer, Nextcloud and the API server.
func requests(t *table, o options, did counts, seen int, api, apiAfter apiRequests) {
	n := float64(did.exchanges)
	t.goal("exchanges for each refresh seen", fmt.Sprintf("%.3f", n/float64(seen)), "1", within(n/float64(seen), 1, 0.02))
	shared := float64(did.subjects) / n
	t.goal("client_credentials for each refresh", fmt.Sprintf("%.4f", shared), "depends on the life: 0.02 at 300 s", o.life < 300*time.Second || shared <= 0.02)
	writes := float64(apiAfter.since(api, "POST", "PUT", "PATCH", "DELETE", "APPLY")) / n
	t.goal("API writes for each refresh", fmt.Sprintf("%.3f", writes), "≤ 2", writes <= 2.02)
	reads := float64(apiAfter.since(api, "GET", "LIST")) / n
	t.goal("API reads for each refresh", fmt.Sprintf("%.4f", reads), "0", reads < 0.01)
	t.goal("requests to Nextcloud for each refresh", fmt.Sprintf("%.4f", float64(did.checks)/n), "only when due", did.checks == 0)
}

func within(value, want, by float64) bool { return value >= want-by && value <= want+by }

// lateness tells how good the refreshes were.
func lateness(t *table, changes []change) {
	late := make([]time.Duration, len(changes))
	least, expired := 1.0, 0
	for i, c := range changes {
		late[i] = c.late
		least = min(least, c.left)
		if c.expired > 0 {
			expired++
		}
	}
	p99 := percentile(late, 99)
	t.goal("lateness, 99th percentile", short(p99), "≤ 1 s", p99 <= time.Second)
	t.add("lateness, median", short(percentile(late, 50)))
	t.goal("least life left in a Secret", fmt.Sprintf("%.1f %%", 100*least), "≥ 25 %", least >= 0.25)
	t.goal("Secrets that held an expired token", fmt.Sprint(expired), "0", expired == 0)
}

func percentile[T cmp.Ordered](values []T, p int) T {
	var none T
	if len(values) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
