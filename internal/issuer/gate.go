package issuer

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/internal/stage"
	"github.com/tokengrant/tokengrant/keycloak"
)

const (
	defaultRequestsPerSecond = 50
	defaultBurst             = 100
	defaultConcurrency       = 16

	// tripAfter requests in a row without a usable answer open the breaker.
	tripAfter = 5
	// openFor is how long it stays open before one request tries again.
	openFor = 2 * time.Second
	// doubtFor is how long nobody has asked for a token in vain when an issuer is believed again for its documents only.
	doubtFor = time.Minute
	// ahead is how many more slots there are than requests may be under way, so that the next request is there when one ends.
	ahead = 4
	// maxQueue is the longest a request waits for its turn. The rest of its timeout is the issuer's.
	maxQueue = 5 * time.Second
	// A 429 stops all requests for as long as its Retry-After says, within these bounds.
	minPause = time.Second
	maxPause = time.Minute
)

// gate stands before one issuer. A request passes when the issuer is not believed to be down, has not asked for
// a pause, and there is a free place and a turn for it.
type gate struct {
	clock         clock.PassiveClock
	limits        atomic.Pointer[limits]
	breaker       *gobreaker.TwoStepCircuitBreaker[any]
	onStateChange func(StateChange)

	tenants tenants

	mu        sync.Mutex
	paused    time.Time // no request before it
	opened    time.Time // when the breaker opened last
	recovered time.Time // when it closed last, or became suspect
	fault     error     // what the last request without a usable answer met
	failing   string    // the method of that request
	failed    time.Time // when it did
}

// roundTripper is a transport through the gate. A connection has one client certificate, or none, for its life: each has a
// roundTripper of its own.
type roundTripper struct {
	*gate

	wire http.RoundTripper
}

// limits are replaced as a whole; requests under way give their place back to those they came in with.
type limits struct {
	turns       *rate.Limiter
	places      *semaphore.Weighted
	concurrency int
}

// errNoWord tells the breaker that a request says nothing about the issuer: its caller gave it up, or brought a
// certificate that is refused.
var errNoWord = errors.New("no word about the issuer")

func newGate(c Config) *gate {
	g := &gate{clock: c.Clock, onStateChange: c.OnStateChange}
	if g.onStateChange == nil {
		g.onStateChange = func(StateChange) {}
	}
	g.setLimits(c)
	g.tenants = tenants{accused: map[string]bool{}, failing: map[string]*tenant{}, onStateChange: g.announce}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     openFor,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= tripAfter && g.tenants.agree()
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoWord) },
		OnStateChange: func(_ string, from, to gobreaker.State) { g.turn(from, to) },
	})
	return g
}

// setLimits is effective for the next request.
func (g *gate) setLimits(c Config) {
	rps := rate.Limit(orDefault(c.RequestsPerSecond, defaultRequestsPerSecond))
	concurrency := orDefault(c.Concurrency, defaultConcurrency)
	next := &limits{
		turns:       rate.NewLimiter(rps, orDefault(c.Burst, defaultBurst)),
		places:      semaphore.NewWeighted(int64(concurrency)),
		concurrency: concurrency,
	}
	if now := g.limits.Load(); now != nil {
		// A new limiter starts with a full burst; the old one knows what has been spent.
		next.turns = now.turns
		next.turns.SetLimit(rps)
		next.turns.SetBurst(orDefault(c.Burst, defaultBurst))
	}
	g.limits.Store(next)
}

// slots are what the limits can serve soon: what may be under way, and not more than two seconds of the rate.
func (g *gate) slots() limit.Limits {
	l := g.limits.Load()
	return limit.Limits{Slots: max(1, min(l.concurrency+ahead, int(math.Ceil(2*float64(l.turns.Limit())))))}
}

func orDefault[T int | float64](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}

func (p roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, err := p.enter(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	recordSentAt(req.Context(), p.clock.Now())
	resp, err := p.wire.RoundTrip(req)
	if _, ours := errors.AsType[*httpclient.CertificateRefusedError](err); ours {
		// One client's certificate must not stop the others.
		leave(errNoWord)
		return nil, err
	}
	if err != nil {
		leave(err)
		return nil, err
	}
	var fault error
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		p.pause(resp.Header)
	case resp.StatusCode >= http.StatusInternalServerError:
		fault = &keycloak.Error{
			Reason: keycloak.ReasonIssuerUnreachable, Status: resp.StatusCode,
			Hint: "the issuer, or a proxy before it, has a fault; look at its log",
		}
	}
	// The place is kept until the answer is read: an issuer that stalls in the middle of its answers is as good as down.
	resp.Body = httpclient.OnEnd(resp.Body, func(err error) { leave(cmp.Or(err, fault)) })
	return resp, nil
}

// enter waits for a place and a turn. The returned function, to be called once, gives the place back and tells the
// breaker how it went.
func (g *gate) enter(req *http.Request) (leave func(fault error), err error) {
	ctx := req.Context()
	if g.breaker.State() == gobreaker.StateOpen {
		return nil, g.down()
	}
	of := tenantOf(ctx)
	if err := g.tenants.heldBack(of); err != nil {
		return nil, err
	}
	if err := g.pausing(); err != nil {
		return nil, err
	}
	limits, err := g.queue(ctx)
	if err != nil {
		return nil, err
	}
	// Waiting may have taken seconds.
	err = g.pausing()
	var done func(error)
	if err == nil {
		done, err = g.allow(of)
	}
	if err != nil {
		limits.places.Release(1)
		return nil, err
	}
	return func(fault error) {
		limits.places.Release(1)
		switch {
		case fault == nil && g.suspect(req.Method):
			done(errNoWord)
			g.doubt()
		case fault != nil && errors.Is(ctx.Err(), context.Canceled):
			done(errNoWord)
		default:
			g.note(fault, req.Method)
			done(fault)
			if fault == nil && of == "" && req.Method != http.MethodPost && g.tenants.someHeldBack() {
				g.doubt()
			}
		}
	}, nil
}

// allow asks the breaker of the issuer, and that of the tenant if there is one.
func (g *gate) allow(of string) (done func(error), err error) {
	tenantDone, err := g.tenants.allow(of)
	if err != nil {
		return nil, err
	}
	sharedDone, err := g.breaker.Allow()
	if err != nil {
		tenantDone(errNoWord)
		return nil, g.down()
	}
	return func(fault error) {
		g.tenants.record(of, fault)
		sharedDone(fault)
		tenantDone(fault)
	}, nil
}

// note keeps what a request met, for those who will not be let in.
func (g *gate) note(fault error, method string) {
	if fault == nil || errors.Is(fault, errNoWord) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.failing, g.failed = fault, method, g.clock.Now()
}

// queue waits for a place and a turn.
func (g *gate) queue(ctx context.Context) (*limits, error) {
	since := g.clock.Now()
	defer func() { stage.Waited(ctx, g.clock.Since(since)) }()
	limits := g.limits.Load()
	queue, cancel := context.WithTimeout(ctx, maxQueue)
	defer cancel()
	if limits.places.Acquire(queue, 1) != nil {
		return nil, ownLimit(ctx, "too many requests are under way")
	}
	if limits.turns.Wait(queue) != nil {
		limits.places.Release(1)
		return nil, ownLimit(ctx, "too many requests wait for their turn")
	}
	return limits, nil
}

// pause obeys a Retry-After (RFC 9110 §10.2.3). The longest one counts.
func (g *gate) pause(h http.Header) {
	now := g.clock.Now()
	wait := minPause
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		wait = time.Duration(min(seconds, int(maxPause/time.Second))) * time.Second
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		wait = at.Sub(now)
	}
	until := now.Add(min(max(wait, minPause), maxPause))
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.paused) {
		g.paused = until
	}
}

func (g *gate) pausing() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.paused.Sub(g.clock.Now())
	if left <= 0 {
		return nil
	}
	return &keycloak.Error{
		Reason: keycloak.ReasonThrottled, Status: http.StatusTooManyRequests, RetryAfter: left,
		Hint: "the issuer asked for a pause; lower the limits of the issuer object",
	}
}

// ownLimit is the error of a request that found no turn in time, unless its caller gave up.
func ownLimit(ctx context.Context, description string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &keycloak.Error{
		Reason: keycloak.ReasonThrottled, Description: description, RetryAfter: maxQueue,
		Hint: "raise the limits of the issuer object if the issuer can bear it",
	}
}
