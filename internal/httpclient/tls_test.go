package httpclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestABundleWithoutCertificateIsRefused(t *testing.T) {
	_, err := New(Options{RootCAs: []byte(canary)})
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v; want one that does not quote the bundle", err)
	}
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	day := 24 * time.Hour
	now := time.Now()
	for name, tc := range map[string]struct {
		leaf tls.Certificate
		max  uint16
		pem  []byte
		want func(error) bool
	}{
		"a certificate of the private CA": {
			leaf: ca.issue(t, "127.0.0.1", now.Add(day)), pem: ca.pem,
			want: func(err error) bool { return err == nil },
		},
		"the same without the bundle": {
			leaf: ca.issue(t, "127.0.0.1", now.Add(day)),
			want: is[x509.UnknownAuthorityError],
		},
		"expired": {
			leaf: ca.issue(t, "127.0.0.1", now.Add(-time.Hour)), pem: ca.pem,
			want: func(err error) bool {
				var invalid x509.CertificateInvalidError
				return errors.As(err, &invalid) && invalid.Reason == x509.Expired
			},
		},
		"for another host": {
			leaf: ca.issue(t, "127.0.0.2", now.Add(day)), pem: ca.pem,
			want: is[x509.HostnameError],
		},
		"TLS 1.1": {
			leaf: ca.issue(t, "127.0.0.1", now.Add(day)), pem: ca.pem, max: tls.VersionTLS11,
			want: func(err error) bool { return is[*net.OpError](err) || is[tls.AlertError](err) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := serveTLS(t, tc.leaf, tc.max)
			resp, err := get(t, client(t, Options{RootCAs: tc.pem}), url)
			if !tc.want(err) {
				t.Errorf("error %v (%T)", err, err)
			}
			if err == nil && resp.Proto != "HTTP/2.0" {
				t.Errorf("spoke %s, want HTTP/2.0", resp.Proto)
			}
		})
	}
}

func TestTheClientCertificateIsPresented(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	trusted, foreign := ca.issueClient(t, "mine", tomorrow), other.issueClient(t, "foreign", tomorrow)
	for name, tc := range map[string]struct {
		auth        tls.ClientAuthType
		certificate *tls.Certificate
		want        string // the common name the server saw
		refused     bool
	}{
		"to a server that asks":                       {tls.VerifyClientCertIfGiven, &trusted, "mine", false},
		"to a server that insists":                    {tls.RequireAndVerifyClientCert, &trusted, "mine", false},
		"to a server that does not ask":               {tls.NoClientCert, &trusted, "", false},
		"not when there is none":                      {tls.VerifyClientCertIfGiven, nil, "", false},
		"none to a server that insists":               {tls.RequireAndVerifyClientCert, nil, "", true},
		"although the server knows not its authority": {tls.VerifyClientCertIfGiven, &foreign, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			seen := ""
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) > 0 {
					seen = r.TLS.PeerCertificates[0].Subject.CommonName
				}
			}))
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(ca.pem)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", tomorrow)}, ClientAuth: tc.auth, ClientCAs: pool}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			_, err := get(t, client(t, Options{RootCAs: ca.pem, ClientCertificate: tc.certificate}), server.URL)
			if (err != nil) != tc.refused || tc.refused && !is[*net.OpError](err) {
				t.Errorf("error %v (%T), refused is to be %t", err, err, tc.refused)
			}
			if seen != tc.want {
				t.Errorf("the server saw %q, want %q", seen, tc.want)
			}
		})
	}
}

func is[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

// serveTLS starts a server that offers HTTP/2 and, up to maxVersion, TLS as old as 1.0.
func serveTLS(t *testing.T, leaf tls.Certificate, maxVersion uint16) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{leaf}, NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS10, MaxVersion: maxVersion,
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// authority is a private CA.
type authority struct {
	pem  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t), cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// issue returns a server certificate for one IP address.
func (a *authority) issue(t *testing.T, ip string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: notAfter.Add(-72 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// issueClient returns a client certificate.
func (a *authority) issueClient(t *testing.T, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name},
		NotBefore: notAfter.Add(-72 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
