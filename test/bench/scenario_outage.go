package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// outageRate is the limit of the issuer that goes down.
	outageRate = 50
	// outageWarm is how long before the outage the probes are not counted: requests under way, and the breaker's own count.
	outageWarm = 2 * time.Second
)

// outage takes the issuer away while many grants come due, and brings it back.
func outage(ctx context.Context, w *world, o options, t *table) error {
	// All come due while the issuer is down, and live on long enough to be saved afterwards at the limited rate.
	n := min(o.n, outageRate*int(o.outage/time.Second))
	life := 6 * o.outage
	w.endpoint.life.Store(int64(life / time.Second))
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := w.namespace(ctx, "outage", "good", outageRate); err != nil {
		return err
	}
	if err := apply(ctx, w.client, "outage", n, ""); err != nil {
		return err
	}
	if err := settle(ctx, "grants Ready", 10*time.Minute, func() bool { return w.seen.readyIn("outage") == n }); err != nil {
		return err
	}
	// Down from when the first is due until the last one is.
	if err := pause(ctx, life*6/10-time.Duration(n/outageRate)*time.Second); err != nil {
		return err
	}
	w.endpoint.down.Store(true)
	down := time.Now()
	if err := pause(ctx, o.outage); err != nil {
		return err
	}
	probes := w.probesSince(down)
	w.seen.record()
	w.endpoint.down.Store(false)
	back := time.Now()
	due := w.seen.due("outage", back)
	if err := settle(ctx, "all due grants refreshed", life, func() bool { return w.seen.due("outage", back) == 0 }); err != nil {
		return err
	}
	took := time.Since(back)
	exchanges, _ := w.endpoint.record()
	t.add("grants, and those that are due when the issuer is back", fmt.Sprintf("%d, %d", n, due))
	if len(exchanges) > 0 {
		t.add("until the first, half, and 90 % are refreshed", fmt.Sprintf("%s, %s, %s", short(exchanges[0].Sub(back)),
			short(exchanges[len(exchanges)/2].Sub(back)), short(exchanges[len(exchanges)*9/10].Sub(back))))
	}
	t.goal("requests a second that reach the dead issuer", fmt.Sprintf("%.2f", probes/o.outage.Seconds()), "≤ 1", probes/o.outage.Seconds() <= 1)
	t.ratio("until all are refreshed, floor: their number ÷ the rate", took, time.Duration(due)*time.Second/outageRate, 1.2)
	t.goal("largest number of exchanges in one second", fmt.Sprint(peak(exchanges)), fmt.Sprintf("≤ %d and the burst", 2*outageRate), peak(exchanges) <= 2*outageRate)
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	lost, changes := 0, w.seen.record()
	most, median := disorder(changes, back)
	t.add("served too late by the order of the life left: median, 99 %", fmt.Sprintf("%s, %s", short(median), short(most)))
	for _, c := range changes {
		if c.expired > 0 {
			lost++
		}
	}
	t.goal("tokens that expired", fmt.Sprint(lost+w.seen.dead("outage")), "0", lost+w.seen.dead("outage") == 0)
	return nil
}

// probesSince counts the requests that reached the issuer while it was down. Those in its first moments were under way.
func (w *world) probesSince(down time.Time) float64 {
	_, probes := w.endpoint.record()
	n := 0
	for _, p := range probes {
		if p.Sub(down) > outageWarm {
			n++
		}
	}
	return float64(n)
}
