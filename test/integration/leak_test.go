package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/test/canary"
)

// leaks collects the secrets of a run, and what all its operators say: logs of every verbosity, statuses, events,
// metrics and traces. TestMain searches them when all tests have ended.
var leaks canary.Watch

// observed lets an operator tell all it can. The returned function keeps its metrics.
func observed(t *testing.T) (recorder *metrics.Recorder, traces *sdktrace.TracerProvider, keep func()) {
	t.Helper()
	recorder, traces = metrics.New(clock.RealClock{}), sdktrace.NewTracerProvider(sdktrace.WithSyncer(collector{}))
	registry := prometheus.NewRegistry()
	registry.MustRegister(recorder)
	return recorder, traces, func() {
		for _, from := range []prometheus.Gatherer{registry, ctrlmetrics.Registry} {
			families, err := from.Gather()
			if err != nil {
				t.Errorf("metrics: %v", err)
			}
			leaks.Said("a page of metrics", fmt.Sprint(families))
		}
	}
}

// collector keeps spans.
type collector struct{}

func (collector) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	text, err := json.Marshal(tracetest.SpanStubsFromReadOnlySpans(spans))
	leaks.Said("a trace", string(text))
	return err
}

func (collector) Shutdown(context.Context) error { return nil }

// leftRunning fails when an operator has left a goroutine behind. Connections that are kept for another request end by
// themselves, the Keycloaks are stopped later, and client-go's recorder of events leaves one when it is stopped.
func leftRunning(before goleak.Option) error {
	return goleak.Find(before,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*http2ClientConn).readLoop"),
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"),
		goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop"),
		goleak.IgnoreAnyFunction("github.com/tokengrant/tokengrant/hack/stack.(*server).spawn.func1"))
}

// TestPanicIsLoggedWithoutTheToken panics while a token is on its way into the Secret.
func TestPanicIsLoggedWithoutTheToken(t *testing.T) {
	t.Parallel()
	s := scripted(t)
	w := newWorld(t)
	w.stop()
	marker := "panicked on purpose in " + w.namespace
	w.wire = &wire{at: writes("secrets", "g"), answer: func(*http.Request) *http.Response { panic(marker) }}
	w.start()
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if !leaks.Heard(marker) {
		t.Error("the panic is not in the log")
	}
}
