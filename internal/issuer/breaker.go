package issuer

import (
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// turn notes when the breaker opens and closes. A try that failed is no news.
func (g *gate) turn(from, to gobreaker.State, tell func(answers bool)) {
	g.mu.Lock()
	switch to {
	case gobreaker.StateOpen:
		g.opened = g.clock.Now()
	case gobreaker.StateClosed:
		g.recovered = g.clock.Now()
	case gobreaker.StateHalfOpen:
	}
	g.mu.Unlock()
	if tell != nil && (to == gobreaker.StateClosed || from == gobreaker.StateClosed) {
		tell(to == gobreaker.StateClosed)
	}
}

// RecoveredAt is when the issuer answered again after it had been believed to be down; zero when it never was.
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
