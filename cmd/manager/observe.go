package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/internal/tracing"
)

// observe lets the controllers tell of themselves. The returned function sends what is left to tell.
func (o *options) observe(ctx context.Context, c *controllers.Options) (stop func(), err error) {
	c.Metrics = metrics.New(clock.RealClock{})
	if err := ctrlmetrics.Registry.Register(c.Metrics); err != nil {
		return nil, fmt.Errorf("registering the metrics: %w", err)
	}
	if o.otlpEndpoint == "" {
		return func() {}, nil
	}
	provider, err := tracing.Start(ctx, o.otlpEndpoint, version())
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	c.Traces = provider
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			ctrl.Log.Error(err, "Cannot send the last traces")
		}
	}, nil
}

// profiles are served beside the metrics, behind their authentication.
func profiles() map[string]http.Handler {
	return map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/cmdline": http.HandlerFunc(pprof.Cmdline),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
}
