package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

func TestItServesUntilItIsStopped(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, config{listen: "127.0.0.1:0", users: "alice, admin", uniqueUID: true, readyFile: ready, options: nextcloudtest.Options{Issuer: "http://127.0.0.1:1"}})
	}()
	url := waitFor(t, ready, done)
	for path, want := range map[string]string{
		"/status.php":             `"versionstring":"31.0.6"`,
		"/_standin/users/admin":   `"groups":["admin"]`,
		"/_standin/users/alice":   `"backend":"Database"`,
		"/_standin/settings":      `"uniqueUID":true`,
		"/ocs/v2.php/cloud/user/": "Invalid query",
	} {
		if got := get(t, url+path); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestWhatCannotBeServedIsSaid(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]config{
		"an authority without a certificate": {listen: "127.0.0.1:0", issuerCA: empty},
		"an authority that is missing":       {listen: "127.0.0.1:0", issuerCA: empty + "2"},
		"an address that is none":            {listen: "127.0.0.1:-1"},
		"a ready file without a folder":      {listen: "127.0.0.1:0", readyFile: empty + "/no/where"},
		"a certificate that is missing":      {listen: "127.0.0.1:0", crt: empty + "2"},
	} {
		if err := run(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// waitFor returns the URL in the ready file as soon as it is there.
func waitFor(t *testing.T, file string, done <-chan error) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case err := <-done:
			t.Fatalf("stopped early: %v", err)
		case <-deadline:
			t.Fatal("not ready in 10 s")
		case <-tick.C:
			if raw, err := os.ReadFile(file); err == nil {
				return strings.TrimSpace(string(raw))
			}
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
