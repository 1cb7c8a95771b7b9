package httpclient

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRequestsThatAreTooLargeAreNotSent, and nothing below sees them: no slot, no breaker.
func TestRequestsThatAreTooLargeAreNotSent(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(server.Close)
	seen := 0
	c := client(t, Options{Wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			seen++
			return next.RoundTrip(req)
		})
	}})
	for name, tt := range map[string]struct {
		header, body int
		says         string
	}{
		"a header of 8 KiB":       {header: 8 << 10},
		"a header that is longer": {header: 8<<10 + 1, says: "the Authorization header is 8193 bytes, and at most 8192 are sent"},
		"a form of 64 KiB":        {body: 64 << 10},
		"a form that is longer":   {body: 64<<10 + 1, says: "the request body is 65537 bytes, and at most 65536 are sent"},
		"neither header nor form": {},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked + seen
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(strings.Repeat("x", tt.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", strings.Repeat("y", tt.header))
			resp, err := c.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			large, refused := errors.AsType[*RequestTooLargeError](err)
			if refused != (tt.says != "") || refused && large.Error() != tt.says {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if sent := asked + seen - before; refused == (sent > 0) {
				t.Errorf("%d times seen below", sent)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestRequestsOfUnknownSizeAreNotSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client(t, Options{}).Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("want an error")
	}
}
