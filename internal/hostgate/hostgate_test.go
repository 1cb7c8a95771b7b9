package hostgate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

// host answers when it is told to.
type host struct {
	mu    sync.Mutex
	asked int
	reply chan error
}

func (h *host) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	select {
	case err := <-h.reply:
		if err != nil {
			return nil, err
		}
		return &http.Response{Body: io.NopCloser(strings.NewReader(""))}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (h *host) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func ask(ctx context.Context, g *Gate) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://h", http.NoBody)
	if err != nil {
		return err
	}
	response, err := g.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func hang(t *testing.T, n int) (*Gate, *host, *testclock.FakePassiveClock, <-chan error) {
	t.Helper()
	now := testclock.NewFakePassiveClock(time.Now())
	h := &host{reply: make(chan error)}
	g := New(h, now)
	ended := make(chan error, n)
	for range n {
		go func() { ended <- ask(t.Context(), g) }()
	}
	for h.count() < min(n, places) {
		time.Sleep(time.Millisecond)
	}
	return g, h, now, ended
}

func TestAHostThatHangsIsNotAskedByMore(t *testing.T) {
	g, h, now, _ := hang(t, places)
	now.SetTime(now.Now().Add(2 * patience))
	begin := time.Now()
	if err := ask(t.Context(), g); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want ErrBusy", err)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("it took %s to say so", took)
	}
	if h.count() != places {
		t.Errorf("%d requests were sent", h.count())
	}
}

func TestOthersWaitForAHostThatAnswers(t *testing.T) {
	g, h, _, ended := hang(t, places)
	last := make(chan error)
	go func() { last <- ask(t.Context(), g) }()
	for range places + 1 {
		h.reply <- nil
	}
	for range places {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := <-last; err != nil {
		t.Errorf("the one that had to wait: %v", err)
	}
}

func TestAHostThatGivesNoAnswersIsAskedByOne(t *testing.T) {
	g, h, _, ended := hang(t, tripAfter)
	for range tripAfter {
		h.reply <- context.DeadlineExceeded
	}
	for range tripAfter {
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	}
	if err := ask(t.Context(), g); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "15s") {
		t.Errorf("error %v, want ErrBusy and when it is tried again", err)
	}
	if h.count() != tripAfter {
		t.Errorf("%d requests were sent", h.count())
	}
}

func TestWhoGivesUpSaysNothingAboutTheHost(t *testing.T) {
	now := testclock.NewFakePassiveClock(time.Now())
	h := &host{reply: make(chan error)}
	g := New(h, now)
	for range 2 * tripAfter {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ask(ctx, g); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	go func() { h.reply <- nil }()
	if err := ask(t.Context(), g); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
