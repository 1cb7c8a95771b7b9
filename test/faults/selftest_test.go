//go:build integration

package faults

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// TestTheSamplerSees plays a bad operator, while no real one runs: each promise is broken once, and has to be missed.
func TestTheSamplerSees(t *testing.T) {
	for name, tt := range map[string]struct {
		bad  func(w *world) result
		says string
	}{
		"nothing wrong": {func(w *world) result {
			w.publish(w.exchange(), "")
			return result{Recovery: time.Second, Step: time.Second}
		}, ""},
		"an expired token": {func(w *world) result {
			w.publish(w.exchange(), "")
			time.Sleep(5 * time.Second)
			return result{}
		}, "an expired token stood in a Secret"},
		"a token that nobody signed": {func(w *world) result {
			w.publish("eyJhbGciOiJub25lIn0.e30.", "")
			return result{}
		}, "1 tokens were published that were not verified"},
		"a token of another client": {func(w *world) result {
			w.issuer.Script(keycloaktest.Answer{}, keycloaktest.Answer{Claims: func(c map[string]any) { c["azp"] = "other" }})
			w.publish(w.exchange(), "")
			return result{}
		}, "1 tokens were published that were not verified"},
		"a token that Nextcloud rejects": {func(w *world) result {
			w.ledger.refuse(func(keycloaktest.Minted) bool { return true })
			w.publish(w.exchange(), "")
			w.ledger.refuse(nil)
			return result{}
		}, "1 tokens were published that were not verified"},
		"the token before the exchange": {func(w *world) result {
			w.publish(w.subject(), "")
			return result{}
		}, "1 tokens were published with a wrong audience"},
		"another's Secret": {func(w *world) result {
			s := w.get("bystander")
			s.Labels = map[string]string{"touched": "true"}
			if err := w.Update(w.t.Context(), s); err != nil {
				w.t.Fatal(err)
			}
			return result{}
		}, "Secrets of others were touched 1 times"},
		"a mint that is not used": {func(w *world) result {
			w.publish(w.exchange(), "")
			w.exchange()
			return result{}
		}, "1 mints too many, allowed are 0"},
		"a second mint after a crash": {func(w *world) result {
			w.exchange()
			w.exchange()
			w.publish(w.exchange(), "")
			return result{allowed: promise{Crashes: 1}}
		}, "2 mints too many, allowed are 1"},
		"a refresh that nothing called for": {func(w *world) result {
			w.publish(w.exchange(), "")
			w.publish(w.exchange(), "")
			return result{}
		}, "1 mints too many, allowed are 0"},
		"a late recovery": {func(*world) result {
			return result{Recovery: 10 * time.Second, Step: time.Second}
		}, "all was well 10s after the cause was gone, promised are 7s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup{life: time.Minute}
			if strings.Contains(name, "expired") {
				s.life = 3 * time.Second
			}
			w := newWorld(t, s)
			w.create(w.grant)
			r := tt.bad(w)
			cluster.sampler.close(w.window)
			r.measure = w.window.measured(w.grant)
			broken := r.broken()
			if tt.says == "" && len(broken) > 0 || tt.says != "" && !slices.ContainsFunc(broken, func(b string) bool { return strings.HasPrefix(b, tt.says) }) {
				t.Errorf("said: %q, want %q; %+v", broken, tt.says, r.measure)
			}
		})
	}
}

// subject and exchange mint as the operator would.
func (w *world) subject() string {
	return w.ask(url.Values{"grant_type": {"client_credentials"}})
}

func (w *world) exchange() string {
	return w.ask(url.Values{
		"grant_type": {keycloak.GrantTypeTokenExchange}, "audience": {audience}, "subject_token": {w.subject()},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	})
}

func (w *world) ask(form url.Values) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.issuer.URL+"/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	request.SetBasicAuth("worker", "worker-secret")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(answer.Body)
		w.t.Fatalf("%s: %s", answer.Status, body)
	}
	minted := w.issuer.Minted()
	return minted[len(minted)-1].Token
}

// publish writes a token into the grant's Secret, and waits until it was seen.
func (w *world) publish(token, request string) {
	w.t.Helper()
	issued := metav1.Now()
	record, err := plan.Record{
		Token:   v1alpha1.TokenStatus{IssuedAt: issued, ExpiresAt: metav1.NewTime(issued.Add(time.Minute))},
		Request: request,
	}.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: "g", Annotations: map[string]string{v1alpha1.PublishedAnnotation: string(record)},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(w.grant, v1alpha1.GroupVersion.WithKind("TokenGrant"))},
	}, Data: map[string][]byte{publish.KeyAccessToken: []byte(token)}}
	if err := w.Update(w.t.Context(), s); err != nil {
		w.create(s)
	}
	cluster.sampler.after(1)
}
