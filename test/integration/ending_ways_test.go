package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// way is one to authenticate as a client of an issuer.
type way struct {
	// prepare makes what the client needs in the cluster, and describes it to the issuer.
	prepare func(w *world, c *keycloaktest.Client)
	spec    v1alpha1.ServiceAccount
}

// waysOf lists all ways, by the name of the field and its variant.
func waysOf(t *testing.T, s *keycloaktest.Server) map[string]way {
	t.Helper()
	ours := newAuthority(t)
	private, public := signingKey(t, "ES256", "first")
	s.SetIdentityProvider(keycloaktest.IdentityProvider{Alias: "cluster", Issuer: cluster.url, Keys: func() jose.JSONWebKeySet { return clusterKeys(t) }})
	secret := func(w *world, c *keycloaktest.Client) {
		c.Secret = "secret-of-" + c.ID
		w.secret(c.ID, map[string]string{"client-secret": c.Secret})
	}
	return map[string]way{
		"basic": {secret, v1alpha1.ServiceAccount{ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "basic"}}}},
		"post":  {secret, v1alpha1.ServiceAccount{ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "post"}, Method: v1alpha1.ClientSecretPost}}},
		"key": {func(w *world, c *keycloaktest.Client) {
			c.Keys = []jose.JSONWebKey{public}
			w.secret(c.ID, map[string]string{"tls.key": private})
		}, v1alpha1.ServiceAccount{PrivateKeyJWT: &v1alpha1.PrivateKeyJWT{SecretRef: v1alpha1.SecretKeyRef{Name: "key"}, Algorithm: "ES256", KeyID: "first"}}},
		"certificate": {func(w *world, c *keycloaktest.Client) {
			c.Certificate = "CN=" + c.ID
			w.secret(c.ID, ours.client(w.t, c.ID, time.Hour))
		}, v1alpha1.ServiceAccount{Certificate: &v1alpha1.ClientCertificate{SecretRef: v1alpha1.SecretRef{Name: "certificate"}}}},
		"kubernetes": {func(w *world, c *keycloaktest.Client) {
			c.Federated = &keycloaktest.Federation{Alias: "cluster", Subject: "system:serviceaccount:" + w.namespace + ":kubernetes"}
			w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
				Namespace: w.namespace, Name: c.ID, Annotations: map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"},
			}})
		}, v1alpha1.ServiceAccount{KubernetesToken: &v1alpha1.KubernetesToken{ServiceAccountName: "kubernetes"}}},
	}
}

// clusterKeys are those by which the API server signs tokens of ServiceAccounts.
func clusterKeys(t *testing.T) (set jose.JSONWebKeySet) {
	t.Helper()
	c, err := kubernetes.NewForConfig(cluster.administrator)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(raw, &set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// holding is what a grant has outside the cluster.
type holding struct {
	what  string
	grant *v1alpha1.TokenGrant
	ended func() bool
	// told is how an event names it, and until when it lives.
	told string
}

// holdings makes a grant for each thing that a client gets from an issuer and has to end there.
func holdings(w *world, s *keycloaktest.Server, id string, way way) []holding {
	w.t.Helper()
	c := keycloaktest.Client{ID: id, Audience: []string{"nextcloud"}, Impersonates: true}
	way.prepare(w, &c)
	s.SetClient(c)
	for _, user := range []string{"login-" + id, "impersonated-" + id} {
		s.SetUser(user, true)
	}
	of := func(what string, more func(*v1alpha1.TokenGrant)) *v1alpha1.TokenGrant {
		g := w.grantFor(what+"-"+id, "kc", id, revoked, more)
		account := way.spec
		account.ClientID = id
		g.Spec.ServiceAccount = &account
		w.create(g)
		return g
	}
	w.secret("login-"+id, map[string]string{"refresh_token": s.OfflineToken(id, "login-"+id)})
	session := of("session", func(g *v1alpha1.TokenGrant) {
		g.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "login-" + id}}
	})
	impersonation := of("impersonation", as("impersonated-"+id))
	token := of("token", func(*v1alpha1.TokenGrant) {})
	for _, g := range []*v1alpha1.TokenGrant{session, impersonation, token} {
		w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	}
	published := string(w.published(token).Data["access_token"])
	return []holding{
		{
			id + ": the session of a login", session, func() bool { return s.OfflineSessions("login-"+id) == 0 },
			"the session of the user who logged in (it ends when it has been idle",
		},
		{
			id + ": the session of an impersonated user", impersonation, func() bool { return s.Sessions("impersonated-"+id) == 0 },
			fmt.Sprintf("the session of user %q (its refresh token expires at 20", "impersonated-"+id),
		},
		{
			id + ": the published token", token, func() bool { return s.Revoked(published) },
			fmt.Sprintf("the access token (it expires at %s)", token.Status.Token.ExpiresAt.UTC().Format(time.RFC3339)),
		},
	}
}

// appPasswordHolding makes a grant for an app password, which ends at Nextcloud by itself, whatever a client has.
func appPasswordHolding(w *world) holding {
	w.t.Helper()
	a := standInAccount(w.t)
	w.secret("login", map[string]string{"username": a.user, "password": a.password})
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "password"}}
	g.Spec.AppPassword = &v1alpha1.AppPassword{
		Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(a.url)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}},
	}
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(a.url)}}
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	published := passwordIn(w.published(g))
	return holding{what: "the app password", grant: g, ended: func() bool { return !a.works(w.t, published) }}
}

// TestWhatAGrantHadEndsInEachWayToAuthenticate, also after a restart, when nothing is remembered of how it was made.
func TestWhatAGrantHadEndsInEachWayToAuthenticate(t *testing.T) {
	t.Parallel()
	s := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true, LegacyExchange: true})
	w := newWorld(t)
	w.issuerTrusting(s.URL, s.CertificatePEM())
	all := []holding{appPasswordHolding(w)}
	for id, way := range waysOf(t, s) {
		all = append(all, holdings(w, s, id, way)...)
	}
	w.restart()
	for _, h := range all {
		if h.ended() {
			t.Errorf("%s has ended before the deletion", h.what)
		}
		w.delete(h.grant)
	}
	for _, h := range all {
		t.Run(h.what, func(t *testing.T) {
			w.gone(h.grant)
			if !h.ended() {
				t.Errorf("it lives on; events: %v", w.events(h.grant))
			}
		})
	}
}

// loss is a credential that is of no use any more.
type loss struct {
	way  string
	lose func(w *world)
	told string
}

func losses(t *testing.T) map[string]loss {
	t.Helper()
	secretGone := func(name string) func(*world) {
		return func(w *world) {
			if err := w.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	certificateOf := func(data map[string]string) func(*world) {
		return func(w *world) {
			replace(w, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "certificate"}}, data)
		}
	}
	return map[string]loss{
		"the client secret is gone":      {"basic", secretGone("basic"), `Secret "basic" not found`},
		"the private key is gone":        {"key", secretGone("key"), `Secret "key" not found`},
		"the certificate is gone":        {"certificate", secretGone("certificate"), `Secret "certificate" not found`},
		"the certificate cannot be read": {"certificate", certificateOf(map[string]string{"tls.crt": "x", "tls.key": "x"}), `Secret "certificate": there is no PEM certificate`},
		"the certificate has expired":    {"certificate", certificateOf(newAuthority(t).client(t, "certificate", -time.Hour)), "has expired"},
		"the ServiceAccount is gone": {"kubernetes", func(w *world) {
			if err := w.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kubernetes"}}); err != nil {
				t.Fatal(err)
			}
		}, `ServiceAccount "kubernetes" not found`},
	}
}

// TestWhatCannotEndIsTold by an event, which says until when it lives: after a restart nobody remembers the credential.
func TestWhatCannotEndIsTold(t *testing.T) {
	for name, l := range losses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true, LegacyExchange: true})
			w := newWorld(t)
			w.issuerTrusting(s.URL, s.CertificatePEM())
			all := holdings(w, s, l.way, waysOf(t, s)[l.way])
			w.stop()
			l.lose(w)
			for _, h := range all {
				w.delete(h.grant)
			}
			w.start()
			for _, h := range all {
				w.gone(h.grant)
				w.notRevoked(h.grant, h.told, l.told)
				if h.ended() {
					t.Errorf("%s has ended, and the event says that it lives on", h.what)
				}
			}
		})
	}
}

// TestWhatAGrantHadEndsWithoutItsSecret where the operator remembers the credential: an uninstalled chart deletes the
// Secret first.
func TestWhatAGrantHadEndsWithoutItsSecret(t *testing.T) {
	for name, l := range losses(t) {
		if l.way == "kubernetes" {
			continue // The API server signs each assertion anew, and not for an account that is gone.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true, LegacyExchange: true})
			w := newWorld(t)
			w.issuerTrusting(s.URL, s.CertificatePEM())
			all := holdings(w, s, l.way, waysOf(t, s)[l.way])
			l.lose(w)
			for _, h := range all {
				w.failing(h.grant, l.told)
			}
			for _, h := range all {
				w.delete(h.grant)
				w.gone(h.grant)
				if !h.ended() {
					t.Errorf("%s lives on; events: %v", h.what, w.events(h.grant))
				}
			}
		})
	}
}
