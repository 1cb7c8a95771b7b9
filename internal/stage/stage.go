// Package stage tells of the stages that a token passes: discovery, the grants at the token endpoint, verify, check,
// publish. Who runs a stage says so with Begin and knows nothing of metrics or traces; who wants to know puts an Observer,
// or a span that is recorded, into the context. Without either a stage costs two look-ups in the context.
//
// An outcome is a word of the catalogue of reasons, never the text of an error, so it can be a label and an attribute.
package stage

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Stages beside those that package keycloak names after its operations.
const (
	Login   = "login"
	Check   = "check"
	Publish = "publish"
)

// Outcomes beside the reasons of errors.
const (
	// Success is the outcome of a stage without an error.
	Success = "Success"
	// Cancelled is the outcome of a stage whose caller gave up: the operator stops, or another was faster.
	Cancelled = "Cancelled"
	// Failed is the outcome of an error without a reason: the API server, as a rule.
	Failed = "Error"
)

// Scope is the name of the instrumentation in traces.
const Scope = "github.com/tokengrant/tokengrant"

// Observer is told of the stages and waits in its context. It is called from several goroutines.
type Observer interface {
	// Now is the time by which stages are measured.
	Now() time.Time
	// Ended is called once for each stage.
	Ended(name, outcome string, took time.Duration)
	// Waited is called when a request has got through the limits of its issuer, or has waited in vain.
	Waited(took time.Duration)
}

type key struct{}

// With returns a context whose stages o is told of.
func With(ctx context.Context, o Observer) context.Context { return context.WithValue(ctx, key{}, o) }

// Begin begins a stage: a span where the one in the context is recorded. The returned function ends it and must be
// called once.
func Begin(ctx context.Context, name string) (context.Context, func(error)) {
	observer, observed := ctx.Value(key{}).(Observer)
	parent := trace.SpanFromContext(ctx)
	traced := parent.IsRecording()
	if !observed && !traced {
		return ctx, func(error) {}
	}
	var span trace.Span
	if traced {
		ctx, span = parent.TracerProvider().Tracer(Scope).Start(ctx, name)
	}
	var began time.Time
	if observed {
		began = observer.Now()
	}
	return ctx, func(err error) {
		outcome := OutcomeOf(err)
		if observed {
			observer.Ended(name, outcome, observer.Now().Sub(began))
		}
		if traced {
			End(span, outcome)
		}
	}
}

// End ends a span with an outcome.
func End(span trace.Span, outcome string) {
	span.SetAttributes(attribute.String("tokengrant.outcome", outcome))
	if outcome != Success && outcome != Cancelled {
		span.SetStatus(codes.Error, outcome)
	}
	span.End()
}

// Waited tells how long a request has waited for the limits of its issuer, from a time of its observer's clock.
func Waited(ctx context.Context, took time.Duration) {
	if observer, ok := ctx.Value(key{}).(Observer); ok {
		observer.Waited(took)
	}
}

// OutcomeOf condenses an error to a word: what it calls its own Outcome, Cancelled or Failed; Success when there is none.
func OutcomeOf(err error) string {
	var named interface{ Outcome() string }
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.As(err, &named):
		return named.Outcome()
	default:
		return Failed
	}
}
