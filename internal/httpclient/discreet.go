package httpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
)

// ErrProtocol stands for every fault of the wire whose text could quote what the server sent.
var ErrProtocol = errors.New("the connection broke or did not carry a valid HTTP answer")

// CertificateRefusedError says that the server ended the handshake over the client's certificate, or for want of one.
type CertificateRefusedError struct {
	// Alert is what it said (RFC 8446 §6.2).
	Alert tls.AlertError
	wire  error
}

func (e *CertificateRefusedError) Error() string { return e.wire.Error() }
func (e *CertificateRefusedError) Unwrap() error { return e.wire }

// certificateAlerts are the alerts about the certificate of the side that gets them: bad, unsupported, revoked, expired,
// unknown, of an unknown authority, without access, missing.
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116}

// certificateAlert finds out which alert a fault of the wire is. crypto/tls keeps the number to itself.
func certificateAlert(wire *net.OpError) (tls.AlertError, bool) {
	if wire.Op != "remote error" { // crypto/tls's own word for an alert of the other side
		return 0, false
	}
	for _, alert := range certificateAlerts {
		if wire.Err.Error() == alert.Error() {
			return alert, true
		}
	}
	return 0, false
}

// discreet hides the server's words: net/http quotes malformed status lines, headers and HTTP/2 debug data
// in its errors. Only kinds of error that are known to hold addresses, names and certificates pass.
type discreet struct{ next http.RoundTripper }

func (d discreet) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		// Who cancelled the request knows best why.
		if cause := context.Cause(req.Context()); cause != nil {
			return nil, cause
		}
		return nil, withoutQuotes(err)
	}
	resp.Body = discreetBody{resp.Body}
	return resp, nil
}

type discreetBody struct{ io.ReadCloser }

func (b discreetBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = withoutQuotes(err)
	}
	return n, err
}

func withoutQuotes(err error) error {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	var (
		dial        *net.OpError
		timeout     net.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		hostname    x509.HostnameError
	)
	switch {
	case errors.As(err, &dial):
		if alert, is := certificateAlert(dial); is {
			return &CertificateRefusedError{alert, dial}
		}
		return dial
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &hostname):
		return hostname
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &record):
		return record
	case errors.As(err, &timeout) && timeout.Timeout():
		return timeout
	}
	return ErrProtocol
}
