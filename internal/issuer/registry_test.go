package issuer

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestTheConfigurationDecidesWhetherAnIssuerIsTheSame(t *testing.T) {
	plain := keycloaktest.NewServer(t)
	server := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true})
	base := Config{URL: server.URL, RootCAs: server.CertificatePEM()}
	for name, tc := range map[string]struct {
		key    string
		change func(*Config)
		same   bool
	}{
		"nothing changed":      {"a", func(*Config) {}, true},
		"an equal bundle":      {"a", func(c *Config) { c.RootCAs = append([]byte(nil), c.RootCAs...) }, true},
		"a higher rate":        {"a", func(c *Config) { c.RequestsPerSecond = 500 }, true},
		"a larger burst":       {"a", func(c *Config) { c.Burst = 500 }, true},
		"more at a time":       {"a", func(c *Config) { c.Concurrency = 500 }, true},
		"another URL":          {"a", func(c *Config) { c.URL = plain.URL }, false},
		"another bundle":       {"a", func(c *Config) { c.RootCAs = append([]byte("\n"), c.RootCAs...) }, false},
		"http allowed":         {"a", func(c *Config) { c.AllowHTTP = true }, false},
		"another timeout":      {"a", func(c *Config) { c.Timeout = time.Minute }, false},
		"another object":       {"b", func(*Config) {}, false},
		"another user agent":   {"a", func(c *Config) { c.UserAgent = "x" }, false},
		"forgotten in between": {"a", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRegistry()
			first, err := r.Get("a", base)
			if err != nil {
				t.Fatal(err)
			}
			changed := base
			if tc.change == nil {
				r.Forget("a")
			} else {
				tc.change(&changed)
			}
			for range 2 {
				second, err := r.Get(tc.key, changed)
				if err != nil || (first == second) != tc.same {
					t.Errorf("error %v, the same issuer %t; want %t", err, first == second, tc.same)
				}
			}
		})
	}
}

func TestNewLimitsKeepTokensAndKeys(t *testing.T) {
	server := keycloaktest.NewServer(t)
	server.Client("notes-sync", secret)
	r := NewRegistry()
	c := Config{URL: server.URL}
	for range 3 {
		c.Burst, c.Concurrency = c.Burst+10, c.Concurrency+1
		i, err := r.Get("k", c)
		if err != nil {
			t.Fatal(err)
		}
		mint(t, i, exchanged("notes-sync"))
		if now := i.gate.limits.Load(); now.turns.Burst() != c.Burst || now.places.TryAcquire(int64(c.Concurrency+1)) {
			t.Errorf("the limits of %+v are not set", c)
		}
	}
	expectCounts(t, server, 1, 3)
	if n := server.DiscoveryCount(); n != 1 {
		t.Errorf("discovered %d times, want once", n)
	}
}

func TestABundleThatCannotBeUsedLeavesTheOldIssuer(t *testing.T) {
	server := keycloaktest.NewServer(t)
	r := NewRegistry()
	old, err := r.Get("k", Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("k", Config{URL: server.URL, RootCAs: []byte(secret)}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v; want one that does not quote the bundle", err)
	}
	if i, err := r.Get("k", Config{URL: server.URL}); err != nil || i != old {
		t.Errorf("the old configuration gives another issuer, %v", err)
	}
}

func TestAPrivateCA(t *testing.T) {
	server := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true})
	server.Client("notes-sync", secret)
	r := NewRegistry()
	for name, tc := range map[string]struct {
		bundle []byte
		reason string
	}{
		"named":     {server.CertificatePEM(), ""},
		"not named": {nil, keycloak.ReasonIssuerUnreachable},
	} {
		i, err := r.Get(name, Config{URL: server.URL, RootCAs: tc.bundle})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Mint(t.Context(), exchanged("notes-sync")); reasonOf(err) != tc.reason {
			t.Errorf("%s: %v, want %q", name, err, tc.reason)
		}
	}
}

func TestTheRegistryIsSafeForConcurrentUse(t *testing.T) {
	server := keycloaktest.NewServer(t)
	server.Client("notes-sync", secret)
	r := NewRegistry()
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			i, err := r.Get("k", Config{URL: server.URL, Burst: 100 + n, Concurrency: 4 + n%4})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := i.Mint(t.Context(), exchanged("notes-sync")); err != nil {
				t.Error(err)
			}
			if states := r.States(); states["k"].Breaker != "closed" {
				t.Errorf("states %v", states)
			}
		})
	}
	wg.Wait()
	expectCounts(t, server, 1, 20)
}
