package keycloak

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/tokengrant/tokengrant/internal/httpclient"
)

const (
	// maxBody is the longest answer of an issuer that is read.
	maxBody = 1 << 20
	// keysTimeout bounds a fetch of the signing keys where the HTTP client has no limit of its own:
	// all verifications wait for the one fetch.
	keysTimeout = 30 * time.Second
)

// reader is a RoundTripper that reads the whole body within RoundTrip and lets judge see it. x/oauth2 and go-oidc
// keep of a failed request only a text, which quotes the body; so faults become an *Error before they get there.
type reader struct {
	op    string
	next  http.RoundTripper
	judge func(op string, resp *http.Response, body []byte) ([]byte, error)
}

func (r reader) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, noAnswer(r.op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, noAnswer(r.op, err)
	}
	if len(body) > maxBody {
		return nil, noAnswer(r.op, httpclient.ErrTooLarge)
	}
	if body, err = r.judge(r.op, resp, body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// withReader returns a copy of hc that reads through a reader and follows no redirect.
func withReader(hc *http.Client, op string, judge func(string, *http.Response, []byte) ([]byte, error)) *http.Client {
	if hc == nil {
		hc = http.DefaultClient
	}
	c := *hc
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	c.Transport = reader{op: op, next: next, judge: judge}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// documentOnly lets only answers with status 200 pass: the discovery document and the key set have no other.
func documentOnly(op string, resp *http.Response, body []byte) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, classify(asked{op: op}, answerOf(resp, body), cleaner{})
	}
	return body, nil
}

// refusals are what our own policy does not send, or does not read.
var refusals = []struct {
	of                error
	description, hint string
}{
	{httpclient.ErrTooLarge, "the answer is larger than 1 MiB", "the issuer URL leads to something that is not an issuer"},
	{httpclient.ErrInsecure, "plain http is allowed to a loopback address only", "use https"},
	{httpclient.ErrForbiddenAddress, "the host resolves to an address that no issuer has (link-local, metadata service)", "correct the issuer URL"},
	{
		httpclient.ErrPrivateAddress, "the host resolves to a private address, and this operator does not connect to those (--deny-private-addresses)",
		"name an issuer with a public address, or ask who runs the operator",
	},
	{httpclient.ErrHostNotAllowed, "the host is not in the operator's --allowed-hosts", "use a listed host, or ask an administrator to list it"},
	{httpclient.ErrAmbiguousHost, "the host is neither a name nor an address in its usual form", "write an IPv4 address as four decimal numbers"},
}

// noAnswer describes a request that brought no complete answer. The texts of the errors are not used as they are:
// some quote what the server sent.
func noAnswer(op string, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	e := &Error{Op: op, Reason: ReasonIssuerUnreachable}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			e.cause = cause
		}
	}
	e.Description, e.Hint = describe(err)
	for _, r := range refusals {
		if errors.Is(err, r.of) {
			e.Reason, e.Description, e.Hint = ReasonIssuerInvalid, r.description, r.hint
		}
	}
	if large, is := errors.AsType[*httpclient.RequestTooLargeError](err); is {
		e.Reason = ReasonRequestRefused
		e.Description, e.Hint = large.Error(), "use a shorter secret or token"
	}
	if refused, is := errors.AsType[*httpclient.CertificateRefusedError](err); is {
		e.Description, e.Hint = "the issuer ended the TLS handshake: "+refused.Alert.Error(), wantsCertificateHint
		if op != opDiscovery && op != opVerify { // those two are asked for without a certificate
			e.Reason, e.Hint = ReasonClientRejected, certificateHint
		}
	}
	return e
}

const (
	wantsCertificateHint = "the discovery document and the keys are read without a client certificate: start Keycloak with --https-client-auth=request, not required"
	certificateHint      = "it does not accept the client certificate: put its authority into Keycloak's truststore (--truststore-paths), and look at its dates"
)

// describe puts a fault of the network into words.
func describe(err error) (description, hint string) {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		timeout   net.Error
		wire      *net.OpError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "the request was cancelled", ""
	case errors.As(err, &dns):
		return "the host " + cleaner{}.text(dns.Name) + " cannot be resolved", "correct the issuer URL, or look at the cluster's DNS"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", "look whether the issuer is up, and at network policies on the way"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", "look whether the issuer is up and listens on this port"
	case errors.As(err, &authority):
		return "the certificate is signed by an unknown authority", "name the CA in spec.caRef of the issuer"
	case errors.As(err, &hostname):
		return "the certificate is not valid for the host " + cleaner{}.text(hostname.Host), "correct the issuer URL or the certificate"
	case errors.As(err, &invalid):
		return "the certificate is not valid (expired, not yet valid or not meant for servers)", "renew the issuer's certificate"
	case errors.As(err, &wire) && wire.Op == "remote error": // crypto/tls's own words for an alert
		return "the issuer ended the TLS handshake: " + wire.Err.Error(), "look at the client certificate, and at the authorities that the issuer trusts"
	case errors.As(err, &alert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "no TLS connection", "look whether the issuer speaks TLS 1.2 or newer on this port"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection broke before the answer was complete", "look at the issuer and at the proxies on the way"
	}
	return "no answer", "look whether the issuer is up, and at network policies on the way"
}

// originOf returns scheme://host:port of an http(s) URL, the port always there, lower case.
func originOf(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	port := u.Port()
	switch {
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme == "http" && port == "":
		port = "80"
	case u.Scheme != "https" && u.Scheme != "http":
		return "", false
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), true
}
