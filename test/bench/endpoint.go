package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	clientSecret  = "bench-secret"
	// hangs is longer than the operator waits for any answer.
	hangs = 35 * time.Second
)

// endpoint is an issuer with as many realms as are asked for, and Nextclouds beside it. It signs real tokens (ES256, the
// cheapest for the one who signs: on two cores its share of the time is the operator's loss) and counts what it is asked.
type endpoint struct {
	URL string

	server *http.Server
	signer jose.Signer
	keys   jose.JSONWebKeySet
	life   atomic.Int64 // seconds
	down   atomic.Bool
	jti    atomic.Int64

	exchanges, subjects, checks, refused atomic.Int64

	mu    sync.Mutex
	times []time.Time // of the exchanges, while recorded
	probe []time.Time // of the requests while down
}

func startEndpoint(life time.Duration) (*endpoint, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key := jose.JSONWebKey{Key: private, KeyID: "bench", Algorithm: "ES256", Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &endpoint{URL: "http://" + listener.Addr().String(), signer: signer, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}}
	e.life.Store(int64(life / time.Second))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realms/{realm}/.well-known/openid-configuration", e.discovery)
	mux.HandleFunc("GET /realms/{realm}/certs", e.certs)
	mux.HandleFunc("POST /realms/{realm}/token", e.token)
	mux.HandleFunc("GET /nextcloud/ocs/v2.php/cloud/user", e.user)
	mux.HandleFunc("/hanging/", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(hangs):
		}
	})
	e.server = &http.Server{Handler: e.gone(mux), ReadHeaderTimeout: time.Minute}
	go func() { _ = e.server.Serve(listener) }()
	return e, nil
}

func (e *endpoint) Close() { _ = e.server.Close() }

// issuer gives the URL of a realm. Two names are special: "dead" drops every connection.
func (e *endpoint) issuer(realm string) string { return e.URL + "/realms/" + realm }

// gone drops connections while the issuer is down, and always those to the realm "dead" but for its discovery.
func (e *endpoint) gone(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.down.Load() && strings.HasPrefix(r.URL.Path, "/realms/") {
			e.mu.Lock()
			e.probe = append(e.probe, time.Now())
			e.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func (e *endpoint) discovery(w http.ResponseWriter, r *http.Request) {
	url := e.issuer(r.PathValue("realm"))
	answer(w, http.StatusOK, map[string]any{
		"issuer": url, "token_endpoint": url + "/token", "jwks_uri": url + "/certs",
		"grant_types_supported":                 []string{"client_credentials", grantExchange},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (e *endpoint) certs(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.keys) }

func (e *endpoint) token(w http.ResponseWriter, r *http.Request) {
	realm := r.PathValue("realm")
	if realm == "dead" {
		panic(http.ErrAbortHandler)
	}
	if attack(w, r, realm) {
		return
	}
	id, secret, _ := r.BasicAuth()
	if secret != clientSecret {
		e.refused.Add(1)
		answer(w, http.StatusUnauthorized, map[string]any{"error": "unauthorized_client", "error_description": "Invalid client or Invalid client credentials"})
		return
	}
	audience := id
	if r.PostFormValue("grant_type") == grantExchange {
		e.exchanges.Add(1)
		audience = r.PostFormValue("audience")
		e.mu.Lock()
		e.times = append(e.times, time.Now())
		e.mu.Unlock()
	} else {
		e.subjects.Add(1)
	}
	token, err := e.sign(realm, id, audience)
	if err != nil {
		panic(err)
	}
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": e.life.Load(), "scope": "profile"})
}

func (e *endpoint) sign(realm, client, audience string) (string, error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": e.issuer(realm), "sub": "sub-of-" + client, "aud": audience, "azp": client, "preferred_username": "service-account-" + client,
		"iat": now, "exp": now + e.life.Load(), "jti": fmt.Sprint(e.jti.Add(1)), "scope": "profile", "typ": "Bearer",
	})
	if err != nil {
		return "", err
	}
	signed, err := e.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// user answers as Nextcloud does to an accepted token.
func (e *endpoint) user(w http.ResponseWriter, _ *http.Request) {
	e.checks.Add(1)
	answer(w, http.StatusOK, map[string]any{"ocs": map[string]any{
		"meta": map[string]any{"status": "ok", "statuscode": 200, "message": "OK"},
		"data": map[string]any{"id": "service-account-worker", "enabled": true, "groups": []string{}},
	}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// counts is what the endpoint has been asked.
type counts struct{ exchanges, subjects, checks, refused int64 }

func (e *endpoint) counts() counts {
	return counts{e.exchanges.Load(), e.subjects.Load(), e.checks.Load(), e.refused.Load()}
}

func (c counts) since(b counts) counts {
	return counts{c.exchanges - b.exchanges, c.subjects - b.subjects, c.checks - b.checks, c.refused - b.refused}
}

// record gives the times of the exchanges, and of the requests while down, since the last call.
func (e *endpoint) record() (exchanges, probes []time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	exchanges, probes = e.times, e.probe
	e.times, e.probe = nil, nil
	return exchanges, probes
}

// peak is the largest number of times within one second.
func peak(times []time.Time) int {
	most, from := 0, 0
	for i, t := range times {
		for t.Sub(times[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// settle waits until f says yes.
func settle(ctx context.Context, what string, within time.Duration, f func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s: not within %s", what, within))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
	return nil
}
