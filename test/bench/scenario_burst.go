package main

import (
	"context"
	"fmt"
	"time"
)

// noLimit is a rate that no run reaches.
const noLimit = 10000

// burst applies n grants at once, with a Nextcloud to be asked, and a tenth of that before: what a grant costs must not
// depend on how many there are.
func burst(ctx context.Context, w *world, o options, t *table) error {
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	small, err := w.burstOf(ctx, "small", max(o.n/10, 1))
	if err != nil {
		return err
	}
	if err := w.stopManagers(); err != nil {
		return err
	}
	if err := w.namespace(ctx, "floor", "good", noLimit); err != nil {
		return err
	}
	base, err := floor(ctx, bare{
		Kubeconfig: w.plane.Kubeconfig, Namespace: "floor", Issuer: w.endpoint.issuer("good"), Nextcloud: w.endpoint.URL + "/nextcloud", N: o.n,
	})
	if err != nil {
		return err
	}
	if err := w.remove(ctx, "floor"); err != nil {
		return err
	}
	m, err := w.manager(ctx)
	if err != nil {
		return err
	}
	before, err := usageOf(m)
	if err != nil {
		return err
	}
	asked := w.endpoint.counts()
	api, err := w.apiRequests(ctx)
	if err != nil {
		return err
	}
	all, err := w.burstOf(ctx, "burst", o.n)
	if err != nil {
		return err
	}
	after, err := usageOf(m)
	if err != nil {
		return err
	}
	did := w.endpoint.counts().since(asked)
	apiAfter, err := w.apiRequests(ctx)
	if err != nil {
		return err
	}
	t.ratio(fmt.Sprintf("%d grants applied at once, all Ready", o.n), all, base.Took, 1.3)
	t.ratio("CPU of the manager for each", (after.cpu-before.cpu)/time.Duration(o.n), base.CPU/time.Duration(o.n), 0)
	each, eachOfFew := all/time.Duration(o.n), small/time.Duration(max(o.n/10, 1))
	t.ratio(fmt.Sprintf("time for each of %d, floor: each of %d", o.n, o.n/10), each, eachOfFew, 1.2)
	t.goal("exchanges for each grant", fmt.Sprintf("%.3f", float64(did.exchanges)/float64(o.n)), "1", did.exchanges == int64(o.n))
	writes := float64(apiAfter.since(api, "POST", "PUT", "PATCH", "APPLY"))/float64(o.n) - 1
	t.goal("API writes for each grant, beside its own", fmt.Sprintf("%.2f", writes), "about 2", writes < 2.2)
	t.add("client_credentials for each grant", fmt.Sprintf("%.3f", float64(did.subjects)/float64(o.n)))
	t.add("requests to Nextcloud for each grant", fmt.Sprintf("%.3f", float64(did.checks)/float64(o.n)))
	return nil
}

// burstOf applies n grants in a namespace and waits until all are Ready.
func (w *world) burstOf(ctx context.Context, namespace string, n int) (time.Duration, error) {
	if err := w.namespace(ctx, namespace, "good", noLimit); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := apply(ctx, w.client, namespace, n, w.endpoint.URL+"/nextcloud"); err != nil {
		return 0, err
	}
	err := settle(ctx, fmt.Sprintf("%d grants Ready", n), 10*time.Minute, func() bool { return w.seen.readyIn(namespace) == n })
	return time.Since(begin), err
}
