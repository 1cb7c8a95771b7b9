//go:build integration

package faults

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// gate is an HTTP proxy before a server. What Toxiproxy does to connections, it does to single requests.
type gate struct {
	url string

	mu sync.Mutex
	// rule, where there is one, handles every request; next is the way to the server.
	rule func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// watches are the requests that are answered with events.
	watches map[*http.Request]context.CancelFunc
	// stale keeps events back while it is not closed; nil when they pass.
	stale chan struct{}
}

// newGate starts one before a server.
func newGate(t *testing.T, server string, transport http.RoundTripper) *gate {
	t.Helper()
	upstream, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{watches: map[*http.Request]context.CancelFunc{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host },
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		// The operator is to see a broken connection, not the proxy's own 502.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, proxy) }))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.Start()
	t.Cleanup(func() {
		g.set(nil)
		g.letEventsPass()
		g.closeWatches()
		front.CloseClientConnections()
		front.Close()
	})
	g.url = front.URL
	return g
}

// newAPIGate starts one before the API server, and gives the operator's way through it.
func newAPIGate(t *testing.T) (*gate, *rest.Config) {
	t.Helper()
	// clientcmd keeps tokens away from plain http, so the gate is who shows it.
	transport, err := rest.TransportFor(&rest.Config{
		Host: cluster.plane.URL, BearerToken: cluster.operator.BearerToken, TLSClientConfig: rest.TLSClientConfig{CAFile: cluster.plane.CAFile},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, cluster.plane.URL, transport)
	return g, &rest.Config{Host: g.url, QPS: cluster.operator.QPS, Burst: cluster.operator.Burst}
}

func (g *gate) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	g.mu.Lock()
	rule := g.rule
	if r.URL.Query().Get("watch") == "true" {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		original := r
		r = r.WithContext(ctx)
		g.watches[original] = cancel
		w = events{w, g}
		defer func() {
			g.mu.Lock()
			delete(g.watches, original)
			g.mu.Unlock()
		}()
	}
	g.mu.Unlock()
	if rule == nil {
		proxy.ServeHTTP(w, r)
		return
	}
	rule(w, r, proxy)
}

// set changes the rule for all requests to come.
func (g *gate) set(rule func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rule = rule
}

func (g *gate) closeWatches() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cancel := range g.watches {
		cancel()
	}
}

// keepEvents lets no event of a watch through until letEventsPass.
func (g *gate) keepEvents() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stale == nil {
		g.stale = make(chan struct{})
	}
}

func (g *gate) letEventsPass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stale != nil {
		close(g.stale)
		g.stale = nil
	}
}

// events writes those of a watch.
type events struct {
	http.ResponseWriter

	gate *gate
}

func (e events) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e events) Write(b []byte) (int, error) {
	e.gate.mu.Lock()
	stale := e.gate.stale
	e.gate.mu.Unlock()
	if stale != nil {
		<-stale
	}
	return e.ResponseWriter.Write(b)
}

func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

// isWriteOf says that a request writes objects of a resource, or of a subresource as tokengrants/status.
func isWriteOf(r *http.Request, resource string) bool {
	parts := strings.Split(resource, "/")
	path := strings.Split(r.URL.Path, "/")
	i := slices.Index(path, parts[0])
	if !isWrite(r) || i < 0 {
		return false
	}
	return len(parts) == 1 && len(path) <= i+2 || len(parts) == 2 && len(path) == i+3 && path[i+2] == parts[1]
}

// refusal answers as the API server does.
func refusal(code int, reason string, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"`+reason+`","code":`+strconv.Itoa(code)+`}`)
	}
}

// lose hands a request on and ends the connection in place of the answer.
func lose(r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// etcd asks etcd by its JSON gateway.
func etcd(t *testing.T, path, body string) string {
	t.Helper()
	answer, err := http.Post(cluster.plane.EtcdURL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("etcd %s: %s: %s %v", path, answer.Status, text, err)
	}
	return string(text)
}
