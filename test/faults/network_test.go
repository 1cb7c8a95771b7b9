//go:build integration

package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "faults"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var raw []byte
	a.key, raw = sign(t, template, template, nil)
	a.cert, _ = x509.ParseCertificate(raw)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return a
}

func sign(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, raw
}

// serving issues a certificate for a name, which is good until a time.
func (a *authority) serving(t *testing.T, name string, until time.Time) *tls.Certificate {
	t.Helper()
	key, raw := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}, a.cert, a.key)
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// front ends TLS before an issuer, with a certificate that can be changed.
type front struct {
	name        string
	authority   *authority
	good        *tls.Certificate
	certificate atomic.Pointer[tls.Certificate]
	server      *httptest.Server
}

// newFront chooses a name, which the name server knows.
func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{name: strings.ToLower(rand.Text()[:8]) + zone, authority: newAuthority(t)}
	f.good = f.authority.serving(t, f.name, time.Now().Add(time.Hour))
	f.certificate.Store(f.good)
	cluster.dns.set(f.name, true)
	return f
}

func (f *front) serve(t *testing.T, upstream string) (address string) {
	t.Helper()
	f.server = httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream}))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.TLS = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.certificate.Load(), nil },
		// A resumed session would keep the certificate of before.
		SessionTicketsDisabled: true,
	}
	f.server.StartTLS() // httptest's own certificate is for clients that name no host.
	t.Cleanup(f.server.Close)
	return f.server.Listener.Addr().String()
}

// present shows another certificate to all connections from now on.
func (f *front) present(c *tls.Certificate) {
	f.certificate.Store(c)
	f.server.CloseClientConnections()
}

// zone is what the name server answers for.
const zone = ".faults.test"

// nameServer is a DNS server that can lose a name. The programs of this process ask it; names in /etc/hosts come first.
type nameServer struct {
	conn net.PacketConn

	mu    sync.Mutex
	known map[string]bool
}

func startNameServer() (*nameServer, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &nameServer{conn: conn, known: map[string]bool{}}
	go n.serve()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	return n, nil
}

func (n *nameServer) set(name string, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = known
}

func (n *nameServer) serve() {
	packet := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if answer, err := n.answer(packet[:size]); err == nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *nameServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) == 0 {
		return nil, err
	}
	q := m.Questions[0]
	n.mu.Lock()
	known := n.known[strings.TrimSuffix(q.Name.String(), ".")] || n.known[q.Name.String()]
	n.mu.Unlock()
	m.Response, m.Additionals = true, nil
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}
