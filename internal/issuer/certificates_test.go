package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// certificateOf makes a certificate of a subject, signed by itself.
func certificateOf(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// presenting is a request of a client that authenticates by a certificate.
func presenting(pair *tls.Certificate, version string) MintRequest {
	return MintRequest{
		Subject: SubjectRequest{
			ClientID: "certified", Auth: keycloak.TLS(), CredentialVersion: version, Certificate: NewCertificate("apps/certificate", pair),
		},
		Exchange: &keycloak.ExchangeRequest{Audience: []string{"nextcloud"}},
	}
}

func TestACertificateIsPresentedAndReplacedAtOnce(t *testing.T) {
	server := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true})
	server.SetClient(keycloaktest.Client{ID: "certified", Certificate: "CN=first", Audience: []string{"nextcloud"}})
	server.Client("notes-sync", secret)
	i, err := NewRegistry().Get("k", Config{URL: server.URL, RootCAs: server.CertificatePEM()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	mint(t, i, exchanged("notes-sync"))
	first, second := certificateOf(t, "first"), certificateOf(t, "second")
	mint(t, i, presenting(first, "1"))
	mint(t, i, presenting(first, "2"))
	if _, err := i.Mint(t.Context(), presenting(second, "3")); reasonOf(err) != keycloak.ReasonClientRejected {
		t.Errorf("another subject: %v, want ClientRejected", err)
	}
	server.SetClient(keycloaktest.Client{ID: "certified", Certificate: "CN=second", Audience: []string{"nextcloud"}})
	mint(t, i, presenting(second, "3"))
	mint(t, i, exchanged("notes-sync"))
	if server.DiscoveryCount() != 1 {
		t.Errorf("discovered %d times, want once for all", server.DiscoveryCount())
	}
}

func TestCertificatesStandBeforeTheSameGate(t *testing.T) {
	server := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true})
	server.Client("notes-sync", secret)
	server.SetClient(keycloaktest.Client{ID: "certified", Certificate: "CN=first", Audience: []string{"nextcloud"}})
	i, err := NewRegistry().Get("k", Config{URL: server.URL, RootCAs: server.CertificatePEM()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	mint(t, i, exchanged("notes-sync"))
	server.SetDown(true)
	certificate := presenting(certificateOf(t, "first"), "1")
	for range tripAfter {
		if _, err := i.Mint(t.Context(), certificate); reasonOf(err) != keycloak.ReasonIssuerUnreachable {
			t.Fatal(err)
		}
	}
	if s := i.State().Breaker; s != "open" {
		t.Fatalf("the breaker is %s", s)
	}
	before := len(server.Requests())
	if _, err := i.Mint(t.Context(), MintRequest{Subject: subjectOf("notes-sync")}); reasonOf(err) != keycloak.ReasonIssuerUnreachable || len(server.Requests()) != before {
		t.Errorf("%v: the client without a certificate asked an issuer that is down", err)
	}
}

// choosy is an issuer that ends the handshake over every certificate, and counts its connections.
func choosy(t *testing.T) (server *httptest.Server, closed *atomic.Int64) {
	t.Helper()
	server, closed = httptest.NewUnstartedServer(nil), &atomic.Int64{}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed.Add(1)
		}
	}
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	server.Listener = lingering{server.Listener}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":%[1]q,"token_endpoint":%[1]q,"jwks_uri":%[1]q}`, server.URL)
	})
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, closed
}

// lingering is a listener whose connections read what is on its way before they close: a reset would overtake the alert that
// says why.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return lingerer{tcp}, err
	}
	return conn, err
}

type lingerer struct{ *net.TCPConn }

func (c lingerer) Close() error {
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c.TCPConn)
	return c.TCPConn.Close()
}

func configOf(server *httptest.Server) Config {
	return Config{URL: server.URL, RootCAs: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}
}

func TestARefusedCertificateDoesNotStopTheOthers(t *testing.T) {
	server, _ := choosy(t)
	i, err := NewRegistry().Get("k", configOf(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	for range 2 * tripAfter {
		if _, err := i.Mint(t.Context(), presenting(certificateOf(t, "foreign"), "1")); reasonOf(err) != keycloak.ReasonClientRejected {
			t.Fatalf("%v, want ClientRejected", err)
		}
	}
	if s := i.State().Breaker; s != "closed" {
		t.Errorf("the breaker is %s", s)
	}
	if _, err := i.Discover(t.Context(), true); err != nil {
		t.Error(err)
	}
}

func TestConnectionsOfACertificateEndWithIt(t *testing.T) {
	server, closed := choosy(t)
	server.TLS.ClientAuth = tls.RequestClientCert
	clk := testingclock.NewFakePassiveClock(time.Now())
	c := configOf(server)
	c.Clock = clk
	i, err := NewRegistry().Get("k", c)
	if err != nil {
		t.Fatal(err)
	}
	first, second := certificateOf(t, "first"), certificateOf(t, "second")
	use := func(source string, pair *tls.Certificate) {
		t.Helper()
		hc, err := i.certificates.client(NewCertificate(source, pair))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	expect := func(what string, held, gone int) {
		t.Helper()
		deadline := time.Now().Add(5 * time.Second)
		for int(closed.Load()) != gone && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if len(i.certificates.held) != held || int(closed.Load()) != gone {
			t.Errorf("%s: %d certificates held and %d connections closed, want %d and %d", what, len(i.certificates.held), closed.Load(), held, gone)
		}
	}
	use("apps/a", first)
	use("apps/a", first)
	use("apps/b", first)
	expect("two sources", 2, 0)
	use("apps/a", second)
	expect("another certificate of one", 2, 1)
	clk.SetTime(clk.Now().Add(certificateLife - time.Second))
	use("apps/a", second)
	clk.SetTime(clk.Now().Add(time.Second))
	use("apps/a", second)
	expect("the other is not used any more", 1, 2)
	i.close()
	expect("the issuer is gone", 0, 3)
}

func TestACertificateIsNotPrinted(t *testing.T) {
	pair := certificateOf(t, "first")
	key, err := pair.PrivateKey.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprintf("%+v", NewCertificate("apps/a", pair)), fmt.Sprintf("%#v", *NewCertificate("apps/a", pair)), fmt.Sprint(presenting(pair, "1")),
	} {
		if strings.Contains(printed, new(big.Int).SetBytes(key).String()) {
			t.Errorf("printed: %s", printed)
		}
	}
}
