//go:build integration

package faults

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// everywhere lets all endpoints of the issuer answer like this.
func everywhere(a keycloaktest.Answer) func(*world) func() {
	a.Forever = true
	return func(w *world) func() {
		w.issuer.Script(a)
		w.issuer.ScriptDiscovery(a)
		w.issuer.ScriptKeys(a)
		return func() {
			w.issuer.Script()
			w.issuer.ScriptDiscovery()
			w.issuer.ScriptKeys()
		}
	}
}

// counterfeit puts other tokens into the answers, so what was signed meanwhile need not be published.
func counterfeit(change func(token string) string) func(*world) func() {
	return func(w *world) func() {
		since := len(w.issuer.Minted())
		w.ledger.refuse(func(m keycloaktest.Minted) bool { return w.mintedAfter(since, m) })
		w.issuer.Script(keycloaktest.Answer{Forever: true, Fields: func(fields map[string]any) {
			fields["access_token"] = change(fields["access_token"].(string))
		}})
		return func() {
			w.ledger.refuse(nil)
			w.issuer.Script()
		}
	}
}

// tokens lets the token endpoint answer like this.
func tokens(a keycloaktest.Answer) func(*world) func() {
	a.Forever = true
	return func(w *world) func() {
		w.issuer.Script(a)
		return func() { w.issuer.Script() }
	}
}

const html = "<html><body>Bad Gateway</body></html>"

var issuerAnswers = []scenario{
	{name: "issuer answers 500", fault: everywhere(keycloaktest.Answer{Status: 500, Body: `{"error":"server_error"}`}), says: v1alpha1.ReasonIssuerUnreachable},
	{
		name: "issuer answers 502 with HTML", says: v1alpha1.ReasonIssuerUnreachable,
		fault: everywhere(keycloaktest.Answer{Status: 502, Header: http.Header{"Content-Type": {"text/html"}}, Body: html}),
	},
	{name: "issuer answers 503", fault: everywhere(keycloaktest.Answer{Status: 503}), says: v1alpha1.ReasonIssuerUnreachable},
	{
		name: "issuer answers 429 with Retry-After", says: v1alpha1.ReasonThrottled,
		fault: everywhere(keycloaktest.Answer{Status: 429, Header: http.Header{"Retry-After": {"2"}}}),
	},
	{name: "issuer answers 429 without Retry-After", fault: everywhere(keycloaktest.Answer{Status: 429}), says: v1alpha1.ReasonThrottled},
	{
		name: "issuer breaks off in its JSON", says: v1alpha1.ReasonIssuerUnreachable,
		fault: tokens(keycloaktest.Answer{Status: 200, Body: `{"access_token":"abc","token_type":"Bearer"}`, Cut: true}),
	},
	{name: "issuer answers half a JSON document", fault: tokens(keycloaktest.Answer{Status: 200, Body: `{"access_token":"abc","tok`}), says: v1alpha1.ReasonTokenMalformed},
	{name: "issuer answers 2 MB", fault: tokens(keycloaktest.Answer{Status: 200, Body: strings.Repeat("x", 2<<20)}), says: v1alpha1.ReasonIssuerInvalid},
	{
		name: "issuer answers with the wrong content type", says: v1alpha1.ReasonTokenMalformed,
		fault: tokens(keycloaktest.Answer{Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: `{"access_token":"abc","token_type":"Bearer"}`}),
	},
	{
		name: "issuer redirects", says: v1alpha1.ReasonIssuerInvalid,
		fault: everywhere(keycloaktest.Answer{Status: 302, Header: http.Header{"Location": {"https://elsewhere.example.com/"}}}),
	},
}

var issuerNetwork = []scenario{
	{name: "issuer drops every connection", says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		w.issuer.SetDown(true)
		return func() { w.issuer.SetDown(false) }
	}},
	{name: "issuer refuses connections", says: v1alpha1.ReasonIssuerUnreachable, fault: refused},
	{
		name: "issuer refuses connections until the token has 8 s left", says: v1alpha1.ReasonIssuerUnreachable, setup: setup{life: 40 * time.Second}, hold: 25 * time.Second,
		fault: refused,
	},
	{
		name: "issuer refuses connections for longer than the token lives", says: v1alpha1.ReasonTokenExpired, unready: true, setup: setup{life: 15 * time.Second},
		fault: refused, promise: promise{Outlives: true}, quiet: true,
	},
	{
		name: "issuer refuses connections before the first token", says: v1alpha1.ReasonIssuerNotReady, unready: true, first: true, setup: setup{down: true},
		step:  10 * time.Second, // until the issuer is looked at again
		fault: func(w *world) func() { return func() { w.link.up(w.t, true) } },
	},
	{name: "issuer is a black hole", says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		return w.link.poison(w.t, "upstream", "timeout", `{"timeout":0}`)
	}},
	{
		name: "issuer's answers vanish", says: v1alpha1.ReasonIssuerUnreachable, promise: promise{Crashes: 2}, // two attempts
		fault: func(w *world) func() { return w.link.poison(w.t, "downstream", "timeout", `{"timeout":0}`) },
	},
	{
		name: "issuer drips a byte every 50 ms", says: v1alpha1.ReasonIssuerUnreachable, promise: promise{Crashes: 2}, // two attempts
		fault: func(w *world) func() {
			return w.link.poison(w.t, "downstream", "slicer", `{"average_size":1,"size_variation":0,"delay":50000}`)
		},
	},
	{name: "issuer takes 3 s for each answer", step: 6 * time.Second, fault: func(w *world) func() {
		end := w.link.poison(w.t, "downstream", "latency", `{"latency":3000}`)
		w.t.Cleanup(end)
		return nil
	}},
	{name: "issuer's certificate has expired", setup: setup{tls: true}, says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		return w.certificate(w.front.authority, w.front.name, time.Now().Add(-time.Minute))
	}},
	{name: "issuer's certificate is of an unknown authority", setup: setup{tls: true}, says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		return w.certificate(newAuthority(w.t), w.front.name, time.Now().Add(time.Hour))
	}},
	{name: "issuer's certificate is for another host", setup: setup{tls: true}, says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		return w.certificate(w.front.authority, "elsewhere.example.com", time.Now().Add(time.Hour))
	}},
	{name: "issuer's name is gone from DNS", setup: setup{tls: true}, says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		cluster.dns.set(w.front.name, false)
		w.front.server.CloseClientConnections()
		return func() { cluster.dns.set(w.front.name, true) }
	}},
	{name: "operator's clock is 5 min behind", setup: setup{skew: 5 * time.Minute}, fault: nothing},
	{name: "operator's clock is 5 min ahead", setup: setup{skew: -5 * time.Minute}, fault: nothing},
}

func nothing(*world) func() { return nil }

func refused(w *world) func() {
	w.link.up(w.t, false)
	return func() { w.link.up(w.t, true) }
}

// certificate presents another one.
func (w *world) certificate(by *authority, name string, until time.Time) func() {
	w.front.present(by.serving(w.t, name, until))
	return func() { w.front.present(w.front.good) }
}

var issuerKeys = []scenario{
	{name: "signing key rotated", fault: func(w *world) func() {
		w.rotateKey()
		return nil
	}},
	{name: "signing key rotated, the former one removed", fault: func(w *world) func() {
		former := w.issuer.KeyID()
		w.rotateKey()
		w.issuer.RemoveKey(former)
		return nil
	}},
	{name: "signing key rotated, keys cannot be read", says: v1alpha1.ReasonIssuerUnreachable, fault: func(w *world) func() {
		return w.unpublishedKey(keycloaktest.Answer{Status: 503, Forever: true})
	}},
	{name: "signing key rotated, a cache has the former keys", says: v1alpha1.ReasonTokenNotVerified, fault: func(w *world) func() {
		former, err := json.Marshal(w.issuer.Keys())
		if err != nil {
			w.t.Fatal(err)
		}
		return w.unpublishedKey(keycloaktest.Answer{Status: 200, Body: string(former), Forever: true})
	}},
	{name: "signing keys empty", says: v1alpha1.ReasonTokenNotVerified, fault: func(w *world) func() {
		return w.unpublishedKey(keycloaktest.Answer{Status: 200, Body: `{"keys":[]}`, Forever: true})
	}},
}

func (w *world) rotateKey() string {
	w.t.Helper()
	id, err := w.issuer.RotateKey()
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// unpublishedKey signs with a key that nobody can verify, so nothing of it may be published.
func (w *world) unpublishedKey(keys keycloaktest.Answer) func() {
	w.issuer.ScriptKeys(keys)
	id := w.rotateKey()
	w.ledger.refuse(func(m keycloaktest.Minted) bool { return m.KeyID == id })
	return func() {
		w.ledger.refuse(nil)
		w.issuer.ScriptKeys()
	}
}

// claim changes a claim of all tokens, or with nil takes it out.
func claim(name string, value any) func(*world) func() {
	return tokens(keycloaktest.Answer{Claims: func(claims map[string]any) {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}})
}

var wrongTokens = []scenario{
	{name: "token for another audience", fault: claim("aud", "other-api"), says: v1alpha1.ReasonTokenWrongAudience},
	{name: "token for one audience too many", fault: claim("aud", []string{audience, "other-api"}), says: v1alpha1.ReasonTokenWrongAudience},
	{name: "token of another client", fault: claim("azp", "other"), says: v1alpha1.ReasonTokenNotVerified},
	{name: "token of another issuer", fault: claim("iss", "https://other.example.com"), says: v1alpha1.ReasonTokenNotVerified},
	{name: "token without exp", fault: claim("exp", nil), says: v1alpha1.ReasonTokenMalformed},
	{name: "token that expired long ago", fault: claim("exp", int64(1)), says: v1alpha1.ReasonTokenExpired},
	{name: "token with alg none", says: v1alpha1.ReasonTokenNotVerified, fault: counterfeit(func(token string) string {
		return "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."
	})},
	{name: "token whose signature was changed", says: v1alpha1.ReasonTokenNotVerified, fault: counterfeit(func(token string) string {
		signature := strings.LastIndex(token, ".") + 1
		return token[:signature] + strings.Repeat("A", len(token)-signature)
	})},
}

// ofAlice makes the grant one of alice's session.
func ofAlice(maxReuse int) setup {
	return setup{
		prepare: func(w *world) {
			w.issuer.SetRotation(true, maxReuse)
			w.secret("alice", map[string]string{"refresh_token": w.issuer.OfflineToken("worker", "alice")}, nil)
		},
		grant: func(g *v1alpha1.TokenGrant) {
			g.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
		},
	}
}
