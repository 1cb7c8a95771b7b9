package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// certifiedClient makes the client "ender", which authenticates with a certificate, logs users in and may impersonate.
// It returns an HTTP client with that certificate.
func (u *userRealm) certifiedClient(w *world, ca []byte, pair map[string]string) *http.Client {
	u.t.Helper()
	u.admin(http.MethodPost, "/clients", map[string]any{
		"clientId": "ender", "clientAuthenticatorType": "client-x509", "standardFlowEnabled": false,
		"serviceAccountsEnabled": true, "directAccessGrantsEnabled": true,
		"attributes": map[string]string{
			"standard.token.exchange.enabled": "true", "x509.subjectdn": "CN=ender", "x509.allow.regex.pattern.comparison": "false",
		},
		"defaultClientScopes": []string{"basic", "profile", "roles", "nextcloud-audience"}, "optionalClientScopes": []string{"offline_access"},
	}, nil)
	management := u.id("/clients?clientId=realm-management")
	var role map[string]any
	u.admin(http.MethodGet, "/clients/"+management+"/roles/impersonation", nil, &role)
	u.admin(http.MethodPost, "/users/"+u.user("service-account-ender")+"/role-mappings/clients/"+management, []any{role}, nil)

	certificate, err := tls.X509KeyPair([]byte(pair["tls.crt"]), []byte(pair["tls.key"]))
	if err != nil {
		u.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}}
	u.t.Cleanup(transport.CloseIdleConnections)
	w.secret("certificate", pair)
	return &http.Client{Transport: transport}
}

// TestKeycloakCertificateEndsWhatItMade after a restart, when the operator has to read the certificate again.
func TestKeycloakCertificateEndsWhatItMade(t *testing.T) {
	t.Parallel()
	kc, ours := mutualKeycloak(t)
	w := newWorld(t)
	u := newUserRealm(t, kc, w.namespace)
	w.issuerTrusting(u.issuer, kc.CA)
	c := u.certifiedClient(w, kc.CA, ours.client(t, "ender", time.Hour))
	offline := func() int {
		return len(u.ids("/users/" + u.user("alice") + "/offline-sessions/" + u.id("/clients?clientId=ender")))
	}

	w.secret("alice", map[string]string{"refresh_token": offlineToken(t, c, u.issuer)})
	grant := func(name string, more func(*v1alpha1.TokenGrant)) *v1alpha1.TokenGrant {
		g := w.certified("ender")
		g.Name, g.Spec.DeletionPolicy = name, v1alpha1.DeletionRevoke
		more(g)
		w.create(g)
		return g
	}
	login := grant("login", offlineSubject)
	impersonation := grant("impersonation", as("bob"))
	token := grant("token", func(*v1alpha1.TokenGrant) {})
	for _, g := range []*v1alpha1.TokenGrant{login, impersonation, token} {
		w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	}
	published := string(w.published(token).Data["access_token"])
	if n := offline(); n != 1 {
		t.Errorf("%d offline sessions of alice before, want 1", n)
	}
	u.has("bob", 1, "before")
	if !active(t, c, u.issuer, "nextcloud", published) {
		t.Error("the token is not active before")
	}

	w.restart()
	for _, g := range []*v1alpha1.TokenGrant{login, impersonation, token} {
		w.delete(g)
		w.gone(g)
		if told := w.events(g); len(told) > 0 && told[len(told)-1].Reason == v1alpha1.ReasonNotRevoked {
			t.Error(told[len(told)-1].Note)
		}
	}
	if n := offline(); n != 0 {
		t.Errorf("%d offline sessions of alice after the deletion", n)
	}
	u.has("bob", 0, "after the deletion")
	if active(t, c, u.issuer, "nextcloud", published) {
		t.Error("the token is active after the deletion")
	}
}

// offlineToken logs alice in at the client "ender", which authenticates with the certificate of c.
func offlineToken(t *testing.T, c *http.Client, issuer string) string {
	t.Helper()
	answer, err := c.PostForm(issuer+"/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"ender"}, "username": {"alice"}, "password": {"alice-password"}, "scope": {"openid offline_access"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var token struct {
		RefreshToken string `json:"refresh_token"`
		Description  string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil || token.RefreshToken == "" {
		t.Fatalf("logging alice in: %s %s %v", answer.Status, token.Description, err)
	}
	return token.RefreshToken
}
