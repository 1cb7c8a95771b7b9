// Package keycloaktest is a stand-in for Keycloak: discovery, signing keys and a token endpoint that answers as
// Keycloak 26.7.3 was recorded to answer (../testdata), with real signed tokens. It records what it was asked, and
// any answer can be scripted: wrong, late, cut or none at all.
//
//	s := keycloaktest.NewServer(t)
//	s.Client("notes-sync", "s3cret")       // may exchange for "nextcloud"
//	s.SetLifespan(15 * time.Second)
//	s.Script(keycloaktest.Answer{Status: 503}) // the next request only
//	... use s.URL as the issuer ...
//	s.Requests()
package keycloaktest

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	realmPath     = "/realms/tokengrant"
	discoveryPath = realmPath + "/.well-known/openid-configuration"
	tokenPath     = realmPath + "/protocol/openid-connect/token"
	keysPath      = realmPath + "/protocol/openid-connect/certs"
	revokePath    = realmPath + "/protocol/openid-connect/revoke"
	logoutPath    = realmPath + "/protocol/openid-connect/logout"
)

// Options set a Server up. The zero value is a good one.
type Options struct {
	// Now is the server's clock; time.Now when nil. It may differ from the caller's, for clock skew.
	Now func() time.Time
	// Lifespan of tokens; 5 minutes when zero.
	Lifespan time.Duration
	// Addr to listen on; a free port of 127.0.0.1 when empty.
	Addr string
	// URL is the scheme and host that it calls itself by, where a proxy stands before it; its own when empty.
	URL string
	// TLS makes it an https server that takes client certificates, whoever issued them. See HTTPClient and CertificatePEM.
	TLS bool
	// LegacyExchange is the feature token-exchange:v1: impersonation.
	LegacyExchange bool
	// Wrap, when set, is asked for the handler to serve in place of the server's own.
	Wrap func(own http.Handler) http.Handler
}

// Server is a running stand-in. Its methods may be called at any time, from several goroutines.
type Server struct {
	// URL is the issuer URL.
	URL string

	http *httptest.Server
	now  func() time.Time
	done chan struct{}

	legacyExchange bool

	mu       sync.Mutex
	keys     []signingKey // the last one signs
	clients  map[string]Client
	lifespan time.Duration
	down     bool
	scripts  map[string][]Answer // by path
	counts   map[string]int      // by path
	requests []Request
	minted   []Minted

	users     map[string]bool // true: enabled
	providers map[string]IdentityProvider
	sessions  map[string]*session
	revoked   map[string]bool // by jti
	usedJWTs  map[string]bool // by jti
	rotates   bool
	maxReuse  int
}

// NewServer starts a server that the test stops at its end.
func NewServer(t testing.TB, options ...Options) *Server {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	s, err := Start(o)
	if err != nil {
		t.Fatalf("keycloaktest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server. The caller closes it.
func Start(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lifespan == 0 {
		o.Lifespan = 5 * time.Minute
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	key, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		now: o.Now, done: make(chan struct{}), keys: []signingKey{key}, lifespan: o.Lifespan,
		clients: map[string]Client{"nextcloud": {ID: "nextcloud", NoServiceAccount: true, NoExchange: true}},
		scripts: map[string][]Answer{}, counts: map[string]int{}, legacyExchange: o.LegacyExchange,
		users: map[string]bool{"alice": true}, providers: map[string]IdentityProvider{}, sessions: map[string]*session{},
		revoked: map[string]bool{}, usedJWTs: map[string]bool{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+discoveryPath, s.scripted(discoveryPath, s.discovery))
	mux.HandleFunc("GET "+keysPath, s.scripted(keysPath, s.publishKeys))
	mux.HandleFunc("POST "+tokenPath, s.token)
	mux.HandleFunc("POST "+revokePath, s.scripted(revokePath, s.revoke))
	mux.HandleFunc("POST "+logoutPath, s.scripted(logoutPath, s.logout))
	mux.HandleFunc("/realms/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "Realm does not exist"})
	})
	handler := http.Handler(mux)
	if o.Wrap != nil {
		handler = o.Wrap(mux)
	}
	s.http = &httptest.Server{
		Listener: listener,
		Config:   &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)},
	}
	if o.TLS {
		s.http.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = cmp.Or(o.URL, s.http.URL) + realmPath
	return s, nil
}

// Close stops the server and lets go whoever it keeps waiting.
func (s *Server) Close() {
	close(s.done)
	s.http.Close()
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// HTTPClient returns a client that trusts the server's certificate.
func (s *Server) HTTPClient() *http.Client { return s.http.Client() }

// CertificatePEM is the CA certificate of a server with TLS.
func (s *Server) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// SetLifespan sets the life of the tokens of all clients that have none of their own.
func (s *Server) SetLifespan(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifespan = d
}

// SetDown makes the server drop every connection, as one that is starting or behind a dead load balancer, and back.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Requests returns what reached the token endpoint, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests for a grant type reached the token endpoint.
func (s *Server) Count(grantType string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.GrantType == grantType {
			n++
		}
	}
	return n
}

// DiscoveryCount returns how often the discovery document was fetched.
func (s *Server) DiscoveryCount() int { return s.count(discoveryPath) }

// KeysCount returns how often the signing keys were fetched.
func (s *Server) KeysCount() int { return s.count(keysPath) }

func (s *Server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

func (s *Server) discovery(w http.ResponseWriter, _ *http.Request, _ Answer) {
	endpoint := s.URL + "/protocol/openid-connect/"
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                        s.URL,
		"authorization_endpoint":        endpoint + "auth",
		"token_endpoint":                endpoint + "token",
		"jwks_uri":                      endpoint + "certs",
		"revocation_endpoint":           endpoint + "revoke",
		"end_session_endpoint":          endpoint + "logout",
		"device_authorization_endpoint": endpoint + "auth/device",
		"grant_types_supported": []string{
			"authorization_code", "client_credentials", "refresh_token",
			"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange",
		},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
