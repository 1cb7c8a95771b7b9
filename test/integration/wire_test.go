package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wire stands between an operator and the API server. At a chosen request it does what a network or a kill does.
type wire struct {
	mu sync.Mutex
	// at says which request it is about; the first or, with always, every one.
	at     func(*http.Request) bool
	always bool
	// reaches says that the request still gets to the API server, and only its answer is lost.
	reaches bool
	// kills says that nothing goes through afterwards: the operator is as good as killed.
	kills bool
	// answer, where there is one, is what the operator gets in place of a broken connection.
	answer func(*http.Request) *http.Response

	dead bool
	hits int
	hit  chan struct{}
}

var errCut = errors.New("the connection is cut")

// killedAt cuts an operator off at a request: before it reaches the API server, or after.
func killedAt(at func(*http.Request) bool, reaches bool) *wire {
	return &wire{at: at, reaches: reaches, kills: true, hit: make(chan struct{})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *wire) through(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		w.mu.Lock()
		dead := w.dead
		chosen := !dead && (w.always || w.hits == 0) && w.at(r)
		if chosen {
			w.hits++
			w.dead = w.kills
			if w.hit != nil && w.hits == 1 {
				defer close(w.hit)
			}
		}
		w.mu.Unlock()
		switch {
		case dead:
			return nil, errCut
		case !chosen:
			return next.RoundTrip(r)
		case w.reaches:
			if answer, err := next.RoundTrip(r); err == nil {
				_ = answer.Body.Close()
			}
		case w.answer != nil:
			return w.answer(r), nil
		}
		return nil, errCut
	})
}

// refusal is an answer of the API server that refuses whatever is asked.
func refusal(code int32, reason metav1.StatusReason) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		body, _ := json.Marshal(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: code, Reason: reason,
		})
		return &http.Response{
			StatusCode: int(code), Status: http.StatusText(int(code)), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
	}
}

// heal lets everything through again.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.always, w.dead = false, false
	w.hits = max(w.hits, 1)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits
}

// writes finds the request that writes an object.
func writes(resource, name string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		switch r.Method {
		case http.MethodPost: // The name stands in the body only.
			return strings.HasSuffix(r.URL.Path, "/"+resource)
		case http.MethodPut, http.MethodPatch:
			return strings.HasSuffix(r.URL.Path, "/"+resource+"/"+name)
		}
		return false
	}
}
