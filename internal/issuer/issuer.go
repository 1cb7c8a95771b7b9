// Package issuer keeps what all grants of one issuer share: the connections, the request limits, the
// circuit breaker, the discovery document, the signing keys and the subject tokens. Thousands of grants
// then cost the issuer one exchange per refresh each, and a dead issuer next to nothing.
//
// The limits and the breaker stand in one gate, an http.RoundTripper below package keycloak, so that every request to
// the issuer passes them: for tokens, for the discovery document and for keys, with a client certificate and without.
package issuer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

const (
	defaultTimeout = 15 * time.Second
	// discoveryLife is how long a discovery document is taken as good. Keys are fetched again sooner, when a
	// token names one that is not known.
	discoveryLife = 10 * time.Minute
	// discoveryRetry is when a document that could not be fetched again is tried next; until then the old
	// one serves.
	discoveryRetry = 30 * time.Second
)

// Config says how to reach an issuer and how much to ask of it.
type Config struct {
	URL          string
	Hosts        []string // besides the URL's own, as for keycloak.Discover
	RootCAs      []byte   // PEM, beside the system's
	AllowHTTP    bool
	DenyPrivate  bool              // as for httpclient.New
	AllowedHosts *httpclient.Hosts // the same
	UserAgent    string
	Timeout      time.Duration // of one request, waiting for its turn included; 15 s when zero

	RequestsPerSecond float64 // 50 when zero
	Burst             int     // 100 when zero
	Concurrency       int     // 16 when zero

	Clock clock.PassiveClock // the real one when nil

	// OnStateChange, when set, is told when the issuer turns. It must not block.
	// It counts only for a new Issuer.
	OnStateChange func(StateChange)
}

// sameConnection reports whether two configurations differ at most in their limits.
func (c Config) sameConnection(other Config) bool {
	return c.URL == other.URL && slices.Equal(c.Hosts, other.Hosts) && bytes.Equal(c.RootCAs, other.RootCAs) &&
		c.AllowHTTP == other.AllowHTTP && c.DenyPrivate == other.DenyPrivate && c.AllowedHosts == other.AllowedHosts && c.UserAgent == other.UserAgent && c.Timeout == other.Timeout
}

func (c Config) sameLimits(other Config) bool {
	return c.RequestsPerSecond == other.RequestsPerSecond && c.Burst == other.Burst && c.Concurrency == other.Concurrency
}

// Issuer is one issuer object. It is safe for concurrent use.
//
// Its methods return the errors of package keycloak, or the cause of ctx's end.
type Issuer struct {
	url          string
	hosts        []string
	client       *http.Client // presents no certificate
	certificates certificates
	gate         *gate
	slots        *limit.Limiter
	clock        clock.PassiveClock
	flights      singleflight.Group
	subjects     subjects

	mu       sync.Mutex
	provider *keycloak.Provider
	verifier *keycloak.Verifier
	renew    time.Time // when provider is fetched again
}

func newIssuer(c Config) (*Issuer, error) {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	i := &Issuer{url: c.URL, hosts: c.Hosts, clock: c.Clock, subjects: subjects{clock: c.Clock}, gate: newGate(c)}
	i.slots = limit.New(c.Clock, i.gate.slots())
	i.certificates = certificates{clock: c.Clock, connect: func(certificate *tls.Certificate) (*http.Client, error) {
		return httpclient.New(httpclient.Options{
			RootCAs: c.RootCAs, AllowHTTP: c.AllowHTTP, DenyPrivate: c.DenyPrivate, AllowedHosts: c.AllowedHosts, UserAgent: c.UserAgent, Timeout: c.Timeout,
			MaxIdleConnsPerHost: c.Concurrency, ClientCertificate: certificate,
			Wrap: func(wire http.RoundTripper) http.RoundTripper { return roundTripper{i.gate, wire} },
		})
	}}
	var err error
	i.client, err = i.certificates.connect(nil)
	return i, err
}

// close closes the connections that nobody uses. Requests under way end as they would.
func (i *Issuer) close() {
	i.client.CloseIdleConnections()
	i.certificates.close()
}

// Discover returns the discovery document, from memory when it is younger than 10 minutes and force is not
// set. Calls at the same time share one request. When a document cannot be fetched again the old one
// serves, except with force.
func (i *Issuer) Discover(ctx context.Context, force bool) (*keycloak.Provider, error) {
	i.mu.Lock()
	held, renew := i.provider, i.renew
	i.mu.Unlock()
	if held != nil && !force && i.clock.Now().Before(renew) {
		return held, nil
	}
	found, err := shared(ctx, &i.flights, "discovery", i.fetchDiscovery)
	if err == nil || held == nil || force || ctx.Err() != nil {
		return found, i.informed(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renew = i.clock.Now().Add(discoveryRetry)
	return i.provider, nil
}

func (i *Issuer) fetchDiscovery(ctx context.Context) (*keycloak.Provider, error) {
	found, err := keycloak.Discover(ctx, i.client, i.url, i.hosts...)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renew = i.clock.Now().Add(discoveryLife)
	// An unchanged document keeps the verifier, and with it the keys.
	if !reflect.DeepEqual(found, i.provider) {
		i.provider, i.verifier = found, keycloak.NewVerifier(found, i.client)
	}
	return i.provider, nil
}

// SubjectRequest names a token of a client's own service account.
type SubjectRequest struct {
	ClientID string
	Auth     keycloak.ClientAuth
	// CredentialVersion changes whenever Auth does, its method included: a token that was minted with
	// another credential is never given out.
	CredentialVersion string
	// Certificate is what the client presents when it connects; nil where it authenticates in another way.
	Certificate *Certificate
	Scopes      []string
}

// SubjectToken returns a token for exchanges. All who ask for the same share one, as long as half of its
// life and 10 s are left.
func (i *Issuer) SubjectToken(ctx context.Context, r SubjectRequest) (keycloak.Token, error) {
	key := r.key()
	if held, ok := i.subjects.get(key); ok {
		return held, nil
	}
	token, err := shared(ctx, &i.flights, "subject\x00"+key, func(ctx context.Context) (keycloak.Token, error) {
		// The flight before this one may have landed since we looked.
		if held, ok := i.subjects.get(key); ok {
			return held, nil
		}
		asked := i.clock.Now()
		token, err := i.mintSubject(ctx, r)
		if err == nil {
			i.subjects.put(key, token, asked)
		}
		return token, err
	})
	return token, i.informed(err)
}

// Drop forgets the subject token of a client, so that the next one is minted.
func (i *Issuer) Drop(r SubjectRequest) { i.subjects.drop(r.key()) }

func (i *Issuer) mintSubject(ctx context.Context, r SubjectRequest) (keycloak.Token, error) {
	client, err := i.as(ctx, r)
	if err != nil {
		return keycloak.Token{}, err
	}
	return client.ClientCredentials(ctx, r.Scopes)
}

func (i *Issuer) as(ctx context.Context, r SubjectRequest) (keycloak.Client, error) {
	provider, err := i.Discover(ctx, false)
	if err != nil {
		return keycloak.Client{}, err
	}
	client := keycloak.Client{Provider: provider, ID: r.ClientID, Auth: r.Auth, HTTP: i.client}
	if r.Certificate != nil {
		client.HTTP, err = i.certificates.client(r.Certificate)
	}
	return client, err
}

// Verify judges a token by the issuer's keys, which are kept, and by e.
func (i *Issuer) Verify(ctx context.Context, token sensitive.String, e keycloak.Expect) (*keycloak.Claims, error) {
	if _, err := i.Discover(ctx, false); err != nil {
		return nil, err
	}
	i.mu.Lock()
	verifier := i.verifier
	i.mu.Unlock()
	claims, err := verifier.Verify(ctx, token, e)
	return claims, i.informed(err)
}

// informed adds to an error without an answer when the breaker lets the next request through. Before that
// it would be in vain.
func (i *Issuer) informed(err error) error {
	var failed *keycloak.Error
	if !errors.As(err, &failed) || failed.Reason != keycloak.ReasonIssuerUnreachable {
		return err
	}
	wait := i.gate.closedFor()
	if wait <= failed.RetryAfter {
		return err
	}
	told := *failed
	told.RetryAfter = wait
	return &told
}

// Acquire gives a slot for the requests of one mint, as limit.Limiter.Acquire.
func (i *Issuer) Acquire(w limit.Waiter) (release func(), ok bool) { return i.slots.Acquire(w) }

// Waiting is how many wait for a slot.
func (i *Issuer) Waiting() int { return i.slots.Waiting() }

func (i *Issuer) setLimits(c Config) {
	i.gate.setLimits(c)
	i.slots.Set(i.gate.slots())
}

// State is what metrics show of an issuer.
type State struct {
	// Breaker is closed, half-open or open.
	Breaker string
	// Discovered says whether there is a discovery document.
	Discovered bool
	// SubjectTokens is how many subject tokens are held.
	SubjectTokens int
}

// State returns the state now.
func (i *Issuer) State() State {
	i.mu.Lock()
	discovered := i.provider != nil
	i.mu.Unlock()
	return State{Breaker: i.gate.breaker.State().String(), Discovered: discovered, SubjectTokens: i.subjects.count()}
}

// shared lets concurrent calls with the same key wait for one run of f. A caller that gives up leaves the
// run to the others; the client's timeout ends it.
func shared[T any](ctx context.Context, flights *singleflight.Group, key string, f func(context.Context) (T, error)) (T, error) {
	flight := flights.DoChan(key, func() (any, error) { return f(context.WithoutCancel(ctx)) })
	select {
	case landed := <-flight:
		value, _ := landed.Val.(T)
		return value, landed.Err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
