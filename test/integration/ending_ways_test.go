package integration

import (
	"encoding/json"
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

// TestWhatAGrantHadEndsInEachWayToAuthenticate, also after a restart, when nothing is remembered of how it was made.
func TestWhatAGrantHadEndsInEachWayToAuthenticate(t *testing.T) {
	t.Parallel()
	s := keycloaktest.NewServer(t, keycloaktest.Options{TLS: true, LegacyExchange: true})
	w := newWorld(t)
	w.issuerTrusting(s.URL, s.CertificatePEM())
	type made struct {
		what  string
		grant *v1alpha1.TokenGrant
		ended func() bool
	}
	var all []made
	for id, way := range waysOf(t, s) {
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
		all = append(all,
			made{id + ": the session of a login", session, func() bool { return s.OfflineSessions("login-"+id) == 0 }},
			made{id + ": the session of an impersonated user", impersonation, func() bool { return s.Sessions("impersonated-"+id) == 0 }},
			made{id + ": the published token", token, func() bool { return s.Revoked(published) }},
		)
	}
	w.restart()
	for _, m := range all {
		if m.ended() {
			t.Errorf("%s has ended before the deletion", m.what)
		}
		w.delete(m.grant)
	}
	for _, m := range all {
		w.gone(m.grant)
		if !m.ended() {
			t.Errorf("%s lives on; events: %v", m.what, w.events(m.grant))
		}
	}
}
