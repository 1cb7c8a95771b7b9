package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// realKeycloak starts Keycloak with our realm, once for all tests.
func realKeycloak(t *testing.T) *stack.Keycloak {
	t.Helper()
	keycloak.once.Do(func() {
		keycloak.server, keycloak.err = stack.StartKeycloak(context.Background(), stack.KeycloakOptions{
			Version: *keycloakVersion, Realms: [][]byte{realm.Export}, Truststore: []string{cluster.caFile}, Features: stack.FederationFeatures(*keycloakVersion),
		})
	})
	if keycloak.err != nil {
		t.Fatal(keycloak.err)
	}
	return keycloak.server
}

// realWorld sets a world up with the real Keycloak as the issuer "kc".
func realWorld(t *testing.T) (*world, string) {
	t.Helper()
	t.Parallel()
	kc := realKeycloak(t)
	w := newWorld(t)
	url := kc.URL + "/realms/" + realm.Name
	w.issuer("kc", url)
	return w, url
}

// client makes the credential of a client of the demo realm, whose secret is its name and "-secret", and a grant for it.
func (w *world) client(clientID string, change ...func(*v1alpha1.TokenGrant)) *v1alpha1.TokenGrant {
	w.t.Helper()
	w.secret(clientID, map[string]string{"client-secret": clientID + "-secret"})
	g := w.grantFor("token", "kc", clientID, change...)
	w.create(g)
	return g
}

func TestKeycloakTokenIsExchangedVerifiedAndAccepted(t *testing.T) {
	w, issuer := realWorld(t)
	url := os.Getenv("NEXTCLOUD_URL")
	if url == "" {
		_, url = nextcloudFor(t, issuer)
	}
	g := w.client("nextcloud-mcp-server", func(g *v1alpha1.TokenGrant) {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(url)}}
		g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
	claims := claimsIn(t, w.published(g))
	if claims["aud"] != "nextcloud" || claims["azp"] != "nextcloud-mcp-server" {
		t.Errorf("aud = %v, azp = %v; want exactly nextcloud", claims["aud"], claims["azp"])
	}
	if g.Status.Token.Username != "service-account-nextcloud-mcp-server" {
		t.Errorf("username = %s", g.Status.Token.Username)
	}
}

func TestKeycloakClientSecretPost(t *testing.T) {
	w, _ := realWorld(t)
	g := w.client("nextcloud-mcp-server", func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientSecret.Method = v1alpha1.ClientSecretPost
	})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.healthy(g)
}

func TestKeycloakWithoutExchangePublishesTheServiceAccountsToken(t *testing.T) {
	w, _ := realWorld(t)
	g := w.client("nextcloud-mcp-server", func(g *v1alpha1.TokenGrant) { g.Spec.Exchange = nil })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestKeycloakWrongSecretIsCorrected(t *testing.T) {
	w, _ := realWorld(t)
	credential := w.secret("nextcloud-mcp-server", map[string]string{"client-secret": "wrong"})
	g := w.grantFor("g", "kc", "nextcloud-mcp-server")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClientRejected), `"nextcloud-mcp-server"`)
	change(w, credential, func(s *corev1.Secret) { s.Data["client-secret"] = []byte("nextcloud-mcp-server-secret") })
	corrected := time.Now()
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	t.Logf("Ready %s after the correction", time.Since(corrected).Round(time.Millisecond))
	if took := time.Since(corrected); took > 10*time.Second {
		t.Errorf("Ready %s after the correction, want seconds", took)
	}
}

func TestKeycloakRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		client, audience string
		reason           string
		want             []string
	}{
		"exchange not enabled":                    {"no-exchange", "nextcloud", v1alpha1.ReasonExchangeNotEnabled, []string{"standard.token.exchange.enabled=true", `"no-exchange"`}},
		"audience without mapper":                 {"no-mapper", "nextcloud", v1alpha1.ReasonAudienceNotAvailable, []string{"mapper", `"nextcloud"`, `"no-mapper"`}},
		"mapper in a scope that is not asked for": {"optional-mapper", "nextcloud", v1alpha1.ReasonAudienceNotAvailable, []string{"spec.exchange.scopes"}},
		"unknown audience":                        {"nextcloud-mcp-server", "nobody", v1alpha1.ReasonAudienceNotAvailable, []string{`"nobody"`}},
		"unknown client":                          {"stranger", "nextcloud", v1alpha1.ReasonClientRejected, []string{`"stranger"`}},
		"disabled client":                         {"disabled-client", "nextcloud", v1alpha1.ReasonClientRejected, []string{`"disabled-client"`}},
		"no service account":                      {"no-service-account", "nextcloud", v1alpha1.ReasonServiceAccountDisabled, []string{"Service accounts roles"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := realWorld(t)
			g := w.client(tt.client, func(g *v1alpha1.TokenGrant) {
				g.Spec.Exchange.Audiences = []v1alpha1.Audience{v1alpha1.Audience(tt.audience)}
			})
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason), tt.want...)
			if w.published(g) != nil {
				t.Error("a Secret was made")
			}
		})
	}
}

func TestKeycloakUnknownRealm(t *testing.T) {
	w, _ := realWorld(t)
	i := w.issuer("nowhere", realKeycloak(t).URL+"/realms/nowhere")
	contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerInvalid), "Realm does not exist", "create the realm")
}

// TestKeycloakShortTokensNeverExpireInTheSecret samples the Secret of a grant whose tokens live 15 s, for six of them.
func TestKeycloakShortTokensNeverExpireInTheSecret(t *testing.T) {
	w, _ := realWorld(t)
	g := w.client("short-lived")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	tokens, samples, least := map[string]bool{}, 0, time.Hour
	for deadline := time.Now().Add(3 * time.Minute); len(tokens) < 6; samples++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d tokens in 3 minutes, want 6", len(tokens))
		}
		claims := claimsIn(t, w.published(g))
		left := time.Until(time.Unix(int64(claims["exp"].(float64)), 0))
		if least = min(least, left); left <= 0 {
			t.Fatalf("the Secret holds a token that expired %s ago", -left)
		}
		tokens[fmt.Sprint(claims["jti"])] = true
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d tokens, %d samples, least life left %s", len(tokens), samples, least.Round(time.Millisecond))
}

// TestKeycloakKeyRotation adds a signing key of higher priority: the next token has a kid that nobody has seen.
func TestKeycloakKeyRotation(t *testing.T) {
	w, _ := realWorld(t)
	g := w.client("nextcloud-mcp-server")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	before := headerIn(t, w.published(g))["kid"]
	component := map[string]any{
		"name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": map[string][]string{"priority": {"200"}, "active": {"true"}, "enabled": {"true"}, "algorithm": {"RS256"}, "keySize": {"2048"}},
	}
	if err := realKeycloak(t).Admin(t.Context(), http.MethodPost, "/"+realm.Name+"/components", component, nil); err != nil {
		t.Fatal(err)
	}
	w.requestRefresh(g, "rotated")
	w.eventually("a token by the new key", func() (bool, string) {
		kid := headerIn(t, w.published(g))["kid"]
		return kid != before, fmt.Sprint(kid)
	})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

// TestKeycloakStoppedAndStartedAgain has a Keycloak of its own.
func TestKeycloakStoppedAndStartedAgain(t *testing.T) {
	t.Parallel()
	kc, err := stack.StartKeycloak(t.Context(), stack.KeycloakOptions{Version: *keycloakVersion, Realms: [][]byte{realm.Export}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kc.Close() })
	w := newWorld(t)
	i := w.issuer("kc", kc.URL+"/realms/"+realm.Name)
	g := w.client("short-lived")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if err := kc.Stop(); err != nil {
		t.Fatal(err)
	}
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired), "IssuerUnreachable")
	w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerUnreachable)
	if err := kc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	t.Logf("Ready %s after Keycloak was back", time.Since(back).Round(time.Millisecond))
	w.await(i, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
}
