package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"
)

// StateChange is a change of the state of an issuer.
type StateChange int

const (
	// Down: it is believed to be down, and is not asked for a while.
	Down StateChange = iota
	// Suspect: it gives out its documents, but the last one who asked it for a token got no answer. Somebody should try.
	Suspect
	// Back: it answers again.
	Back
)

// turn records when the breaker opens and closes. A failed probe changes nothing.
func (g *gate) turn(from, to gobreaker.State) {
	g.mu.Lock()
	switch to {
	case gobreaker.StateOpen:
		g.opened = g.clock.Now()
	case gobreaker.StateClosed:
		g.recovered = g.clock.Now()
	case gobreaker.StateHalfOpen:
	}
	g.mu.Unlock()
	g.announce(from, to)
}

// announce reports a change of the state, for all tenants or for one.
func (g *gate) announce(from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		g.onStateChange(Back)
	case from == gobreaker.StateClosed:
		g.onStateChange(Down)
	}
}

// suspect says that an answer to this request is no sign of life: it was another kind of request that failed. An issuer
// whose database is gone still gives out its documents.
func (g *gate) suspect(method string) bool {
	if g.breaker.State() != gobreaker.StateHalfOpen {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing == http.MethodPost && method != http.MethodPost && g.clock.Since(g.failed) < doubtFor
}

// doubt lets somebody try who has failed.
func (g *gate) doubt() {
	g.mu.Lock()
	g.recovered = g.clock.Now()
	g.mu.Unlock()
	g.onStateChange(Suspect)
}

// Doubt is what the last request for a token met, while the issuer gives out its documents and nobody has tried again; nil
// when there is no doubt.
func (i *Issuer) Doubt() error {
	if !i.gate.suspect(http.MethodGet) {
		return nil
	}
	i.gate.mu.Lock()
	defer i.gate.mu.Unlock()
	return i.gate.fault
}

// RecoveredAt is when there was last a reason to ask the issuer again after it had been believed to be down: it answered, or
// is suspect. Zero when it never was down.
func (i *Issuer) RecoveredAt() time.Time {
	i.gate.mu.Lock()
	defer i.gate.mu.Unlock()
	return i.gate.recovered
}

// notAsked stands for the fault that opened the breaker, so that every grant shows what is wrong with the
// issuer, not just the few that asked it.
type notAsked struct{ fault error }

func (e *notAsked) Error() string { return fmt.Sprintf("not asked again yet: %v", e.fault) }
func (e *notAsked) Unwrap() error { return e.fault }

// NotAsked says that an error is of a request that was not sent, because the issuer is believed to be down.
func NotAsked(err error) bool {
	_, ok := errors.AsType[*notAsked](err)
	return ok
}

func (g *gate) down() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &notAsked{g.fault}
}

// closedFor is how long the breaker lets nothing through; 0 when it is not open.
func (g *gate) closedFor() time.Duration {
	switch g.breaker.State() {
	case gobreaker.StateClosed:
		return 0
	case gobreaker.StateHalfOpen:
		return time.Second // one request is trying
	default: // open
		g.mu.Lock()
		defer g.mu.Unlock()
		return max(openFor-g.clock.Since(g.opened), time.Millisecond)
	}
}
