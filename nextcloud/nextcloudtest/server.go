// Package nextcloudtest is a stand-in for Nextcloud 31.0.6 with user_oidc 8.10.1: good enough for everything this
// project asks a Nextcloud, and for nothing else. It validates bearer tokens as user_oidc does, with its holes, and
// answers OCS, status.php, app passwords and a little WebDAV. Its fidelity is not claimed but tested: the contract test
// replays the requests recorded on the real server and compares the answers.
//
// Everything it holds is in memory. It is for tests and for development, never for data.
package nextcloudtest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"k8s.io/utils/clock"
)

// Options are what a Server starts with. The zero value is a Nextcloud without a provider and without users.
type Options struct {
	// Issuer is the issuer URL of the one OIDC provider; its discovery document is fetched when the first token comes.
	Issuer string
	// ClientID is the provider's client id, which the audience check looks for in aud. Empty means "nextcloud".
	ClientID string
	// MappingClaim names the claim that is the user id. Empty means "preferred_username".
	MappingClaim string
	// Users exist before any token comes. Their default Backend is "Database".
	Users []User
	// Clock decides about exp and the age of caches. Nil means the real one.
	Clock clock.PassiveClock
	// HTTP reaches the issuer. Nil means a client with the 30 s limit of Nextcloud's own.
	HTTP *http.Client
}

// Server is the stand-in. Its methods may be called while it serves.
type Server struct {
	state    state
	provider provider
	mux      *http.ServeMux
}

// New makes a stand-in; serve its Handler.
func New(o Options) *Server {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: issuerTimeout}
	}
	s := &Server{}
	s.state.init(o)
	s.provider = provider{state: &s.state, http: o.HTTP}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("/status.php", s.status)
	s.mux.HandleFunc("/ocs/v1.php/", s.ocs)
	s.mux.HandleFunc("/ocs/v2.php/", s.ocs)
	s.mux.HandleFunc("/remote.php/dav/", s.dav)
	s.mux.HandleFunc("/remote.php/webdav/", s.dav)
	return s
}

// Handler serves the stand-in at the root of a host.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.state.count(r.Method + " " + endpoint(r.URL.Path))
		set := s.Settings()
		if !wait(r.Context(), set.Latency.Duration) || s.outOfOrder(w, r, set) {
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

// wait lets d pass; false means that the client left.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// shutdownLimit is how long Serve waits for requests that are being answered.
const shutdownLimit = 5 * time.Second

// Serve serves h on l until ctx ends, then lets running requests finish for at most 5 s. It serves TLS where certFile is set.
func Serve(ctx context.Context, l net.Listener, h http.Handler, certFile, keyFile string) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
		defer cancel()
		done <- server.Shutdown(limited)
	}()
	var err error
	if certFile != "" {
		err = server.ServeTLS(l, certFile, keyFile)
	} else {
		err = server.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}
