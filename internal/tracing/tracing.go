// Package tracing sends traces to an OpenTelemetry collector: one trace for each refresh and each check, one span for each
// of its stages.
package tracing

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Start returns a provider that sends spans to the OTLP gRPC endpoint of a collector: http://host:4317, or https:// with
// TLS. An endpoint that does not answer costs spans and nothing else. What the endpoint does not say, OTEL_* environment
// variables do: headers, certificates, the sampler, the service's name.
//
// The caller shuts the provider down, which sends what is left.
func Start(ctx context.Context, endpoint, version string) (*sdktrace.TracerProvider, error) {
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("sending traces to %s: %w", endpoint, err)
	}
	// Later ones win: the environment over what we say of ourselves.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "tokengrant"), attribute.String("service.version", version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("reading OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), nil
}
