//go:build integration

package faults

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// processStart is what a new process needs before it works: its caches, and the issuer's discovery.
const processStart = 5 * time.Second

// process is the operator as it is shipped, in a process of its own that is killed.
type process struct{ *stack.Operator }

// startProcess runs one for a namespace. With elects it needs the lease.
func startProcess(t *testing.T, as *rest.Config, namespace string, elects bool) *process {
	t.Helper()
	operator, err := stack.StartOperator(t.Context(), stack.OperatorOptions{
		Kubeconfig: kubeconfig(t, as),
		Flags:      []string{"--watch-namespaces=" + namespace, fmt.Sprintf("--leader-elect=%t", elects)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operator.Close() })
	return &process{operator}
}

func kubeconfig(t *testing.T, as *rest.Config) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: as.Host}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// kill ends the process without a warning.
func (p *process) kill() { _ = p.Kill() }

// awaitEnd waits until it is gone.
func (p *process) awaitEnd(w *world) {
	w.t.Helper()
	w.eventually("the end of the process", func() (bool, any) { return len(p.PIDs()) == 0, p.PIDs() })
}

// boundaries kills a process before or after one of its effects, and lists those that it has.
type boundaries struct {
	mu      sync.Mutex
	process *process
	// effects are those of the process so far, in order, each once.
	effects []string
	// at is the effect to kill at; after says that it was carried out, and only its answer does not arrive.
	at    string
	after bool
	dead  bool
}

// rule is the one of all gates of a world.
func (b *boundaries) rule(name func(*http.Request) string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		effect := name(r)
		b.mu.Lock()
		if b.dead {
			b.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		if effect != "" && !slices.Contains(b.effects, effect) {
			b.effects = append(b.effects, effect)
		}
		kills := effect != "" && effect == b.at
		if kills {
			b.dead = true
			if !b.after {
				b.process.kill()
			}
		}
		b.mu.Unlock()
		if !kills {
			next.ServeHTTP(rw, r)
			return
		}
		if b.after {
			defer b.process.kill()
			lose(r, next)
		}
		panic(http.ErrAbortHandler)
	}
}

// aim begins anew with a process that runs.
func (b *boundaries) aim(at string, after bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.effects, b.at, b.after, b.dead = nil, at, after, false
}

func (b *boundaries) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.effects)
}

// apiEffect names what a request changes in the cluster. Events are told of what has happened, and nothing depends on them.
func apiEffect(r *http.Request) string {
	for _, resource := range []string{"secrets", "tokengrants", "tokengrants/status", "tokenissuers/status"} {
		if isWriteOf(r, resource) {
			what := resource
			if strings.HasSuffix(r.URL.Path, "-tokengrant-session") {
				what = "session " + resource
			}
			return r.Method + " " + what
		}
	}
	return ""
}

// serverEffect names what is asked of the issuer and of Nextcloud.
func serverEffect(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/token"):
		return "token " + grantTypeOf(r)
	case strings.HasSuffix(r.URL.Path, "/certs"):
		return "GET keys"
	case strings.HasPrefix(r.URL.Path, "/ocs/"):
		return r.Method + " Nextcloud's " + filepath.Base(r.URL.Path)
	}
	return ""
}

// flow is a way to a token that the operator is killed on.
type flow struct {
	name string
	setup
	// first is the way to a first token; else to another one.
	first bool
}

// TestCrashes kills the operator as it is shipped, by SIGKILL, before and after each of its effects: all that it sends to
// anybody is one, so what comes between two of them is alike for whoever looks from outside.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for i, f := range []flow{
		{name: "first token", setup: setup{crashes: true, nextcloud: true}, first: true},
		{name: "refresh", setup: setup{crashes: true, nextcloud: true}},
		{name: "refresh of a session", setup: crashing(ofAlice(1))},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, f.setup)
			w.begin()
			effects := w.effects(f)
			t.Logf("effects: %q", effects)
			if len(effects) < 5 {
				t.Fatal("too few")
			}
			n := 0
			for _, effect := range effects {
				for _, after := range []bool{false, true} {
					n++
					w.crash(f, effect, after, fmt.Sprint(n), crashRows+100*i+n)
				}
			}
		})
	}
}

// effects lists those of a new process until it has got a token.
func (w *world) effects(f flow) []string {
	w.t.Helper()
	w.stopForAim("", false)
	w.callFor(f, "0")
	w.startAgain()
	w.awaitWell(f.requested("0"))
	cluster.sampler.after(1)
	return w.boundaries.seen()
}

// crash is one kill, and its row.
func (w *world) crash(f flow, effect string, after bool, request string, order int) {
	w.t.Helper()
	w.stopForAim(effect, after)
	w.callFor(f, request)
	before := w.window.measured(w.grant)
	w.startAgain()
	w.boundaries.process.awaitEnd(w)
	w.boundaries.aim("", false)
	gone := time.Now()
	w.startAgain()
	w.awaitWell(f.requested(request))
	when := map[bool]string{false: "before", true: "after"}[after]
	r := result{
		order: order, scenario: fmt.Sprintf("%s: SIGKILL %s %s", f.name, when, effect), says: "the process ends",
		Recovery: time.Since(gone), Step: processStart, allowed: promise{Crashes: 1},
	}
	cluster.sampler.after(2)
	r.measure = w.window.measured(w.grant).since(before)
	cluster.results.add(r)
	for _, broken := range r.broken() {
		w.t.Errorf("%s: %s", r.scenario, broken)
	}
}

// stopForAim ends the process, and chooses where the next one is to end.
func (w *world) stopForAim(effect string, after bool) {
	w.t.Helper()
	w.boundaries.process.kill()
	w.boundaries.process.awaitEnd(w)
	w.boundaries.aim(effect, after)
}

// callFor calls for a token while no operator runs.
func (w *world) callFor(f flow, request string) {
	w.t.Helper()
	if !f.first {
		w.request(request)
		return
	}
	if err := w.Delete(w.t.Context(), w.grant); err != nil { // The former one's checks are no effects of this one.
		w.t.Fatal(err)
	}
	next := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "g" + request}, Spec: *w.grant.Spec.DeepCopy()}
	w.create(next)
	w.grant = next
}

// requested is the request that the token answers.
func (f flow) requested(request string) string {
	if f.first {
		return ""
	}
	return request
}

func (w *world) startAgain() {
	w.t.Helper()
	if err := w.boundaries.process.Start(w.t.Context()); err != nil && w.t.Context().Err() == nil {
		// It may have been killed before it was ready.
		w.t.Log(err)
	}
}

func crashing(s setup) setup {
	s.crashes = true
	return s
}

// grantTypeOf reads the form of a request, and leaves it for the server.
func grantTypeOf(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return ""
	}
	return filepath.Base(strings.ReplaceAll(form.Get("grant_type"), ":", "/"))
}
