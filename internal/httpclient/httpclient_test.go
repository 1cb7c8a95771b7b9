package httpclient

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const canary = "canary-4711"

func client(t *testing.T, o Options) *http.Client {
	t.Helper()
	hc, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	return hc
}

func get(t *testing.T, hc *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func TestPlainHTTPGoesToLoopbackOnly(t *testing.T) {
	for u, allowed := range map[string]bool{
		"https://id.example.com/":    true,
		"http://127.0.0.1:8080/":     true,
		"http://[::1]/":              true,
		"http://[::ffff:127.0.0.1]/": true,
		"http://localhost:1/":        true,
		"http://id.example.com/":     false,
		"http://localhost.evil.org/": false,
		"http://10.0.0.1/":           false,
		"http://127.0.0.1.nip.io/":   false,
		"http://[::ffff:10.0.0.1]/":  false,
	} {
		reached := false
		hc := client(t, Options{Wrap: func(http.RoundTripper) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				reached = true
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			})
		}})
		_, err := get(t, hc, u)
		if reached != allowed || errors.Is(err, ErrInsecure) == allowed {
			t.Errorf("%s: reached the wire %t, error %v; want reached %t", u, reached, err, allowed)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestARefusedRequestIsClosed(t *testing.T) {
	body := &closeable{Reader: strings.NewReader(canary)}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://id.example.com/", body)
	if _, err := client(t, Options{}).Do(req); !errors.Is(err, ErrInsecure) || !body.closed {
		t.Errorf("error %v, body closed %t; want ErrInsecure and a closed body", err, body.closed)
	}
}

type closeable struct {
	io.Reader
	closed bool
}

func (c *closeable) Close() error { c.closed = true; return nil }

func TestAllowHTTPReachesAnyHost(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	hc := client(t, Options{AllowHTTP: true, Wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "id.example.com" {
				t.Errorf("asked %s", r.URL.Host)
			}
			r = r.Clone(r.Context())
			r.URL.Host = strings.TrimPrefix(server.URL, "http://")
			return next.RoundTrip(r)
		})
	}})
	if resp, err := get(t, hc, "http://id.example.com/"); err != nil || resp.StatusCode != 404 {
		t.Errorf("answer %v, %v; want 404", resp, err)
	}
}

func TestRedirectsAreReturnedNotFollowed(t *testing.T) {
	for _, location := range []string{"https://evil.example.com/", "/next", "http://[::bad", "%zz" + canary, ""} {
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		resp, err := get(t, client(t, Options{}), server.URL)
		if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || requests != 1 {
			t.Errorf("Location %q: answer %v, %v after %d requests; want the 307 itself after 1", location, resp, err, requests)
		}
		server.Close()
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Error("a cookie came back")
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	}))
	defer server.Close()
	hc := client(t, Options{})
	for range 2 {
		if _, err := get(t, hc, server.URL); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheBodyIsBounded(t *testing.T) {
	const limit = 1 << 20
	for name, tc := range map[string]struct {
		size int
		gzip bool
		fail bool
	}{
		"exactly the limit":                {size: limit},
		"one byte more":                    {size: limit + 1, fail: true},
		"two megabytes":                    {size: 2 << 20, fail: true},
		"two megabytes packed into little": {size: 2 << 20, gzip: true, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				content := bytes.Repeat([]byte("x"), tc.size)
				if !tc.gzip {
					_, _ = w.Write(content)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				zip := gzip.NewWriter(w)
				_, _ = zip.Write(content)
				_ = zip.Close()
			}))
			defer server.Close()
			resp, err := get(t, client(t, Options{}), server.URL)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if errors.Is(err, ErrTooLarge) != tc.fail || (err != nil) != tc.fail || len(got) > limit {
				t.Errorf("read %d bytes, %v; want ErrTooLarge %t", len(got), err, tc.fail)
			}
			if _, again := resp.Body.Read(make([]byte, 1)); tc.fail && !errors.Is(again, ErrTooLarge) {
				t.Errorf("reading on gives %v, want ErrTooLarge", again)
			}
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat(canary, 1<<14))
	}))
	defer server.Close()
	if _, err := get(t, client(t, Options{}), server.URL); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v; want one that does not quote the header", err)
	}
}

func TestSlowAnswersEnd(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-stop
	}))
	defer server.Close()
	defer close(stop)
	resp, err := get(t, client(t, Options{Timeout: 50 * time.Millisecond}), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.ReadAll(resp.Body); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("reading gives %v, want a timeout", err)
	}
}

func TestTheUserAgentIsSentWhereNoneIsNamed(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.UserAgent()) }))
	defer server.Close()
	hc := client(t, Options{UserAgent: "tokengrant/test"})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	for _, agent := range []string{"", "own"} {
		req.Header.Set("User-Agent", agent)
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if len(got) != 2 || got[0] != "tokengrant/test" || got[1] != "own" || req.UserAgent() != "own" {
		t.Errorf("user agents %q", got)
	}
}

func TestTheConnectionIsKept(t *testing.T) {
	connections := 0
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections++
		}
	}
	server.Start()
	defer server.Close()
	hc := client(t, Options{})
	for range 5 {
		resp, err := get(t, hc, server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if connections != 1 {
		t.Errorf("5 requests opened %d connections, want 1", connections)
	}
}
