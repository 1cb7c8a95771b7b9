package nextcloudtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	// issuerTimeout is Nextcloud's: with an issuer that hangs, the 401 comes after 31 s.
	issuerTimeout = 30 * time.Second
	// cacheAge is user_oidc's for keys and discovery. A key that is not in the cache does not make it fetch before that.
	cacheAge = 3600 * time.Second
	maxBody  = 1 << 20
)

// provider is user_oidc's view of the issuer: discovery and keys, each fetched when needed and cached.
type provider struct {
	state *state
	http  *http.Client
}

// issuerCache is what was fetched, and when; the zero time means never.
type issuerCache struct {
	discovery   discovery
	discoveryAt time.Time
	keys        jose.JSONWebKeySet
	keysAt      time.Time
}

type discovery struct {
	Issuer   string `json:"issuer"`
	JWKS     string `json:"jwks_uri"`
	UserInfo string `json:"userinfo_endpoint"`
}

// metadata returns the discovery document.
func (p *provider) metadata(ctx context.Context, set Settings) (discovery, error) {
	now := p.state.clock.Now()
	if c := p.cached(); fresh(c.discoveryAt, now) {
		return c.discovery, nil
	}
	var d discovery
	address := strings.TrimSuffix(set.Issuer, "/") + "/.well-known/openid-configuration"
	if err := p.get(ctx, "discovery", address, sensitive.String{}, set, &d); err != nil {
		return discovery{}, err
	}
	p.remember(func(c *issuerCache) { c.discovery, c.discoveryAt = d, now })
	return d, nil
}

// key returns the issuer's key of that id, from the cache while it is young, whatever it holds.
func (p *provider) key(ctx context.Context, set Settings, keyID string) (jose.JSONWebKey, error) {
	now := p.state.clock.Now()
	cache := p.cached()
	keys := cache.keys
	if !fresh(cache.keysAt, now) {
		d, err := p.metadata(ctx, set)
		if err != nil {
			return jose.JSONWebKey{}, err
		}
		keys = jose.JSONWebKeySet{}
		if err := p.get(ctx, "jwks", d.JWKS, sensitive.String{}, set, &keys); err != nil {
			return jose.JSONWebKey{}, err
		}
		p.remember(func(c *issuerCache) { c.keys, c.keysAt = keys, now })
	}
	found := keys.Key(keyID)
	if keyID == "" || len(found) != 1 {
		return jose.JSONWebKey{}, fmt.Errorf("key %q is not among the %d cached", keyID, len(keys.Keys))
	}
	return found[0], nil
}

// cached and remember never hold the lock while a request runs: an issuer that hangs must not make requests queue.
func (p *provider) cached() issuerCache {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	return p.state.issuer
}

func (p *provider) remember(f func(*issuerCache)) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	f(&p.state.issuer)
}

func fresh(at, now time.Time) bool { return !at.IsZero() && now.Before(at.Add(cacheAge)) }

// userInfo asks the issuer whose token this is.
func (p *provider) userInfo(ctx context.Context, set Settings, bearer sensitive.String) (map[string]any, error) {
	d, err := p.metadata(ctx, set)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	err = p.get(ctx, "userinfo", d.UserInfo, bearer, set, &claims)
	return claims, err
}

func (p *provider) get(ctx context.Context, what, address string, bearer sensitive.String, set Settings, into any) error {
	p.state.count("issuer " + what)
	if set.IssuerUnreachable {
		return errors.New("the issuer is unreachable")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if !bearer.IsZero() {
		req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // reading is over, there is nothing left to lose
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer answers %d to %s", res.StatusCode, what)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(into)
}
