package keycloak

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

var (
	rsa2048 = must(rsa.GenerateKey(rand.Reader, 2048))
	rsa1024 = must(rsa.GenerateKey(rand.Reader, 1024))
	p256    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384    = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func jwkOf(key any, kid, algorithm string) string {
	return string(must(json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: algorithm})))
}

func thumbprint(key crypto.Signer) string {
	return base64.RawURLEncoding.EncodeToString(must((&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)))
}

func pkcs8(key any) string { return pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }

func TestAnAssertionOfAnotherIssuerAuthenticates(t *testing.T) {
	cluster, s := keycloaktest.NewServer(t), keycloaktest.NewServer(t)
	s.SetIdentityProvider(keycloaktest.IdentityProvider{Alias: "kubernetes", Issuer: cluster.URL, Keys: cluster.Keys})
	s.SetClient(keycloaktest.Client{
		ID: "notes sync:1", Audience: []string{"nextcloud"},
		Federated: &keycloaktest.Federation{Alias: "kubernetes", Subject: "system:serviceaccount:apps:notes-sync"},
	})
	claims := cluster.Claims("x", "x", s.URL)
	claims["sub"] = "system:serviceaccount:apps:notes-sync"
	good := cluster.Sign(claims)
	claims["aud"] = []string{s.URL, "https://kubernetes.default.svc"}
	two := cluster.Sign(claims)
	claims["sub"], claims["aud"] = "system:serviceaccount:apps:other", s.URL
	other := cluster.Sign(claims)

	calls := 0
	c := newClient(t, s, Assertion(func(context.Context) (sensitive.String, error) {
		calls++
		return sensitive.New(good), nil
	}))
	subject, err := c.ClientCredentials(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exchange(t.Context(), subject.AccessToken, ExchangeRequest{Audience: []string{"nextcloud"}}); err != nil {
		t.Fatal(err)
	}
	if calls != 2 {
		t.Errorf("the assertion was asked for %d times, want once for each request", calls)
	}
	if form := s.Requests()[0].Form; form.Has("client_id") || form.Get("client_assertion") != good {
		t.Errorf("form %v", form)
	}

	gone := errors.New("the service account is gone")
	for name, tt := range map[string]struct {
		assertion string
		err       error
		reason    string
		says      string
	}{
		"with two audiences":         {two, nil, ReasonClientRejected, "only audience"},
		"of another service account": {other, nil, ReasonClientRejected, "jwt.credential.sub"},
		"empty":                      {"", nil, ReasonCredentialMissing, "the client assertion is empty"},
		"that cannot be had":         {"", gone, ReasonCredentialMissing, "the service account is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, s, Assertion(func(context.Context) (sensitive.String, error) {
				return sensitive.New(tt.assertion), tt.err
			})).ClientCredentials(t.Context(), nil)
			wantError(t, err, tt.reason, tt.says)
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v does not lead to %v", err, tt.err)
			}
		})
	}
	t.Run("while the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newClient(t, s, Assertion(func(ctx context.Context) (sensitive.String, error) {
			return sensitive.String{}, fmt.Errorf("asking: %w", ctx.Err())
		})).ClientCredentials(ctx, nil)
		wantError(t, err, ReasonIssuerUnreachable, "cancelled")
	})
}

func clientCertificate(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	return certificateOf(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// certificateOf issues a certificate for the key p256, by itself.
func certificateOf(t *testing.T, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: p256}
}

func TestTLSAuthenticatesWithTheConnection(t *testing.T) {
	s := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true})
	s.SetClient(keycloaktest.Client{ID: "notes sync:1", Certificate: "CN=notes-sync"})
	for name, tt := range map[string]struct {
		certificate *tls.Certificate
		good        bool
	}{
		"its certificate":     {clientCertificate(t, "notes-sync"), true},
		"another certificate": {clientCertificate(t, "other"), false},
		"no certificate":      {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			hc, err := httpclient.New(httpclient.Options{RootCAs: s.CertificatePEM(), ClientCertificate: tt.certificate})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(hc.CloseIdleConnections)
			c := newClient(t, s, TLS())
			c.HTTP = hc
			_, err = c.ClientCredentials(t.Context(), nil)
			if tt.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, ReasonClientRejected, "x509.subjectdn")
		})
	}
	requests := s.Requests()
	if form := requests[len(requests)-1].Form; form.Get("client_id") != "notes sync:1" || len(form) != 2 {
		t.Errorf("form %v, want client_id and grant_type", form)
	}
}

func TestTLSGoesToTheAliases(t *testing.T) {
	s := keycloaktest.NewServer(t)
	s.SetClient(keycloaktest.Client{ID: "notes sync:1", Certificate: "CN=notes-sync"})
	c := newClient(t, s, TLS())
	c.Provider.MTLSTokenEndpoint, c.Provider.TokenEndpoint = c.Provider.TokenEndpoint, "http://127.0.0.1:1/token"
	c.Provider.MTLSRevocationEndpoint, c.Provider.RevocationEndpoint = c.Provider.RevocationEndpoint, "http://127.0.0.1:1/revoke"
	_, err := c.ClientCredentials(t.Context(), nil)
	wantError(t, err, ReasonClientRejected, "X509")
	wantError(t, c.Revoke(t.Context(), sensitive.New("t"), ""), ReasonClientRejected, "X509")
	c.Provider.MTLSTokenEndpoint = "http://evil.example/token"
	_, err = c.ClientCredentials(t.Context(), nil)
	wantError(t, err, ReasonIssuerInvalid, "another host")
}

func TestAPublicClientSendsItsIDOnly(t *testing.T) {
	s := keycloaktest.NewServer(t)
	_, err := newClient(t, s, Public()).ClientCredentials(t.Context(), nil)
	wantError(t, err, ReasonClientRejected, "does not exist")
	if form := s.Requests()[0].Form; form.Get("client_id") != "notes sync:1" || len(form) != 2 {
		t.Errorf("form %v", form)
	}
}

// A server that ends the handshake over the certificate says why, and so do we.
func TestARefusedCertificateIsSaid(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	hc, err := httpclient.New(httpclient.Options{RootCAs: []byte(pemOf("CERTIFICATE", server.Certificate().Raw)), ClientCertificate: clientCertificate(t, "foreign")})
	if err != nil {
		t.Fatal(err)
	}
	c := Client{Provider: &Provider{Issuer: server.URL, TokenEndpoint: server.URL}, ID: "x", Auth: TLS(), HTTP: hc}
	_, err = c.ClientCredentials(t.Context(), nil)
	e := wantError(t, err, ReasonClientRejected, "the issuer ended the TLS handshake: tls: ")
	if !strings.Contains(e.Hint, "--truststore-paths") {
		t.Errorf("hint %q", e.Hint)
	}
	hc, err = httpclient.New(httpclient.Options{RootCAs: []byte(pemOf("CERTIFICATE", server.Certificate().Raw))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Discover(t.Context(), hc, server.URL)
	wantError(t, err, ReasonIssuerUnreachable, "not required")
}
