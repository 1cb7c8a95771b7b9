package tracing

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/tokengrant/tokengrant/internal/stage"
)

// receiver is a collector that keeps the names of spans and what is said of their service.
type receiver struct {
	collector.UnimplementedTraceServiceServer

	mu      sync.Mutex
	spans   []string
	service map[string]string
}

func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, attribute := range resource.GetResource().GetAttributes() {
			r.service[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				r.spans = append(r.spans, span.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheCollector(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := &receiver{service: map[string]string{}}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, got)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	provider, err := Start(t.Context(), "http://"+listener.Addr().String(), "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := provider.Tracer(stage.Scope).Start(t.Context(), "refresh")
	_, end := stage.Begin(ctx, "token_exchange")
	end(nil)
	root.End()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"token_exchange", "refresh"}, got.spans); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if got.service["service.name"] != "tokengrant" || got.service["service.version"] != "v1.2.3" {
		t.Errorf("the service says of itself: %v", got.service)
	}
}
