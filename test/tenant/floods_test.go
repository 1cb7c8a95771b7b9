//go:build integration

package tenant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// plain is a context that outlives a test, for what is deleted at its end.
func (w *world) plain() context.Context { return context.Background() }

// requestsAMinute is how often all of a tenant's restlessness with one grant may reach a server in a minute.
const requestsAMinute = 60

// floods are attempts to use up what all share: workers, processor time, limits, the queue.
var floods = []attempt{
	{"hold all workers by 40 grants at an issuer that answers after 13 s", func(w *world) (string, string) {
		return w.flood(40, keycloaktest.Answer{Delay: 13 * time.Second, Forever: true})
	}},
	{"hold all workers by 40 grants at an issuer that never answers", func(w *world) (string, string) {
		return w.flood(40, keycloaktest.Answer{Hang: true, Forever: true})
	}},
	{"hold all workers by 40 grants at an issuer that answers 1 MiB", func(w *world) (string, string) {
		return w.flood(40, keycloaktest.Answer{Status: 200, Body: `{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`, Forever: true})
	}},
	{"hold up discovery by 5 issuers that answer after 13 s", func(w *world) (string, string) {
		w.evil.ScriptDiscovery(keycloaktest.Answer{Delay: 13 * time.Second, Forever: true})
		for n := range 5 {
			w.issuer(fmt.Sprintf("slow-%d", n), w.evil.URL)
		}
		time.Sleep(time.Second)
		began := time.Now()
		i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: apps, Name: fmt.Sprintf("late-%d", began.UnixNano())}}
		i.Spec.URL = v1alpha1.HTTPURL(w.good.URL)
		w.must(w.admin.Create(w.t.Context(), i))
		for i.Status.LastDiscovery == nil && time.Since(began) < patience {
			time.Sleep(50 * time.Millisecond)
			w.must(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(i), i))
		}
		took := time.Since(began).Round(10 * time.Millisecond)
		got := fmt.Sprintf("meanwhile an issuer of another namespace is discovered after %s", took)
		if took > 5*time.Second {
			return got, "others wait"
		}
		return got, ""
	}},
	{"burn the processor by a key set of 3200 keys and a token of 600 KiB", func(w *world) (string, string) {
		return w.burn(3200, 600<<10)
	}},
	{"close the shared issuer for all by requests that fail", func(w *world) (string, string) {
		w.issuer("kc", w.good.URL)
		for n := range 20 {
			g := grantOf(own, fmt.Sprintf("wrong-%d", n), "", func(g *v1alpha1.TokenGrant) {
				g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "shared"}
				g.Spec.ServiceAccount.ClientID = fmt.Sprintf("nobody-%d", n)
			})
			w.apply(g)
		}
		time.Sleep(time.Second)
		return w.unharmed(useSharedAs)
	}},
	{"use up the shared Nextcloud's places by 40 grants that are checked there", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		for n := range 40 {
			w.apply(grantOf(own, fmt.Sprintf("check-%d", n), "own", w.checked))
		}
		return w.unharmed(w.checked)
	}},
	{"ask for a new token 10 times a second", func(w *world) (string, string) {
		return w.restless(func(g *v1alpha1.TokenGrant, n int) error {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.RefreshRequestedAnnotation, n)
			return w.tenant.Patch(w.t.Context(), g, client.RawPatch("application/merge-patch+json", []byte(patch)))
		})
	}},
	{"change the client's Secret 10 times a second", func(w *world) (string, string) {
		return w.restless(func(_ *v1alpha1.TokenGrant, n int) error {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: "worker"}}
			patch := fmt.Sprintf(`{"stringData":{"client-secret":"wrong-%d"}}`, n)
			return w.tenant.Patch(w.t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(patch)))
		})
	}},
	{"delete and create a grant 10 times a second", func(w *world) (string, string) {
		return w.restless(func(g *v1alpha1.TokenGrant, _ int) error {
			if err := w.tenant.Delete(w.t.Context(), g); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			err := w.tenant.Create(w.t.Context(), grantOf(own, g.Name, "own"))
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	}},
	{"pile up 500 grants that fail", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		w.evil.Script(keycloaktest.Answer{Status: 401, Body: `{"error":"invalid_client"}`, Forever: true})
		for n := range 500 {
			w.apply(grantOf(own, fmt.Sprintf("pile-%d", n), "own"))
		}
		return w.unharmed()
	}},
}

func useSharedAs(g *v1alpha1.TokenGrant) {
	useShared(g)
	g.Spec.Scopes = []v1alpha1.Scope{"openid"}
}

// checked has a token checked at the victims' Nextcloud, by whoever owns it.
func (w *world) checked(g *v1alpha1.TokenGrant) {
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(w.cloudURL)}}
}

// flood makes grants at the tenant's issuer, which answers like this, and looks at the others.
func (w *world) flood(n int, a keycloaktest.Answer) (got, harm string) {
	w.t.Helper()
	w.issuer("own", w.evil.URL)
	w.evil.Script(a)
	for i := range n {
		w.apply(grantOf(own, fmt.Sprintf("flood-%d", i), "own"))
	}
	time.Sleep(2 * time.Second) // Until they are under way.
	return w.unharmed()
}

// burn has tokens verified that cost as much as can be, and says how much processor time the operator spends.
func (w *world) burn(keys, payload int) (got, harm string) {
	w.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	modulus := make([]byte, 128)
	modulus[0], modulus[127] = 0x80, 1
	key := `{"kty":"RSA","n":"` + b64(modulus) + `","e":"AQAB"}`
	w.evil.ScriptKeys(keycloaktest.Answer{Status: 200, Body: `{"keys":[` + strings.TrimSuffix(strings.Repeat(key+",", keys), ",") + `]}`, Forever: true})
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": w.evil.URL, "sub": "x", "azp": "worker", "aud": "nextcloud", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"pad": strings.Repeat("x", payload),
	})
	w.must(err)
	token := b64([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + b64(claims) + "." + b64(modulus)
	w.evil.Script(keycloaktest.Answer{Status: 200, Body: `{"access_token":"` + token + `","token_type":"Bearer","expires_in":300}`, Forever: true})
	w.issuer("own", w.evil.URL)
	before := w.metric("process_cpu_seconds_total")
	const grants = 5
	for n := range grants {
		g := grantOf(own, fmt.Sprintf("burn-%d", n), "own")
		w.apply(g)
		w.condition(g)
	}
	spent := w.metric("process_cpu_seconds_total") - before
	got = fmt.Sprintf("%.2f s of processor time for %d grants", spent, grants)
	if spent > grants { // One verification took 14 s.
		return got, "verification costs what the tenant wants"
	}
	return got, ""
}

// restless does something to a grant ten times a second for a while, and counts what reaches the tenant's server.
func (w *world) restless(do func(g *v1alpha1.TokenGrant, n int) error) (got, harm string) {
	w.t.Helper()
	const during = 15 * time.Second
	w.issuer("own", w.evil.URL)
	g := grantOf(own, "restless", "own")
	w.apply(g)
	w.condition(g)
	before := len(w.evil.Requests())
	n := 0
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		n++
		w.must(do(g, n))
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: "worker"}}
	w.must(w.admin.Patch(w.t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"client-secret":"worker-secret"}}`))))
	sent := len(w.evil.Requests()) - before
	got = fmt.Sprintf("%d requests to the issuer for %d changes in %s", sent, n, during)
	if float64(sent) > requestsAMinute*during.Minutes()+5 {
		return got, fmt.Sprintf("more than %d a minute", requestsAMinute)
	}
	return got, ""
}

// issuerRefused makes an issuer at a host that nobody may be sent to.
func (w *world) issuerRefused(host string) (got, harm string) {
	w.t.Helper()
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: own, GenerateName: "host-"}}
	i.Spec.URL = v1alpha1.HTTPURL("https://" + host + "/latest")
	if err := w.tenant.Create(w.t.Context(), i); err != nil {
		return refused(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w.must(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(i), i))
		for _, c := range i.Status.Conditions {
			if c.Type != v1alpha1.ConditionReady || c.Status == metav1.ConditionUnknown { // Nobody has looked at it yet.
				continue
			}
			got = c.Reason + ": " + c.Message
			if c.Reason != v1alpha1.ReasonIssuerInvalid && c.Reason != v1alpha1.ReasonInvalidSpec {
				return got, "the address was not refused"
			}
			return got, ""
		}
	}
	return "no condition", "nothing was said"
}
