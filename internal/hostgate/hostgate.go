// Package hostgate keeps a server that hangs from keeping everybody waiting. Of all who would ask it, a few may wait for
// its answer; while none of them gets one, the others are told so at once.
package hostgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/httpclient"
)

const (
	// places is how many requests may be under way: enough for a server that answers, few enough to be missed by nobody.
	places = 8
	// patience is how long a request waits for a place, and how long the others may have gone without an answer.
	patience = time.Second
	// tripAfter requests in a row without an answer, only one request at a time finds out whether that has changed.
	tripAfter = 3
	// openFor is the pause between two of those.
	openFor = 15 * time.Second
)

// ErrBusy is the error of a request that was not sent.
var ErrBusy = errors.New("not asked: requests of before still wait for its answer")

// Gate is the way to one host. It is safe for concurrent use.
type Gate struct {
	next    http.RoundTripper
	clock   clock.PassiveClock
	places  *semaphore.Weighted
	breaker *gobreaker.TwoStepCircuitBreaker[any]

	mu       sync.Mutex
	underWay int
	// progress is when the last request ended, or the first of those under way began.
	progress time.Time
}

// New makes a gate before next.
func New(next http.RoundTripper, c clock.PassiveClock) *Gate {
	return &Gate{
		next: next, clock: c, places: semaphore.NewWeighted(places),
		breaker: gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
			MaxRequests: 1, Timeout: openFor,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
			IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) }, // It says nothing about the host.
		}),
	}
}

// RoundTrip sends a request when there is a place for it, and fails with ErrBusy otherwise. The place is given back when
// the body of the answer has been read or closed.
func (g *Gate) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, err := g.enter(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		leave(err)
		return nil, err
	}
	resp.Body = httpclient.OnEnd(resp.Body, leave)
	return resp, nil
}

func (g *Gate) enter(ctx context.Context) (leave func(error), err error) {
	done, err := g.breaker.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w; it is tried again within %s", ErrBusy, openFor)
	}
	if err := g.place(ctx); err != nil {
		done(context.Canceled)
		return nil, err
	}
	g.begin()
	return func(fault error) {
		g.places.Release(1)
		g.end()
		done(fault)
	}, nil
}

// place waits for a place only while there is hope for one.
func (g *Gate) place(ctx context.Context) error {
	if g.places.TryAcquire(1) {
		return nil
	}
	if g.stuck() {
		return ErrBusy
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if g.places.Acquire(short, 1) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return ErrBusy
}

func (g *Gate) stuck() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.underWay > 0 && g.clock.Since(g.progress) > patience
}

func (g *Gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.underWay == 0 {
		g.progress = g.clock.Now()
	}
	g.underWay++
}

func (g *Gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay--
	g.progress = g.clock.Now()
}
