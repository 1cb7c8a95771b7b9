package integration

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestIssuerThatIsMissingComes(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound), `TokenIssuer "kc" not found`, "spec.issuerRef")
	w.await(g, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonIssuerNotFound)
	w.issuer("kc", s.URL)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestCredentialThatIsMissingComes(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	w.issuer("kc", s.URL)
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing), `Secret "worker" not found`)
	credential := w.secret("worker", map[string]string{"wrong-key": "x"})
	w.eventually("the missing key named", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing)
		return strings.Contains(m, `key "client-secret"`), m
	})
	change(w, credential, func(c *corev1.Secret) { c.Data["client-secret"] = []byte("worker-secret") })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestWrongSecretIsRefusedUntilCorrected(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	w.issuer("kc", s.URL)
	credential := w.secret("worker", map[string]string{"client-secret": "wrong"})
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClientRejected), `"worker"`)
	if n := s.Count("client_credentials"); n != 1 {
		t.Errorf("the issuer was asked %d times with a secret it had refused", n)
	}
	change(w, credential, func(c *corev1.Secret) { c.Data["client-secret"] = []byte("worker-secret") })
	corrected := time.Now()
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if took := time.Since(corrected); took > 10*time.Second {
		t.Errorf("Ready %s after the correction, want seconds", took)
	}
}

func TestURLThatIsNoIssuer(t *testing.T) {
	pages := map[string]struct {
		handler http.HandlerFunc
		reason  string
		want    []string
	}{
		"answers 404":                    {http.NotFound, v1alpha1.ReasonIssuerInvalid, []string{"404"}},
		"answers HTML":                   {text(`<html>hello</html>`), v1alpha1.ReasonIssuerInvalid, []string{"no discovery document"}},
		"names another issuer":           {text(`{"issuer":"https://other.example.com"}`), v1alpha1.ReasonIssuerInvalid, []string{"other.example.com"}},
		"answers 2 MB":                   {text(strings.Repeat("x", 2<<20)), v1alpha1.ReasonIssuerInvalid, []string{"larger than 1 MiB"}},
		"redirects":                      {http.RedirectHandler("https://elsewhere.example.com", http.StatusFound).ServeHTTP, v1alpha1.ReasonIssuerInvalid, []string{"redirects"}},
		"has an error of its own":        {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "boom", 500) }, v1alpha1.ReasonIssuerUnreachable, []string{"500"}},
		"gives its tokens to a stranger": {nil, v1alpha1.ReasonIssuerInvalid, []string{"token_endpoint", "not on"}},
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := httptest.NewUnstartedServer(page.handler)
			server.Start()
			t.Cleanup(server.Close)
			if page.handler == nil {
				server.Config.Handler = text(`{"issuer":"` + server.URL + `","token_endpoint":"https://stranger.example.com/token","jwks_uri":"` + server.URL + `/certs"}`)
			}
			i := w.issuer("kc", server.URL)
			contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, page.reason), page.want...)
			g := w.grantFor("g", "kc", "worker")
			w.create(g)
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady), page.want...)
		})
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func TestPlainHTTPBeyondLoopbackIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.issuer("kc", "http://id.example.com/realms/cloud")
	contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec), "plain http", "--allow-http-issuers")
}

// TestAddressesThatAreRefused, of issuers and of Nextclouds, and what it says.
func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	for name, host := range map[string]string{"metadata": "169.254.169.254", "mapped": "[::ffff:169.254.169.254]", "nat64": "[64:ff9b::a9fe:a9fe]", "any": "0.0.0.0"} {
		i := w.issuer(name, "https://"+host+"/realms/x")
		contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerInvalid), "no issuer has", "correct the issuer URL")
	}
	kc := w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker", func(g *v1alpha1.TokenGrant) {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://169.254.169.254"}}
	})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionUnknown, v1alpha1.ReasonNextcloudInvalid), "cloud metadata service", "correct nextcloud.url")

	w.stop()
	w.denyPrivate = true
	w.start()
	change(w, kc, func(i *v1alpha1.TokenIssuer) { i.Spec.Limits.Burst++ })
	contains(t, w.await(kc, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerInvalid), "--deny-private-addresses", "public address")
}

// discovering plays an issuer of which there is a discovery document and nothing else. ISSUER in it is its URL.
func discovering(t *testing.T, document string) string {
	t.Helper()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	server.Config.Handler = text(strings.ReplaceAll(document, "ISSUER", server.URL))
	return server.URL
}

func TestIssuerWithoutExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.issuer("kc", discovering(t, `{"issuer":"ISSUER","token_endpoint":"ISSUER/t","jwks_uri":"ISSUER/c","grant_types_supported":["client_credentials","implicit"]}`))
	w.await(i, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)
	if i.Status.TokenExchange != v1alpha1.TokenExchangeUnsupported {
		t.Errorf("tokenExchange = %s", i.Status.TokenExchange)
	}
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGrantTypeUnsupported), "does not offer token-exchange", "client_credentials, implicit", "26.2")
}

// TestNextcloudAsIssuer has the discovery documents of Nextcloud's own OpenID Connect provider, the app oidc, recorded of
// 2.0.9; 1.x lists no refresh_token.
func TestNextcloudAsIssuer(t *testing.T) {
	recorded, err := os.ReadFile("testdata/nextcloud-oidc-2.0.9-discovery.json")
	if err != nil {
		t.Fatal(err)
	}
	document := strings.ReplaceAll(string(recorded), `http:\/\/127.0.0.1`, "ISSUER")
	lists := map[string]struct {
		document, list string
		refreshes      bool
	}{
		"2.0.9": {document, "authorization_code, implicit, refresh_token", true},
		"1.x":   {strings.Replace(document, `,"refresh_token"]`, "]", 1), "authorization_code, implicit;", false},
	}
	for version, tt := range lists {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			i := w.issuer("nextcloud", discovering(t, tt.document))
			contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGrantTypeUnsupported), tt.list, "Keycloak", "user_oidc", "spec.appPassword")
			w.await(i, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonGrantTypeUnsupported)
			own := w.grantFor("own", "nextcloud", "worker", func(g *v1alpha1.TokenGrant) { g.Spec.Exchange = nil })
			w.create(own)
			contains(t, w.await(own, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGrantTypeUnsupported), `TokenIssuer "nextcloud"`, "client_credentials", tt.list, "spec.appPassword")
			// Whether a user's offline token could be refreshed there is a question of the list, too.
			w.secret("worker", map[string]string{"client-secret": "x"})
			offline := w.grantFor("offline", "nextcloud", "worker", func(g *v1alpha1.TokenGrant) {
				g.Spec.Exchange, g.Spec.Subject = nil, &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "nobody"}}
			})
			w.create(offline)
			w.eventually("the reason of the offline grant", func() (bool, string) {
				if err := w.Get(t.Context(), client.ObjectKeyFromObject(offline), offline); err != nil {
					t.Fatal(err)
				}
				ready := meta.FindStatusCondition(offline.Status.Conditions, v1alpha1.ConditionReady)
				// What it lacks then is its Secret.
				return ready != nil && ready.Reason != v1alpha1.ReasonPending && (ready.Reason == v1alpha1.ReasonGrantTypeUnsupported) != tt.refreshes, ready.String()
			})
		})
	}
}

func TestTokensThatMustNotBePublished(t *testing.T) {
	claim := func(key string, value any) keycloaktest.Answer {
		return keycloaktest.Answer{Forever: true, Claims: func(c map[string]any) {
			if c[key] = value; value == nil {
				delete(c, key)
			}
		}}
	}
	field := func(key string, value any) keycloaktest.Answer {
		return keycloaktest.Answer{Forever: true, Fields: func(f map[string]any) { f[key] = value }}
	}
	answers := map[string]struct {
		answer keycloaktest.Answer
		reason string
	}{
		"an opaque token":        {field("access_token", "0123456789abcdef"), v1alpha1.ReasonTokenMalformed},
		"a token of nobody":      {field("access_token", ""), v1alpha1.ReasonTokenMalformed},
		"alg none":               {field("access_token", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0."), v1alpha1.ReasonTokenNotVerified},
		"another audience":       {claim("aud", "other-api"), v1alpha1.ReasonTokenWrongAudience},
		"one audience too many":  {claim("aud", []string{"nextcloud", "other-api"}), v1alpha1.ReasonTokenWrongAudience},
		"no audience":            {claim("aud", nil), v1alpha1.ReasonTokenWrongAudience},
		"another client's token": {claim("azp", "other"), v1alpha1.ReasonTokenNotVerified},
		"another issuer's token": {claim("iss", "https://other.example.com"), v1alpha1.ReasonTokenNotVerified},
		"no expiry":              {claim("exp", nil), v1alpha1.ReasonTokenMalformed},
		"expired long ago":       {claim("exp", time.Now().Add(-time.Hour).Unix()), v1alpha1.ReasonTokenExpired},
		"a DPoP token":           {field("token_type", "DPoP"), v1alpha1.ReasonTokenMalformed},
		"an answer of 2 MB":      {keycloaktest.Answer{Forever: true, Status: 200, Body: strings.Repeat("x", 2<<20)}, v1alpha1.ReasonIssuerInvalid},
		"HTML":                   {keycloaktest.Answer{Forever: true, Status: 200, Body: "<html>hello</html>"}, v1alpha1.ReasonTokenMalformed},
		"half an answer":         {keycloaktest.Answer{Forever: true, Status: 200, Body: `{"access_token":"abc","token_`, Cut: true}, v1alpha1.ReasonIssuerUnreachable},
		"no answer":              {keycloaktest.Answer{Forever: true, Hang: true}, v1alpha1.ReasonIssuerUnreachable},
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), scripted(t)
			s.Script(keycloaktest.Answer{}, tt.answer) // The subject token is good, the exchanged one is not.
			w.issuer("kc", s.URL)
			w.secret("worker", map[string]string{"client-secret": "worker-secret"})
			g := w.grantFor("g", "kc", "worker")
			w.create(g)
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason))
			if secret := w.published(g); secret != nil {
				t.Errorf("published: %v", secret.Data)
			}
		})
	}
}

func TestClusterIssuerDeniesByDefault(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	s.SetClient(keycloaktest.Client{ID: "shared", Secret: "shared-secret", Audience: []string{"nextcloud", "other-api"}})
	credential := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.operatorNamespace, Name: "shared"}, StringData: map[string]string{"client-secret": "shared-secret"}}
	w.create(credential)
	i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared-" + w.namespace}}
	i.Spec.URL = v1alpha1.HTTPURL(s.URL)
	i.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "shared", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "shared"}}}
	w.create(i)
	t.Cleanup(func() { _ = cluster.admin.Delete(cleanupContext(), i) })
	g := w.grantFor("g", i.Name, "", func(g *v1alpha1.TokenGrant) {
		g.Spec.IssuerRef.Kind, g.Spec.ServiceAccount = "ClusterTokenIssuer", nil
	})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed), "does not let namespace", "spec.allow")

	allow := func(rules ...v1alpha1.AllowRule) {
		change(w, i, func(i *v1alpha1.ClusterTokenIssuer) { i.Spec.Allow = rules })
	}
	own := []v1alpha1.NamespaceName{v1alpha1.NamespaceName(w.namespace)}
	allow(v1alpha1.AllowRule{Namespaces: own, Audiences: []v1alpha1.Audience{"other-api"}})
	w.eventually("the audience refused", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		return strings.Contains(m, `audience "nextcloud"`), m
	})
	allow(v1alpha1.AllowRule{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}, Audiences: []v1alpha1.Audience{"nextcloud"}})
	w.eventually("the namespace refused", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		return strings.Contains(m, "add the namespace"), m
	})
	change(w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, func(n *corev1.Namespace) { n.Labels["team"] = "a" })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)

	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.Exchange = nil })
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed), `every audience`)
	allow(v1alpha1.AllowRule{Namespaces: own, Audiences: []v1alpha1.Audience{"*"}})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestAuthorityOfTheIssuerIsReadFromAConfigMap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := keycloaktest.NewServer(t, keycloaktest.Options{Wrap: leaks.Serves, TLS: true})
	s.Client("worker", "worker-secret")
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}}
	i.Spec.URL = v1alpha1.HTTPURL(s.URL)
	w.create(i)
	contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerUnreachable), "unknown authority", "spec.caRef")

	change(w, i, func(i *v1alpha1.TokenIssuer) { i.Spec.CARef = &v1alpha1.CARef{Name: "ca"} })
	contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing), `ConfigMap "ca" not found`)
	authorities := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": "not a certificate"}}
	w.create(authorities)
	contains(t, w.await(i, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec), "certificate")
	change(w, authorities, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = string(s.CertificatePEM()) })
	w.await(i, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered)

	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}
