package issuer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokengrant/tokengrant/keycloak"
)

func TestA429PausesEverybody(t *testing.T) {
	for name, tc := range map[string]struct {
		header []string
		want   time.Duration
	}{
		"seconds":         {[]string{"Retry-After", "7"}, 7 * time.Second},
		"a date":          {[]string{"Retry-After", "Sat, 01 Jan 2000 00:00:20 GMT"}, 20 * time.Second},
		"for ever":        {[]string{"Retry-After", "999999999999"}, time.Minute},
		"a past date":     {[]string{"Retry-After", "Fri, 31 Dec 1999 23:00:00 GMT"}, time.Second},
		"nothing said":    {nil, time.Second},
		"a negative time": {[]string{"Retry-After", "-5"}, time.Second},
		"nonsense":        {[]string{"Retry-After", "soon"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // starts at 2000-01-01
				w, g := newWire(Config{})
				w.gives(http.StatusTooManyRequests, tc.header...)
				if err := ask(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				w.gives(http.StatusOK)
				var refused *keycloak.Error
				if err := ask(t.Context(), g); !errors.As(err, &refused) || refused.Reason != keycloak.ReasonThrottled || refused.RetryAfter != tc.want {
					t.Fatalf("error %#v, want Throttled for %s", err, tc.want)
				}
				time.Sleep(tc.want)
				if err := ask(t.Context(), g); err != nil || w.requests.Load() != 2 {
					t.Errorf("after the pause: %v, %d requests", err, w.requests.Load())
				}
			})
		})
	}
}

func TestThePauseReachesTheQueueAndTheLongestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{RequestsPerSecond: 1, Burst: 2})
		waits := []string{"30", "3"}
		w.answers(func(*http.Request) (*http.Response, error) {
			h := http.Header{"Retry-After": {waits[w.requests.Load()-1]}}
			time.Sleep(time.Duration(w.requests.Load()) * 100 * time.Millisecond) // one after the other
			return &http.Response{StatusCode: 429, Header: h, Body: http.NoBody}, nil
		})
		many(t.Context(), g, 4)
		if n := w.requests.Load(); n != 2 {
			t.Errorf("%d requests, want the two that were sent before the pause", n)
		}
		time.Sleep(20 * time.Second)
		if err := ask(t.Context(), g); reasonOf(err) != keycloak.ReasonThrottled {
			t.Errorf("error %v: the shorter pause replaced the longer one", err)
		}
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{RequestsPerSecond: 10, Burst: 5, Concurrency: 1000})
		start := time.Now()
		for _, err := range many(t.Context(), g, 45) {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 4*time.Second || w.requests.Load() != 45 {
			t.Errorf("%d requests took %s, want 4 s: 5 at once and 10 per second", w.requests.Load(), took)
		}
		g.setLimits(Config{RequestsPerSecond: 100, Burst: 5})
		start = time.Now()
		many(t.Context(), g, 50)
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("with the new limits 50 requests took %s, want 500 ms", took)
		}
	})
}

func TestTheQueueIsShort(t *testing.T) {
	for name, c := range map[string]Config{
		"no turn":  {RequestsPerSecond: 1, Burst: 1, Concurrency: 1000},
		"no place": {RequestsPerSecond: 1000, Burst: 1000, Concurrency: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, g := newWire(c)
				w.answers(func(*http.Request) (*http.Response, error) {
					time.Sleep(6 * time.Second)
					return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
				})
				throttled := 0
				for _, err := range many(t.Context(), g, 100) {
					var refused *keycloak.Error
					if errors.As(err, &refused) && refused.Reason == keycloak.ReasonThrottled && refused.RetryAfter > 0 {
						throttled++
					} else if err != nil {
						t.Errorf("error %v", err)
					}
				}
				if sent := int(w.requests.Load()); sent < 5 || sent > 6 || sent+throttled != 100 {
					t.Errorf("%d sent, %d throttled", sent, throttled)
				}
				time.Sleep(time.Minute)
				if held := g.limits.Load().places; !held.TryAcquire(int64(c.Concurrency)) {
					t.Error("some who found no turn kept their place")
				}
			})
		})
	}
}

func TestWhoGivesUpInTheQueueGetsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{RequestsPerSecond: 1, Burst: 1})
		_ = ask(t.Context(), g)
		why := errors.New("the grant is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		if err := ask(ctx, g); !errors.Is(err, why) || w.requests.Load() != 1 {
			t.Errorf("error %v, want %v", err, why)
		}
	})
}

func TestConcurrencyIsBoundedUntilTheAnswerIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{RequestsPerSecond: 1e6, Burst: 1e6, Concurrency: 4})
		var now, most atomic.Int64
		w.answers(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			return &http.Response{StatusCode: 200, Body: slow{&now}}, nil
		})
		many(t.Context(), g, 40)
		if most.Load() != 4 {
			t.Errorf("%d at the same time, want 4", most.Load())
		}
	})
}

// slow takes 10 ms to be read, and then its request is over.
type slow struct{ now *atomic.Int64 }

func (s slow) Read([]byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	s.now.Add(-1)
	return 0, io.EOF
}
func (s slow) Close() error { return nil }
