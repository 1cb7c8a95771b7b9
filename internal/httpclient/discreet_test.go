package httpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// garbage answers each connection with raw bytes.
func garbage(t *testing.T, answer string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestErrorsQuoteNothingOfTheServer(t *testing.T) {
	for name, answer := range map[string]string{
		"not HTTP":         canary + "\r\n\r\n",
		"bad header":       "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"bad status":       "HTTP/1.1 " + canary + "\r\n\r\n",
		"bad chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n",
		"bad length":       "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"nothing":          "",
		"a short body":     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
		"unknown encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := get(t, client(t, Options{}), "http://"+garbage(t, answer)+"/")
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("error %v; want one without the server's text", err)
			}
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v is neither ErrProtocol nor a cut answer", err)
			}
		})
	}
}

func TestHTTPSMeetingPlainHTTPIsSaid(t *testing.T) {
	_, err := get(t, client(t, Options{}), "https://"+garbage(t, "HTTP/1.1 400 Bad Request\r\n\r\n"))
	if !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("error %v, want ErrSchemeMismatch", err)
	}
}

func TestACancelledRequestSaysWhy(t *testing.T) {
	why := errors.New("the grant is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:1/", nil)
	if _, err := client(t, Options{}).Do(req); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}

func TestSanitizeLeavesOnlySchemeHostAndPath(t *testing.T) {
	cause := errors.New("no route")
	for name, err := range map[string]error{
		"as http.Client returns it": &url.Error{Op: "Get", URL: "https://me:" + canary + "@h/p?token=" + canary + "#" + canary, Err: cause},
		"wrapped":                   fmt.Errorf("asking: %w", &url.Error{Op: "Get", URL: "https://h/p?token=" + canary, Err: cause}),
		"not a URL":                 &url.Error{Op: "Get", URL: "http://[" + canary, Err: cause},
	} {
		got := Sanitize(err)
		if strings.Contains(got.Error(), canary) || !errors.Is(got, cause) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Sanitize(cause); any(got) != any(cause) {
		t.Errorf("another error became %v", got)
	}
	want := `Get "https://h/p": no route`
	if got := Sanitize(&url.Error{Op: "Get", URL: "https://h/p?q", Err: cause}).Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
