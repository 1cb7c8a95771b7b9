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
