//go:build integration

package flood

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tokengrant/tokengrant/keycloak"
)

const (
	// many grants are applied by one tenant.
	many = 10_000
	// rate is how many requests a second the issuer of both tenants allows: who is served after the flood waits for eight minutes.
	rate = 20
	// waiting is how many of the flood wait at least while the other tenant is looked at. Served after them it would wait for
	// more than four minutes.
	waiting = 5000
	// life of the tokens; a refresh is due after 25 to 30 s of it.
	life = 45 * time.Second
	// soon is when the other tenant has its tokens, on a machine that is busy with the flood.
	soon = 30 * time.Second
	// late is how much later than it was due a refresh may be: less than what is left of the life then.
	late = 10 * time.Second
	// patience is how long anything else may take; no figure depends on it.
	patience = 3 * time.Minute
)

// TestFloodOfOneTenant: the grants of a namespace wait for each other only. Another tenant of the same issuer gets its first
// tokens soon, and its refreshes are on time, while thousands of the first one's wait.
func TestFloodOfOneTenant(t *testing.T) {
	w := newWorld(t)
	for _, g := range w.apply(victim, "before", 3) {
		w.awaitToken(g)
	}
	var applied atomic.Int64
	var flood errgroup.Group
	flood.Go(func() error { return w.flood(&applied) })
	// The victim's exchanges are a few of all these.
	inLine := func() int { return int(applied.Load()) - w.issuer.Count(keycloak.GrantTypeTokenExchange) }
	w.eventually(fmt.Sprintf("%d grants that wait", waiting), func() bool { return inLine() >= waiting })
	began := time.Now()

	firsts := w.newcomers("amid")
	if err := flood.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(w.began)
	firsts = append(firsts, w.newcomers("after")...)
	w.eventually("a refresh of each of the first tokens", func() bool { return w.seen.refreshedSince(began, "before") == 3 })
	left := inLine()
	w.stop()

	for _, first := range firsts {
		if first > soon {
			t.Errorf("the first token of a new grant came after %s, promised are %s", first, soon)
		}
	}
	if left < waiting {
		t.Errorf("only %d of the flood wait at the end: that is no flood", left)
	}
	refreshes, latest := w.seen.lateness()
	if latest > late {
		t.Errorf("a refresh came %s too late, promised are %s", latest, late)
	}
	if w.seen.expired > 0 {
		t.Errorf("expired tokens stood in Secrets, %d times", w.seen.expired)
	}
	fmt.Printf("%d grants of one tenant were applied in %.0f s; %d of them waited for the issuer's %d requests a second at the end.\n", many, took.Seconds(), left, rate)
	fmt.Printf("Meanwhile %d new grants of another tenant had their tokens after %.1f s at most; its %d refreshes came %.1f s after they were due at most.\n",
		len(firsts), slices.Max(firsts).Seconds(), refreshes, latest.Seconds())
}

// newcomers applies grants of the victim one after the other, and says how long each waits for its token.
func (w *world) newcomers(name string) (took []time.Duration) {
	w.t.Helper()
	for i := range 3 {
		began := time.Now()
		w.awaitToken(w.apply(victim, fmt.Sprint(name, "-", i), 1)[0])
		took = append(took, time.Since(began))
	}
	return took
}
