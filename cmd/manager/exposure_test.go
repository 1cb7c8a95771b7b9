package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// TestProfilesAreOffByDefault asks the metrics endpoint, without its authentication.
func TestProfilesAreOffByDefault(t *testing.T) {
	for name, tc := range map[string]struct {
		profiling bool
		want      int
	}{
		"by default":       {false, http.StatusNotFound},
		"with --profiling": {true, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			o := defaultOptions()
			o.metricsAddress, o.metricsSecure, o.profiling = "127.0.0.1:0", false, tc.profiling
			m := o.manager(runtime.NewScheme())
			if m.PprofBindAddress != "" {
				t.Errorf("profiles are served at %s", m.PprofBindAddress)
			}
			base := serveMetrics(t, m.Metrics)
			if got := status(t, base+"/metrics"); got != http.StatusOK {
				t.Fatalf("/metrics: %d", got)
			}
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
				if got := status(t, base+path); got != tc.want {
					t.Errorf("%s: %d, want %d", path, got, tc.want)
				}
			}
		})
	}
}

// serveMetrics starts controller-runtime's metrics server and gives its URL.
func serveMetrics(t *testing.T, o metricsserver.Options) string {
	t.Helper()
	server, err := metricsserver.NewServer(o, &rest.Config{}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	bound, ok := server.(interface{ GetBindAddr() string })
	if !ok {
		t.Fatalf("%T does not tell its address", server)
	}
	for began := time.Now(); bound.GetBindAddr() == ""; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the metrics server does not start")
		}
	}
	return "http://" + bound.GetBindAddr()
}

func status(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
