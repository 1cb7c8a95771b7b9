package httpclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
)

var (
	// ErrInsecure refuses to send a request in the clear.
	ErrInsecure = errors.New("plain http is allowed to a loopback address only")
	// ErrTooLarge says that the answer is longer than MaxResponseBytes.
	ErrTooLarge = errors.New("the answer is too large")
)

// policy checks each request, whatever document its URL came from, and bounds each answer.
type policy struct {
	next      http.RoundTripper
	addresses dialPolicy
	proxy     func(*url.URL) (*url.URL, error)
	closeIdle func()
	allowHTTP bool
	maxBytes  int64
	userAgent string
}

func (p *policy) RoundTrip(req *http.Request) (*http.Response, error) {
	proxy, err := p.proxy(req.URL)
	if err == nil {
		err = p.refuse(req.URL, proxy != nil)
	}
	if err == nil {
		err = checkSize(req)
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if proxy != nil {
		req = req.WithContext(context.WithValue(req.Context(), throughProxy{}, proxy))
	}
	if p.userAgent != "" && req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", p.userAgent)
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// http.Client fails on such a header, and quotes it, before it asks whether to follow.
	if _, err := req.URL.Parse(resp.Header.Get("Location")); err != nil {
		resp.Header.Del("Location")
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: p.maxBytes}
	return resp, nil
}

func (p *policy) refuse(u *url.URL, proxied bool) error {
	if !p.allowHTTP && !secret(u) {
		return ErrInsecure
	}
	return p.addresses.checkURL(u, proxied)
}

// CloseIdleConnections makes http.Client.CloseIdleConnections work.
func (p *policy) CloseIdleConnections() { p.closeIdle() }

// secret reports whether nobody on a network can read what is sent to u.
func secret(u *url.URL) bool {
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.Unmap().IsLoopback()
}

// boundedBody fails at the first byte past its bound, so that a cut answer is never taken for a whole one.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// Sanitize returns err without the query, fragment and user part of the URL that http.Client put into it.
// errors.Is and errors.As reach the same cause; text that was wrapped around the *url.Error is dropped,
// because it repeats the URL.
func Sanitize(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	clean := *failed
	clean.URL = ""
	if u, parseErr := url.Parse(failed.URL); parseErr == nil {
		clean.URL = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	}
	return &clean
}
