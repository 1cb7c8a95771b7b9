package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const serviceAccountName = "system:serviceaccount:apps:notes-sync"

// way is an installation whose client authenticates in another way than by a secret, or whose token is somebody else's.
type way struct {
	*installation
	// other is another issuer: of the cluster's tokens, or another realm.
	other  *keycloaktest.Server
	client keycloaktest.Client
	more   []client.Object
}

func newWay(t *testing.T, o keycloaktest.Options) *way {
	t.Helper()
	w := &way{installation: install(t, o), other: keycloaktest.NewServer(t)}
	w.replace = []string{w.other.URL, "https://other.example.com", "1h0m1s ago", "1h0m0s ago"}
	for second := range 30 { // A slow machine takes its time.
		w.replace = append(w.replace, fmt.Sprintf("valid for 4m%ds", 59-second), "valid for 5m0s")
	}
	w.client = keycloaktest.Client{ID: "notes-sync", Secret: clientSecret, Audience: []string{"nextcloud"}}
	w.funcs.SubResourceCreate = func(_ context.Context, _ client.Client, _ string, account, request client.Object, _ ...client.SubResourceCreateOption) error {
		w.issueToken(account, request)
		return nil
	}
	return w
}

// issueToken signs a token of a ServiceAccount, as the API server does.
func (w *way) issueToken(account, request client.Object) {
	r, _ := request.(*authenticationv1.TokenRequest)
	r.Status.Token = w.other.Sign(map[string]any{
		"iss": w.other.URL, "sub": "system:serviceaccount:" + account.GetNamespace() + ":" + account.GetName(), "aud": r.Spec.Audiences,
		"jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	})
}

func (w *way) keep(name string, data map[string]string) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "apps"}, Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	w.more = append(w.more, s)
}

func (w *way) account(annotations map[string]string) {
	w.more = append(w.more, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "notes-sync", Namespace: "apps", Annotations: annotations}})
}

var allowed = map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"}

func privateKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// signs lets the client authenticate by a key, which Keycloak has if it is registered.
func (w *way) signs(t *testing.T, registered bool) {
	t.Helper()
	key, private := privateKey(t)
	w.keep("key", map[string]string{"tls.key": private})
	w.grant.Spec.ServiceAccount.ClientSecret = nil
	w.grant.Spec.ServiceAccount.PrivateKeyJWT = &v1alpha1.PrivateKeyJWT{SecretRef: v1alpha1.SecretKeyRef{Name: "key", Key: "tls.key"}, Algorithm: "ES256", KeyID: "2026-11"}
	public := jose.JSONWebKey{Key: key.Public(), KeyID: "2026-11", Algorithm: "ES256", Use: "sig"}
	for _, coordinate := range coordinates(t, key) {
		w.replace = append(w.replace, coordinate, "COORDINATE")
	}
	if !registered {
		public.KeyID = "2025-11"
	}
	w.client.Keys = []jose.JSONWebKey{public}
}

// coordinates are what a random key shows of itself.
func coordinates(t *testing.T, key *ecdsa.PrivateKey) []string {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return []string{encode(point[1:33]), encode(point[33:])}
}

// presents lets the client authenticate by a certificate; Keycloak expects one of a subject.
func (w *way) presents(t *testing.T, subject string, until time.Time) {
	t.Helper()
	key, private := privateKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "notes-sync", Organization: []string{"Example"}}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, crypto.Signer(key).Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	w.keep("certificate", map[string]string{"tls.key": private, "tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	w.more = append(w.more, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ca", Namespace: "tokengrant-system"}, Data: map[string]string{"ca.crt": string(w.keycloak.CertificatePEM())}})
	w.issuer.Spec.CARef = &v1alpha1.CARef{Name: "ca", Kind: "ConfigMap", Key: "ca.crt"}
	w.grant.Spec.ServiceAccount.ClientSecret = nil
	w.grant.Spec.ServiceAccount.Certificate = &v1alpha1.ClientCertificate{SecretRef: v1alpha1.SecretRef{Name: "certificate"}}
	w.grant.Spec.Check = nil // The stand-in reads the issuer's keys, and does not know its authority.
	w.client.Certificate = subject
	w.replace = append(w.replace, until.UTC().Format("2006-01-02 15:04 MST"), "2030-01-01 00:00 UTC", until.UTC().Format(time.RFC3339), "2030-01-01T00:00:00Z")
}

// federates lets the client authenticate by a token of the cluster.
func (w *way) federates(subject string) {
	w.grant.Spec.ServiceAccount.ClientSecret = nil
	w.grant.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{ServiceAccountName: "notes-sync", ExpirationSeconds: 600}
	w.keycloak.SetIdentityProvider(keycloaktest.IdentityProvider{Alias: "kubernetes", Issuer: w.other.URL, Keys: w.other.Keys})
	w.client.Federated = &keycloaktest.Federation{Alias: "kubernetes", Subject: subject}
}

// isGiven makes the subject a token in a Secret.
func (w *way) isGiven(claims map[string]any) {
	w.keep("alice", map[string]string{"access_token": w.keycloak.Sign(claims)})
	w.grant.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice", Key: "access_token"}}
}

// asserts makes the subject a user that a token of the cluster names.
func (w *way) asserts(links map[string]string) {
	w.account(allowed)
	w.keycloak.SetIdentityProvider(keycloaktest.IdentityProvider{Alias: "assertions", Issuer: w.other.URL, Keys: w.other.Keys, Links: links})
	w.client.JWTBearer = []string{"assertions"}
	w.grant.Spec.Subject = &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{KubernetesToken: &v1alpha1.KubernetesToken{ServiceAccountName: "notes-sync", ExpirationSeconds: 600}}}
}

// asserted makes the subject a user that a token in a Secret names.
func (w *way) asserted(audience string) {
	w.keep("other", map[string]string{"access_token": w.other.Sign(map[string]any{
		"iss": w.other.URL, "sub": "4711", "preferred_username": "alice", "aud": audience, "exp": time.Now().Add(time.Hour).Unix(),
	})})
	w.grant.Spec.Subject = &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "other", Key: "access_token"}}}
}

// ofAlice are the claims of a token for the client.
func (w *way) ofAlice(more map[string]any) map[string]any {
	claims := w.keycloak.Claims("alice", "portal", "notes-sync")
	maps.Copy(claims, more)
	return claims
}

func TestDoctorKnowsEveryWayToAToken(t *testing.T) {
	future := time.Now().Add(1000 * time.Hour)
	for name, test := range map[string]struct {
		change func(*testing.T, *way)
		code   int
	}{
		"doctor-secret-post": {func(_ *testing.T, w *way) {
			w.grant.Spec.ServiceAccount.ClientSecret.Method = v1alpha1.ClientSecretPost
		}, exitGood},
		"doctor-key":         {func(t *testing.T, w *way) { w.signs(t, true) }, exitGood},
		"doctor-key-unknown": {func(t *testing.T, w *way) { w.signs(t, false) }, exitBroken},
		"doctor-key-useless": {func(t *testing.T, w *way) {
			w.signs(t, true)
			w.grant.Spec.ServiceAccount.PrivateKeyJWT.Algorithm = "RS256"
		}, exitBroken},
		"doctor-certificate":         {func(t *testing.T, w *way) { w.presents(t, "CN=notes-sync,O=Example", future) }, exitGood},
		"doctor-certificate-unknown": {func(t *testing.T, w *way) { w.presents(t, "CN=another", future) }, exitBroken},
		"doctor-certificate-expired": {func(t *testing.T, w *way) { w.presents(t, "CN=notes-sync,O=Example", time.Now().Add(-time.Minute)) }, exitBroken},
		"doctor-kubernetes": {func(_ *testing.T, w *way) {
			w.account(allowed)
			w.federates(serviceAccountName)
		}, exitGood},
		"doctor-kubernetes-no-account": {func(_ *testing.T, w *way) { w.federates(serviceAccountName) }, exitBroken},
		"doctor-kubernetes-not-allowed": {func(_ *testing.T, w *way) {
			w.account(nil)
			w.federates(serviceAccountName)
		}, exitBroken},
		"doctor-kubernetes-unknown": {func(_ *testing.T, w *way) {
			w.account(allowed)
			w.federates("system:serviceaccount:apps:other")
		}, exitBroken},
		"doctor-subject": {func(_ *testing.T, w *way) { w.isGiven(w.ofAlice(nil)) }, exitGood},
		"doctor-subject-expired": {func(_ *testing.T, w *way) {
			w.isGiven(w.ofAlice(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))
		}, exitBroken},
		"doctor-subject-for-others":   {func(_ *testing.T, w *way) { w.isGiven(w.ofAlice(map[string]any{"aud": "account"})) }, exitBroken},
		"doctor-subject-missing":      {func(_ *testing.T, w *way) { w.isGiven(nil); w.more = nil }, exitBroken},
		"doctor-assertion":            {func(_ *testing.T, w *way) { w.asserts(map[string]string{serviceAccountName: "alice"}) }, exitGood},
		"doctor-assertion-not-linked": {func(_ *testing.T, w *way) { w.asserts(nil) }, exitBroken},
		"doctor-assertion-not-enabled": {func(_ *testing.T, w *way) {
			w.asserts(nil)
			w.client.JWTBearer = nil
		}, exitBroken},
		"doctor-assertion-secret":            {func(_ *testing.T, w *way) { w.asserted(w.keycloak.URL) }, exitGood},
		"doctor-assertion-secret-for-others": {func(_ *testing.T, w *way) { w.asserted("nextcloud") }, exitBroken},
		"doctor-no-audience": {func(_ *testing.T, w *way) {
			w.keycloak.Script(keycloaktest.Answer{Claims: func(c map[string]any) { delete(c, "aud") }})
		}, exitGood},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWay(t, keycloaktest.Options{TLS: strings.HasPrefix(name, "doctor-certificate")})
			test.change(t, w)
			w.keycloak.SetClient(w.client)
			b := w.bench(t, w.more...)
			b.golden(t, name, test.code, "doctor", "notes-sync", "-n", "apps")
			if strings.Contains(b.out.String(), "eyJ") || strings.Contains(b.out.String(), clientSecret) {
				t.Error("a token or a secret is shown")
			}
		})
	}
}

func TestDoctorKnowsAnIssuerWithoutServiceAccounts(t *testing.T) {
	for name, args := range map[string][]string{
		"doctor-nextcloud-issuer":       {"doctor", "--cluster-issuer", "keycloak"},
		"doctor-nextcloud-issuer-grant": {"doctor", "notes-sync", "-n", "apps", "-o", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t)
			server := httptest.NewServer(nil)
			t.Cleanup(server.Close)
			server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `{"issuer":%[1]q,"token_endpoint":"%[1]s/apps/oidc/token","jwks_uri":"%[1]s/apps/oidc/jwks",`+
					`"grant_types_supported":["authorization_code","implicit","refresh_token"]}`, server.URL)
			})
			i.issuer.Spec.URL = v1alpha1.HTTPURL(server.URL)
			i.replace = append(i.replace, server.URL, "https://cloud.example.com")
			i.bench(t).golden(t, name, exitBroken, args...)
		})
	}
}
