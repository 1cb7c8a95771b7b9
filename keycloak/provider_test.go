package keycloak

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// discoverAt serves a discovery document made of the recorded one and discovers it.
func discoverAt(t *testing.T, change func(doc, origin string) string, hosts ...string) (*Provider, error) {
	t.Helper()
	recorded, err := os.ReadFile("testdata/26.7.3/discovery.json")
	if err != nil {
		t.Fatal(err)
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/realms/nextcloud-mcp/.well-known/openid-configuration" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		doc := strings.ReplaceAll(string(recorded), "http://127.0.0.1:8180", server.URL)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(change(doc, server.URL)))
	}))
	defer server.Close()
	p, err := Discover(t.Context(), server.Client(), server.URL+"/realms/nextcloud-mcp", hosts...)
	if p != nil {
		for _, field := range []*string{&p.Issuer, &p.TokenEndpoint, &p.JWKSURI, &p.RevocationEndpoint, &p.EndSessionEndpoint, &p.DeviceAuthorizationEndpoint, &p.MTLSTokenEndpoint, &p.MTLSRevocationEndpoint} {
			*field = strings.Replace(*field, server.URL, "SERVER", 1)
		}
	}
	return p, err
}

func TestDiscoverReadsKeycloaksDocument(t *testing.T) {
	p, err := discoverAt(t, func(doc, _ string) string { return doc })
	if err != nil {
		t.Fatal(err)
	}
	const realm = "SERVER/realms/nextcloud-mcp"
	want := &Provider{
		Issuer:                      realm,
		TokenEndpoint:               realm + "/protocol/openid-connect/token",
		JWKSURI:                     realm + "/protocol/openid-connect/certs",
		RevocationEndpoint:          realm + "/protocol/openid-connect/revoke",
		EndSessionEndpoint:          realm + "/protocol/openid-connect/logout",
		DeviceAuthorizationEndpoint: realm + "/protocol/openid-connect/auth/device",
		MTLSTokenEndpoint:           realm + "/protocol/openid-connect/token",
		MTLSRevocationEndpoint:      realm + "/protocol/openid-connect/revoke",
		GrantTypes:                  p.GrantTypes,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("provider (-want +got):\n%s", diff)
	}
	for _, g := range []string{GrantTypeClientCredentials, GrantTypeTokenExchange, GrantTypeRefreshToken, GrantTypeJWTBearer, GrantTypeDeviceCode} {
		if !p.Supports(g) {
			t.Errorf("does not support %s", g)
		}
	}
	if p.Supports("magic") || (&Provider{}).Supports(GrantTypeTokenExchange) {
		t.Error("supports what the document does not name")
	}
}

func TestDiscoverRefusesWhatIsNoIssuer(t *testing.T) {
	replace := func(old, with string) func(string, string) string {
		return func(doc, _ string) string {
			if !strings.Contains(doc, old) {
				t.Fatalf("the document has no %s", old)
			}
			return strings.ReplaceAll(doc, old, with)
		}
	}
	for _, c := range []struct {
		name   string
		change func(doc, origin string) string
		says   string
	}{
		{"HTML", func(string, string) string { return "<html>canary" }, "no discovery document"},
		{"another issuer", replace(`/realms/nextcloud-mcp",`+"\n"+`  "authorization`, `/realms/other",`+"\n"+`  "authorization`), "/realms/other: the issuer URL must be exactly that"},
		{"no issuer", replace(`"issuer"`, `"canary"`), "names no issuer"},
		{"no token_endpoint", replace(`"token_endpoint"`, `"canary"`), "has no token_endpoint"},
		{"no jwks_uri", replace(`"jwks_uri"`, `"canary"`), "has no jwks_uri"},
		{"jwks_uri is a list", replace(`"jwks_uri": "`, `"jwks_uri": [], "canary": "`), "no discovery document"},
		{"a revocation_endpoint that is a number", replace(`"revocation_endpoint": "`, `"revocation_endpoint": 1, "canary": "`), "has the wrong type"},
		{"2 MB", func(doc, _ string) string { return doc + strings.Repeat(" ", 2<<20) }, "larger than 1 MiB"},
		{"token_endpoint on another host", func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "`+origin, `"token_endpoint": "https://evil.example`)
		}, "token_endpoint of the discovery document is not on http://127.0.0.1:"},
		{"token_endpoint with another scheme", func(doc, _ string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "http:`, `"token_endpoint": "https:`)
		}, "token_endpoint of the discovery document is not on"},
		{"jwks_uri on another port", func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"jwks_uri": "`+origin, `"jwks_uri": "`+origin[:strings.LastIndex(origin, ":")])
		}, "jwks_uri of the discovery document is not on"},
		{"revocation_endpoint on another host", func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"revocation_endpoint": "`+origin, `"revocation_endpoint": "https://evil.example`)
		}, "revocation_endpoint of the discovery document is not on"},
		{"a token_endpoint with a password", func(doc, _ string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "http://`, `"token_endpoint": "http://me:canary@`)
		}, "token_endpoint of the discovery document is no URL of an endpoint"},
		{"a token_endpoint without end", func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "`+origin, `"token_endpoint": "`+origin+"/"+strings.Repeat("x", maxURL))
		}, "token_endpoint of the discovery document is no URL of an endpoint"},
		{"a host that begins like the issuer's", func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "`+origin, `"token_endpoint": "`+origin+".evil.example")
		}, "token_endpoint of the discovery document is no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := discoverAt(t, c.change)
			wantError(t, err, ReasonIssuerInvalid, c.says)
		})
	}
	for _, issuer := range []string{"", "keycloak", "ftp://x/realms/y", "https://", "https://x/realms/y?z=1", "https://x/realms/y#z", "https://u:p@x/realms/y", "https://x/%zz"} {
		_, err := Discover(t.Context(), nil, issuer)
		wantError(t, err, ReasonIssuerInvalid, "the issuer")
	}
}

// TestEndpointsOnOtherHosts: credentials go to hosts that the user has named, and to those only.
func TestEndpointsOnOtherHosts(t *testing.T) {
	elsewhere := func(url string) func(string, string) string {
		return func(doc, origin string) string {
			return strings.ReplaceAll(doc, `"token_endpoint": "`+origin, `"token_endpoint": "`+url)
		}
	}
	for name, c := range map[string]struct {
		url   string
		hosts []string
		ok    bool
	}{
		"nobody is named":         {"http://login.example", nil, false},
		"the host":                {"http://login.example", []string{"other.example", "login.example"}, true},
		"the host in capitals":    {"http://LOGIN.example", []string{"login.example"}, true},
		"its usual port":          {"http://login.example:80", []string{"login.example"}, true},
		"another port":            {"http://login.example:8443", []string{"login.example"}, false},
		"that port":               {"http://login.example:8443", []string{"login.example:8443"}, true},
		"another scheme":          {"https://login.example", []string{"login.example"}, false},
		"a host below it":         {"http://a.login.example", []string{"login.example"}, false},
		"a host that ends alike":  {"http://evil-login.example", []string{"login.example"}, false},
		"the host as a user name": {"http://login.example@evil.example", []string{"login.example"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := discoverAt(t, elsewhere(c.url), c.hosts...)
			if c.ok && (err != nil || !strings.HasPrefix(p.TokenEndpoint, c.url)) {
				t.Errorf("token_endpoint %v, error %v", p, err)
			}
			if !c.ok {
				wantError(t, err, ReasonIssuerInvalid, "token_endpoint of the discovery document is no")
			}
		})
	}
}

func TestDiscoverTellsAbsentFromUnreachable(t *testing.T) {
	s := keycloaktest.NewServer(t)
	for _, c := range []struct {
		name   string
		answer keycloaktest.Answer
		reason string
		says   string
	}{
		{"not found", keycloaktest.Answer{Status: 404, Body: "<html>canary"}, ReasonIssuerInvalid, "HTTP 404: the issuer URL must be the one of the realm"},
		{"redirect", keycloaktest.Answer{Status: 301, Header: http.Header{"Location": {"https://new.example/realms/x"}}}, ReasonIssuerInvalid, "on https://new.example:443"},
		{"unavailable", keycloaktest.Answer{Status: 503, Body: "canary"}, ReasonIssuerUnreachable, "HTTP 503"},
		{"throttled", keycloaktest.Answer{Status: 429, Header: http.Header{"Retry-After": {"3"}}}, ReasonThrottled, "HTTP 429"},
		{"dropped", keycloaktest.Answer{Drop: true, Forever: true}, ReasonIssuerUnreachable, "the connection broke"},
		{"cut", keycloaktest.Answer{Status: 200, Body: `{"issuer": "canary"}`, Header: http.Header{"Content-Length": {"20"}}, Cut: true}, ReasonIssuerUnreachable, "the connection broke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.ScriptDiscovery(c.answer)
			defer s.ScriptDiscovery()
			_, err := Discover(t.Context(), s.HTTPClient(), s.URL)
			wantError(t, err, c.reason, c.says)
		})
	}
	t.Run("no such realm", func(t *testing.T) {
		_, err := Discover(t.Context(), s.HTTPClient(), strings.Replace(s.URL, "tokengrant", "other", 1))
		wantError(t, err, ReasonIssuerInvalid, "Realm does not exist, HTTP 404: create the realm, or correct the issuer URL")
	})
	t.Run("no answer", func(t *testing.T) {
		s.ScriptDiscovery(keycloaktest.Answer{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := Discover(ctx, s.HTTPClient(), s.URL)
		wantError(t, err, ReasonIssuerUnreachable, "no answer in time")
	})
	t.Run("no such host", func(t *testing.T) {
		_, err := Discover(t.Context(), nil, "http://keycloak.invalid/realms/x")
		wantError(t, err, ReasonIssuerUnreachable, "keycloak.invalid cannot be resolved")
	})
}
