package keycloak

import (
	"crypto"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// The clock of the recordings of 26.7.3.
var recordedAt = time.Unix(1795425700, 0)

// FuzzDiscover: whatever claims to be a discovery document, what is taken from it leads nowhere but to the issuer and to
// the hosts that were named, and is fit for a status.
func FuzzDiscover(f *testing.F) {
	const issuer = "https://id.example/realms/r"
	recorded, err := os.ReadFile("testdata/26.7.3/discovery.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(200, strings.ReplaceAll(string(recorded), "http://127.0.0.1:8180/realms/nextcloud-mcp", issuer))
	for _, endpoint := range []string{"https://id.example/t", "https://id.example:443/t", "https://login.example/t", "https://evil.example/t", "//id.example", "https://id.example@evil.example/", "https://id.example\\@evil.example/"} {
		f.Add(200, `{"issuer":"`+issuer+`","token_endpoint":"`+endpoint+`","jwks_uri":"https://id.example/k","mtls_endpoint_aliases":{"token_endpoint":"`+endpoint+`"}}`)
	}
	f.Add(404, `{"error":"Realm does not exist"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		p, err := Discover(t.Context(), answering(status, "application/json", body), issuer, "login.example")
		if err != nil {
			checkFuzzed(t, err, opDiscovery)
			return
		}
		if status != http.StatusOK || p.Issuer != issuer || p.TokenEndpoint == "" || p.JWKSURI == "" || len(p.GrantTypes) > 32 {
			t.Errorf("taken: HTTP %d %+v", status, p)
		}
		for _, endpoint := range []string{p.TokenEndpoint, p.JWKSURI, p.RevocationEndpoint, p.EndSessionEndpoint, p.DeviceAuthorizationEndpoint} {
			checkReached(t, endpoint)
		}
		// With a client certificate requests go to the aliases.
		cfg, err := Client{Provider: p, ID: "x", Auth: TLS()}.authenticated(t.Context(), &asked{op: opDiscovery}, p.TokenEndpoint, map[string][]string{})
		if err == nil {
			checkReached(t, cfg.TokenURL)
		}
	})
}

// checkReached sends a request to a URL as it is, and looks where it goes.
func checkReached(t *testing.T, endpoint string) {
	t.Helper()
	if endpoint == "" {
		return
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, http.NoBody)
	if err != nil {
		return // It cannot be sent at all.
	}
	if host := strings.ToLower(req.URL.Hostname()); req.URL.Scheme != "https" || host != "id.example" && host != "login.example" || req.URL.User != nil || len(endpoint) > 2048 {
		t.Errorf("credentials would go to %s", endpoint)
	}
}

// FuzzKeys: a genuine token is accepted with those key sets only that hold the very key that signed it.
func FuzzKeys(f *testing.F) {
	keys, token := recordedToken(f)
	f.Add(keys)
	f.Add(strings.ReplaceAll(keys, `"kid"`, `"x"`))
	f.Add(strings.ReplaceAll(keys, `"RS256"`, `"HS256"`))
	f.Add(`{"keys":[]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}`)
	f.Add(`{"keys":[null,{},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	var genuine jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keys), &genuine); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v := NewVerifier(&Provider{Issuer: recordedIssuer, JWKSURI: "https://issuer.example/keys"}, answering(200, "application/json", body))
		claims, err := v.Verify(t.Context(), sensitive.New(token), Expect{Now: recordedAt})
		if err != nil {
			checkFuzzed(t, err, opVerify)
			return
		}
		if claims.Issuer != recordedIssuer || !holdsKeyOf(body, genuine) {
			t.Errorf("accepted with the keys %q", body)
		}
	})
}

func holdsKeyOf(body string, genuine jose.JSONWebKeySet) bool {
	var set struct{ Keys []json.RawMessage }
	if json.Unmarshal([]byte(body), &set) != nil {
		return false
	}
	return slices.ContainsFunc(set.Keys, func(raw json.RawMessage) bool {
		var key jose.JSONWebKey
		public, ok := any(nil), false
		if json.Unmarshal(raw, &key) == nil {
			public, ok = key.Public().Key, key.Valid()
		}
		return ok && slices.ContainsFunc(genuine.Keys, func(k jose.JSONWebKey) bool {
			own, is := k.Key.(interface{ Equal(x crypto.PublicKey) bool })
			return is && own.Equal(public)
		})
	})
}

const recordedIssuer = "http://127.0.0.1:8180/realms/lab"

// recordedToken is a token of a recording that is good, and the keys of its realm.
func recordedToken(f *testing.F) (keys, token string) {
	f.Helper()
	recordings := loadRecordings(f)
	for _, r := range recordings {
		if r.file == "26.7.3/g26e-realm-disabled-certs" {
			keys = string(r.body)
		}
	}
	v := NewVerifier(&Provider{Issuer: recordedIssuer, JWKSURI: "https://issuer.example/keys"}, answering(200, "application/json", keys))
	for _, r := range recordings {
		subject := r.form.Get("subject_token")
		if _, err := v.Verify(f.Context(), sensitive.New(subject), Expect{Now: recordedAt}); err == nil {
			return keys, subject
		}
	}
	f.Fatal("no recorded token is good")
	return "", ""
}

// FuzzClaims: whatever an issuer signs, what is accepted is what was asked for and can be shown.
func FuzzClaims(f *testing.F) {
	_, token := recordedToken(f)
	f.Add(string(payloadOf(f, token)), "kid")
	const good = `{"iss":"https://id.example","exp":1795426000,"iat":1795425700,"aud":["nextcloud"],"azp":"x"`
	for _, more := range []string{
		``, `,"aud":"other"`, `,"exp":1e400`, `,"exp":1795426000.5,"nbf":-1`, `,"scope":"a b","preferred_username":"alice\u202e"`, `,"cnf":null`,
		`,"typ":"ID"`, `,"sub":"secret-canary-4711"`, `,"sub":"eyJhbGciOiJub25lIn0"`, `,"azp":{}`, `,"iat":253402300799`, `,"aud":null`,
	} {
		f.Add(good+more+`}`, "kid")
	}
	v := &Verifier{issuer: "https://id.example"}
	secret := sensitive.New("secret-canary-4711")
	f.Fuzz(func(t *testing.T, payload, keyID string) {
		c, err := v.judge([]byte(payload), keyID, Expect{Audience: []string{"nextcloud"}, Exact: true, ClientID: "x", Now: recordedAt, Secrets: []sensitive.String{secret}})
		if err != nil {
			checkFuzzed(t, err, opVerify)
			return
		}
		if c.Issuer != "https://id.example" || c.ClientID != "x" || !c.Expiry.After(recordedAt) || len(c.Audience) == 0 || c.All["cnf"] != nil {
			t.Errorf("accepted %+v", c)
		}
		shown, err := json.Marshal([]any{c.Subject, c.Username, c.ClientID, c.KeyID, c.Audience, c.Scopes, c.Expiry, c.IssuedAt})
		if err != nil || len(shown) > 8*maxNames || strings.Contains(string(shown), secret.Reveal()) || strings.Contains(string(shown), `\u001b`) {
			t.Errorf("shown would be %q, %v", shown, err)
		}
	})
}
