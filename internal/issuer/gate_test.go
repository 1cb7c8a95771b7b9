package issuer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// wire is an issuer without a network, so that synctest can hold the clock.
type wire struct {
	requests atomic.Int64
	answer   atomic.Pointer[func(*http.Request) (*http.Response, error)]
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.requests.Add(1)
	return (*w.answer.Load())(req)
}

func (w *wire) answers(f func(*http.Request) (*http.Response, error)) { w.answer.Store(&f) }

func (w *wire) gives(status int, header ...string) {
	w.answers(func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	})
}

func (w *wire) refuses() {
	w.answers(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED })
}

func newWire(c Config) (*wire, roundTripper) {
	c.Clock = clock.RealClock{}
	w := &wire{}
	w.gives(http.StatusOK)
	return w, roundTripper{newGate(c), w}
}

// ask sends one request and reads its answer.
func ask(ctx context.Context, g roundTripper) error { return send(ctx, g, http.MethodPost) }

func send(ctx context.Context, g roundTripper, method string) error {
	req, err := http.NewRequestWithContext(ctx, method, "https://id.example.com/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := g.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= http.StatusInternalServerError {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// many sends requests at the same time.
func many(ctx context.Context, g roundTripper, n int) (errs []error) {
	errs = make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = ask(ctx, g) })
	}
	wg.Wait()
	return errs
}

func TestADeadIssuerGetsFewRequests(t *testing.T) {
	for name, fail := range map[string]func(*wire){
		"refused connections": (*wire).refuses,
		"faults":              func(w *wire) { w.gives(http.StatusBadGateway) },
		"silence": func(w *wire) {
			w.answers(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		},
		"answers that stall": func(w *wire) {
			w.answers(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: stalled{r.Context()}}, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, g := newWire(Config{})
				fail(w)
				short := func() context.Context {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
					t.Cleanup(cancel)
					return ctx
				}
				for range tripAfter {
					_ = ask(short(), g)
				}
				start, before := time.Now(), w.requests.Load()
				for time.Since(start) < time.Minute {
					for range 100 {
						if err := ask(short(), g); err == nil {
							t.Fatal("an answer from a dead issuer")
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				if probes := w.requests.Load() - before; probes < 20 || probes > 30 {
					t.Errorf("60000 requests in a minute sent %d probes, want one in 2 s", probes)
				}
				w.gives(http.StatusOK)
				time.Sleep(openFor + time.Millisecond)
				for range 3 {
					if err := ask(t.Context(), g); err != nil {
						t.Errorf("after the cure: %v", err)
					}
				}
			})
		})
	}
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }
func (s stalled) Close() error             { return nil }

func TestWhoWaitsIsToldWhenTheIssuerTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []StateChange
		w, g := newWire(Config{OnStateChange: func(news StateChange) { told = append(told, news) }})
		w.refuses()
		for range 3 * tripAfter {
			_ = ask(t.Context(), g)
			time.Sleep(time.Second) // several tries fail while the breaker is open
		}
		w.gives(http.StatusOK)
		time.Sleep(openFor)
		back := time.Now()
		if err := ask(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, []StateChange{Down, Back}) {
			t.Errorf("told %v, want once that it is down and once that it is back", told)
		}
		if got := (&Issuer{gate: g.gate}).RecoveredAt(); got.Before(back) {
			t.Errorf("recovered at %v, want %v", got, back)
		}
	})
}

func TestDocumentsAreNoSignThatTokensAreSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []StateChange
		w, g := newWire(Config{OnStateChange: func(news StateChange) { told = append(told, news) }})
		i := &Issuer{gate: g.gate}
		w.answers(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return nil, syscall.ECONNRESET
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		many(t.Context(), g, tripAfter)
		for range 10 {
			time.Sleep(openFor + time.Millisecond)
			if err := send(t.Context(), g, http.MethodGet); err != nil {
				t.Fatal(err)
			}
			if got := i.Doubt(); !errors.Is(got, syscall.ECONNRESET) {
				t.Errorf("doubt %v, want what the last request for a token met", got)
			}
			before := w.requests.Load()
			many(t.Context(), g, 50)
			if tries := w.requests.Load() - before; tries != 1 {
				t.Errorf("%d tries, want 1", tries)
			}
		}
		want := append([]StateChange{Down}, slices.Repeat([]StateChange{Suspect}, 10)...)
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want that it is down, and then each time that it is suspect", told)
		}
		w.gives(http.StatusOK)
		time.Sleep(openFor + time.Millisecond)
		if err := ask(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if i.Doubt() != nil || !slices.Equal(told, append(want, Back)) {
			t.Errorf("told %v and in doubt for %v, want it back and no doubt", told, i.Doubt())
		}
	})
}

func TestDocumentsCountWhenNobodyHasAskedForATokenForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []StateChange
		w, g := newWire(Config{OnStateChange: func(news StateChange) { told = append(told, news) }})
		w.refuses()
		many(t.Context(), g, tripAfter)
		w.gives(http.StatusOK)
		time.Sleep(doubtFor)
		if err := send(t.Context(), g, http.MethodGet); err != nil || !slices.Equal(told, []StateChange{Down, Back}) {
			t.Errorf("told %v (%v), want that it is back", told, err)
		}
	})
}

func TestOneProbeGoesThroughAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{})
		w.refuses()
		many(t.Context(), g, tripAfter)
		time.Sleep(openFor + time.Millisecond)
		w.answers(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, syscall.ECONNRESET
		})
		before := w.requests.Load()
		many(t.Context(), g, 50)
		if probes := w.requests.Load() - before; probes != 1 {
			t.Errorf("%d probes at the same time, want 1", probes)
		}
	})
}

func TestWhatIsNotAskedShowsTheFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{})
		w.refuses()
		many(t.Context(), g, tripAfter)
		asked := w.requests.Load()
		if err := ask(t.Context(), g); !errors.Is(err, syscall.ECONNREFUSED) || w.requests.Load() != asked {
			t.Errorf("error %v after %d further requests; want the refused connection without asking", err, w.requests.Load()-asked)
		}
		time.Sleep(500 * time.Millisecond)
		if left := g.closedFor(); left != openFor-500*time.Millisecond {
			t.Errorf("closed for %s, want 1.5 s", left)
		}
	})
}

func TestRefusalsAndCancelledRequestsDoNotTrip(t *testing.T) {
	for name, set := range map[string]func(*wire, context.CancelFunc){
		"400": func(w *wire, _ context.CancelFunc) { w.gives(400) },
		"401": func(w *wire, _ context.CancelFunc) { w.gives(401) },
		"404": func(w *wire, _ context.CancelFunc) { w.gives(404) },
		"cancelled": func(w *wire, cancel context.CancelFunc) {
			w.answers(func(r *http.Request) (*http.Response, error) { cancel(); return nil, r.Context().Err() })
		},
		"cancelled in the middle of the answer": func(w *wire, cancel context.CancelFunc) {
			w.answers(func(r *http.Request) (*http.Response, error) {
				cancel()
				return &http.Response{StatusCode: 200, Body: stalled{r.Context()}}, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, g := newWire(Config{})
			for range 10 * tripAfter {
				ctx, cancel := context.WithCancel(t.Context())
				set(w, cancel)
				_ = ask(ctx, g)
				cancel()
			}
			w.gives(200)
			if err := ask(t.Context(), g); err != nil {
				t.Errorf("the breaker tripped: %v", err)
			}
		})
	}
}

func TestDepartureIsWhenTheWaitIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g := newWire(Config{RequestsPerSecond: 1, Burst: 1})
		ctx, sent := WithSentAt(t.Context())
		if !sent().IsZero() {
			t.Error("nothing was sent yet")
		}
		begin := time.Now()
		for i := range 3 {
			if err := ask(ctx, g); err != nil {
				t.Fatal(err)
			}
			if got, want := sent().Sub(begin), time.Duration(i)*time.Second; got != want {
				t.Errorf("request %d was sent after %s, want %s", i, got, want)
			}
		}
	})
}
