// Package httpclient builds the HTTP clients with which the operator sends credentials and tokens to the
// addresses that users write into their objects. What such an address could be abused for is refused here,
// once, for every caller: plain http, redirects, cookies, endless answers, link-local targets.
package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/net/http/httpproxy"
)

const (
	defaultTimeout          = 30 * time.Second
	defaultMaxResponseBytes = 1 << 20
	defaultIdlePerHost      = 16
	maxResponseHeaderBytes  = 64 << 10
	dialTimeout             = 5 * time.Second
	keepAlive               = 30 * time.Second
)

// Options are the limits of one client. The zero value is a good one.
type Options struct {
	// RootCAs are PEM certificates trusted in addition to the system's.
	RootCAs []byte
	// ClientCertificate, when set, is presented to every server that asks for one, whatever authorities it says it
	// accepts: its refusal then says more than a missing certificate would. A connection stays with the certificate it
	// was opened with, so for a new certificate build a new client, and close the idle connections of the old one.
	ClientCertificate *tls.Certificate
	// Timeout bounds a request from its first byte to the last byte of the answer; 30 s when zero.
	Timeout time.Duration
	// MaxResponseBytes bounds the decoded body; 1 MiB when zero. Reading past it yields ErrTooLarge.
	MaxResponseBytes int64
	// AllowHTTP permits plain http to any host. Without it, only loopback may be asked in the clear.
	AllowHTTP bool
	// DenyPrivate refuses private addresses too: loopback, RFC 1918, unique local (RFC 4193), shared (RFC 6598) and all
	// else that is not of the public internet. A proxy of the environment may be private.
	DenyPrivate bool
	// AllowedHosts, when set, are the only ones that are connected to, also through a proxy: hosts in the URL whose name
	// is listed, and listed addresses, which then may be private with DenyPrivate too. What ErrForbiddenAddress refuses
	// stays refused.
	AllowedHosts *Hosts
	// MaxIdleConnsPerHost is the number of kept connections; 16 when zero.
	MaxIdleConnsPerHost int
	// UserAgent is sent where the request names none.
	UserAgent string
	// Wrap, when set, stands between the checks of this package and the wire: a limiter, a breaker, metrics.
	// It sees only requests that the checks let pass.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// New returns a client that speaks https (TLS 1.2 or newer, HTTP/2 where offered) over kept connections,
// follows no redirect (the 3xx answer is returned as it is), keeps no cookies, bounds time and size, and
// connects to no link-local, multicast, unspecified or cloud metadata address (ErrForbiddenAddress), and to no
// private one where that is asked for (ErrPrivateAddress). Hosts that are neither names nor addresses in their usual form
// are refused (ErrAmbiguousHost).
//
// The proxy variables of the environment count as for net/http. A proxy resolves the names of what is asked through it:
// then the operator checks the URL, its name or address, and not what the name resolves to.
func New(o Options) (*http.Client, error) {
	roots, err := trust(o.RootCAs)
	if err != nil {
		return nil, err
	}
	var present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	if o.ClientCertificate != nil {
		present = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.ClientCertificate, nil }
	}
	addresses := dialPolicy{denyPrivate: o.DenyPrivate, allowed: o.AllowedHosts}
	wire := &http.Transport{
		Proxy:       proxyOf,
		DialContext: addresses.dial,
		TLSClientConfig: &tls.Config{
			MinVersion:           tls.VersionTLS12,
			RootCAs:              roots,
			GetClientCertificate: present,
			ClientSessionCache:   tls.NewLRUClientSessionCache(0),
		},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    or(o.MaxIdleConnsPerHost, defaultIdlePerHost),
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		// A kept HTTP/2 connection whose peer is gone would otherwise fail requests until TCP gives up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	var next http.RoundTripper = discreet{wire}
	if o.Wrap != nil {
		next = o.Wrap(next)
	}
	return &http.Client{
		Transport: &policy{
			next:      next,
			addresses: addresses,
			proxy:     httpproxy.FromEnvironment().ProxyFunc(),
			closeIdle: wire.CloseIdleConnections,
			allowHTTP: o.AllowHTTP,
			maxBytes:  or(o.MaxResponseBytes, defaultMaxResponseBytes),
			userAgent: o.UserAgent,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       or(o.Timeout, defaultTimeout),
	}, nil
}

// trust returns the system's roots and the given ones; nil, which is the system's, where none are given.
func trust(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's root certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the CA bundle holds no PEM certificate")
	}
	return pool, nil
}

func or[T int | int64 | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}
