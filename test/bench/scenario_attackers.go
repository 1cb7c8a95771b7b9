package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// attackers are the realms whose token endpoint takes as long, or costs as much, as a tenant likes.
var attackers = []string{"trickle", "hang", "late", "large"}

const (
	// attackingGrants are those of the four attacking namespaces together.
	attackingGrants = 200
	// newGrants are applied one after the other, to see when each is Ready. Of 100 or
	// fewer the 99th percentile would be the slowest one.
	newGrants = 200
	// slowest are the samples that are printed.
	slowest = 3
)

// sample is the way of one grant to Ready. All durations are from the begin of its creation.
type sample struct {
	begin time.Time
	// created is when the API server had taken the grant, published when its Secret was seen, and ready when it was Ready.
	created, published, ready time.Duration
	// waiting is what the grant said last before it was Ready; empty where it said nothing.
	waiting string
}

func (s sample) String() string {
	text := fmt.Sprintf("%s: created %s, Secret %s", short(s.ready), short(s.created), short(s.published))
	if s.waiting != "" {
		text += "; " + s.waiting
	}
	return text
}

func readyTimes(samples []sample) []time.Duration {
	took := make([]time.Duration, len(samples))
	for i, s := range samples {
		took[i] = s.ready
	}
	return took
}

// addSlowest prints the slowest samples, with what they waited for.
func (t *table) addSlowest(where string, samples []sample) {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return cmp.Compare(b.ready, a.ready) })
	for i, s := range sorted[:min(slowest, len(sorted))] {
		t.add(fmt.Sprintf("slowest new grant %d of %d, %s", i+1, len(sorted), where), s.String())
	}
}

// attack answers for such a realm, and says whether it is one.
func attack(w http.ResponseWriter, r *http.Request, realm string) bool {
	wait := func(d time.Duration) bool {
		select {
		case <-r.Context().Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	switch realm {
	case "trickle":
		for range 120 {
			if _, err := w.Write([]byte(" ")); err != nil || http.NewResponseController(w).Flush() != nil || !wait(250*time.Millisecond) {
				break
			}
		}
	case "hang":
		wait(hangs)
	case "late":
		wait(29 * time.Second)
	case "large":
		_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`))
	default:
		return false
	}
	return true
}

// attacked measures the grants of one namespace alone, and then beside namespaces whose issuers are attackers.
func attacked(ctx context.Context, w *world, o options, t *table) error {
	w.endpoint.life.Store(int64(o.life / time.Second))
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if _, err := w.burstOf(ctx, "good", o.n/2); err != nil {
		return err
	}
	alone, err := w.latenessOf(ctx, o)
	if err != nil {
		return err
	}
	first, err := w.timeToReady(ctx, "new-alone")
	if err != nil {
		return err
	}
	for _, realm := range attackers {
		if err := w.namespace(ctx, realm, realm, noLimit); err != nil {
			return err
		}
		if err := apply(ctx, w.client, realm, attackingGrants/len(attackers), ""); err != nil {
			return err
		}
	}
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	ready, err := w.timeToReady(ctx, "new-beside")
	if err != nil {
		return err
	}
	beside, err := w.latenessOf(ctx, o)
	if err != nil {
		return err
	}
	t.add("good grants, and those at issuers that trickle, hang, answer after 29 s, or answer 1 MiB", fmt.Sprintf("%d, %d", o.n/2, attackingGrants))
	readyBeside, readyAlone := readyTimes(ready), readyTimes(first)
	t.ratio(fmt.Sprintf("time to Ready of a new grant (99 %% of %d), floor: alone", newGrants), percentile(readyBeside, 99), percentile(readyAlone, 99), 1.2)
	t.ratio("the same of the median", percentile(readyBeside, 50), percentile(readyAlone, 50), 0)
	t.addSlowest("alone", first)
	t.addSlowest("beside", ready)
	t.ratio("lateness of refreshes (99 %) + 1 s, floor: alone", max(beside.p99, 0)+time.Second, max(alone.p99, 0)+time.Second, 1.2)
	t.goal("good tokens that expired", fmt.Sprint(beside.expired), "0", beside.expired == 0)
	return nil
}

// timeToReady applies grants to a new namespace, one after the other.
func (w *world) timeToReady(ctx context.Context, namespace string) ([]sample, error) {
	if err := w.namespace(ctx, namespace, "good", noLimit); err != nil {
		return nil, err
	}
	var samples []sample
	for i := range newGrants {
		begin := time.Now()
		if err := w.client.Create(ctx, grant(namespace, i, w.endpoint.URL+"/nextcloud")); err != nil {
			return nil, err
		}
		s := sample{begin: begin, created: time.Since(begin)}
		for w.seen.readyIn(namespace) <= i {
			if time.Since(begin) > time.Minute {
				return nil, fmt.Errorf("grant %d of namespace %s is not Ready after a minute", i, namespace)
			}
			if err := pause(ctx, time.Millisecond); err != nil {
				return nil, err
			}
		}
		s.ready = time.Since(begin)
		samples = append(samples, s)
	}
	for i := range samples { // Secrets have a watch of their own, which may have been behind.
		s := &samples[i]
		published, waiting := w.seen.stages(client.ObjectKey{Namespace: namespace, Name: grantName(i)})
		s.published, s.waiting = published.Sub(s.begin), waiting
	}
	return samples, nil
}
