package stage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type reasoned struct{ reason string }

func (r *reasoned) Error() string   { return "the server said s3cret" }
func (r *reasoned) Outcome() string { return r.reason }

func TestOutcomeIsAWordAndNeverTheTextOfAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no error":                {nil, "Success"},
		"an error with a reason":  {fmt.Errorf("minting: %w", &reasoned{"ClientRejected"}), "ClientRejected"},
		"another error":           {errors.New("conflict"), "Error"},
		"the caller gave up":      {fmt.Errorf("minting: %w", context.Canceled), "Cancelled"},
		"the time limit went by":  {context.DeadlineExceeded, "Error"},
		"a reason and given up":   {errors.Join(&reasoned{"IssuerUnreachable"}, context.Canceled), "Cancelled"},
		"a reason inside another": {errors.Join(errors.New("x"), &reasoned{"Throttled"}), "Throttled"},
	} {
		if got := OutcomeOf(tc.err); got != tc.want {
			t.Errorf("%s: outcome %q, want %q", name, got, tc.want)
		}
	}
}

type record struct {
	now   time.Time
	ended []string
}

func (r *record) Now() time.Time { return r.now }
func (r *record) Ended(name, outcome string, took time.Duration) {
	r.ended = append(r.ended, fmt.Sprintf("%s %s %s", name, outcome, took))
}
func (r *record) Waited(took time.Duration) { r.ended = append(r.ended, "waited "+took.String()) }

func TestObserverIsToldOfEachStage(t *testing.T) {
	r := &record{}
	ctx := With(t.Context(), r)
	_, end := Begin(ctx, "verify")
	Waited(ctx, time.Second)
	r.now = r.now.Add(time.Minute)
	end(&reasoned{"TokenMalformed"})
	if diff := cmp.Diff([]string{"waited 1s", "verify TokenMalformed 1m0s"}, r.ended); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestStagesAreSpansOfTheRecordedSpanAround(t *testing.T) {
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	ctx, root := provider.Tracer(Scope).Start(t.Context(), "refresh")
	inner, end := Begin(ctx, "token_exchange")
	_, endInner := Begin(inner, "client_credentials")
	endInner(nil)
	end(&reasoned{"ExchangeNotEnabled"})
	root.End()

	spans := kept.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("spans = %d, want 3", len(spans))
	}
	subject, exchange := spans[0], spans[1]
	if subject.Parent.SpanID() != exchange.SpanContext.SpanID() || exchange.Parent.SpanID() != root.SpanContext().SpanID() {
		t.Error("a stage is not a child of the span around it")
	}
	if got := exchange.Status; got.Code != codes.Error || got.Description != "ExchangeNotEnabled" {
		t.Errorf("status = %+v, want an error that says ExchangeNotEnabled", got)
	}
	if subject.Status.Code == codes.Error {
		t.Error("a stage that went well is an error")
	}
}

func TestStageThatNobodyWatchesCostsNothing(t *testing.T) {
	ctx := t.Context()
	cost := testing.AllocsPerRun(100, func() {
		_, end := Begin(ctx, "verify")
		end(nil)
		Waited(ctx, time.Second)
	})
	if cost != 0 {
		t.Errorf("allocations = %v, want none", cost)
	}
}
