package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// attackers are the realms whose token endpoint takes as long, or costs as much, as a tenant likes.
var attackers = []string{"trickle", "hang", "late", "large"}

const (
	// attackingGrants are those of the four attacking namespaces together.
	attackingGrants = 200
	// newGrants are applied one after the other, to see when each is Ready.
	newGrants = 50
)

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
	t.ratio("time to Ready of a new grant (99 %), floor: alone", percentile(ready, 99), percentile(first, 99), 1.2)
	t.ratio("the same of the median", percentile(ready, 50), percentile(first, 50), 0)
	t.ratio("lateness of refreshes (99 %) + 1 s, floor: alone", max(beside.p99, 0)+time.Second, max(alone.p99, 0)+time.Second, 1.2)
	t.goal("good tokens that expired", fmt.Sprint(beside.expired), "0", beside.expired == 0)
	return nil
}

// timeToReady applies grants to a new namespace, one after the other.
func (w *world) timeToReady(ctx context.Context, namespace string) ([]time.Duration, error) {
	if err := w.namespace(ctx, namespace, "good", noLimit); err != nil {
		return nil, err
	}
	var took []time.Duration
	for i := range newGrants {
		begin := time.Now()
		if err := w.client.Create(ctx, grant(namespace, i, w.endpoint.URL+"/nextcloud")); err != nil {
			return nil, err
		}
		for w.seen.readyIn(namespace) <= i {
			if time.Since(begin) > time.Minute {
				return nil, fmt.Errorf("grant %d of namespace %s is not Ready after a minute", i, namespace)
			}
			if err := pause(ctx, time.Millisecond); err != nil {
				return nil, err
			}
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}
