package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// authority issues certificates for clients.
type authority struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{key: newKey(t), root: template}
	root, err := x509.ParseCertificate(a.sign(t, template, a.key))
	if err != nil {
		t.Fatal(err)
	}
	a.root = root
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a authority) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// client issues a certificate and its key, as the data of a kubernetes.io/tls Secret.
func (a authority) client(t *testing.T, name string, until time.Duration) map[string]string {
	t.Helper()
	key := newKey(t)
	der := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"tls.crt": pemOf("CERTIFICATE", der), "tls.key": pemOf("PRIVATE KEY", private)}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// replace gives a Secret other data.
func replace(w *world, s *corev1.Secret, data map[string]string) {
	w.t.Helper()
	change(w, s, func(s *corev1.Secret) { s.Data, s.StringData = nil, data })
}

// issuerTrusting makes a TokenIssuer "kc" behind https.
func (w *world) issuerTrusting(url string, certificate []byte) {
	w.t.Helper()
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": string(certificate)}})
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}}
	i.Spec.URL, i.Spec.CARef = v1alpha1.HTTPURL(url), &v1alpha1.CARef{Name: "ca"}
	w.create(i)
}

// certified describes a grant whose client authenticates with the certificate in the Secret "certificate".
func (w *world) certified(clientID string) *v1alpha1.TokenGrant {
	return w.grantFor("g", "kc", clientID, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: clientID, Certificate: &v1alpha1.ClientCertificate{SecretRef: v1alpha1.SecretRef{Name: "certificate"}}}
	})
}

// failing waits until the refresh of a grant whose token lives on fails with a message.
func (w *world) failing(g *v1alpha1.TokenGrant, parts ...string) {
	w.t.Helper()
	message := ""
	w.eventually("a refresh that fails: "+strings.Join(parts, ", "), func() (bool, string) {
		message = w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		return strings.Contains(message, parts[0]), message
	})
	contains(w.t, message, parts...)
}

// mutual is a Keycloak that asks for certificates of ours, with the feature that impersonation needs. The first test that
// needs it starts it.
var mutual struct {
	once   sync.Once
	server *stack.Keycloak
	ours   authority
	err    error
}

func mutualKeycloak(t *testing.T) (*stack.Keycloak, authority) {
	t.Helper()
	mutual.once.Do(func() {
		mutual.ours = newAuthority(t)
		trusted := filepath.Join(t.TempDir(), "clients.pem") // Keycloak reads it at its start only.
		if mutual.err = os.WriteFile(trusted, []byte(pemOf("CERTIFICATE", mutual.ours.root.Raw)), 0o600); mutual.err != nil {
			return
		}
		mutual.server, mutual.err = stack.StartKeycloak(context.Background(), stack.KeycloakOptions{
			Version: *keycloakVersion, Realms: [][]byte{realm.Export}, HTTPS: true, ClientCertificates: true, Truststore: []string{trusted},
			Features: []string{"token-exchange:v1"},
		})
	})
	if mutual.err != nil {
		t.Fatal(mutual.err)
	}
	return mutual.server, mutual.ours
}

func TestKeycloakTLS(t *testing.T) {
	t.Parallel()
	kc, ours := mutualKeycloak(t)
	w := newWorld(t)
	w.issuerTrusting(kc.Issuer(realm.Name), kc.CA)
	credential := w.secret("certificate", ours.client(t, "certificate", time.Hour))
	g := w.certified("certificate") // in the realm with x509.subjectdn=CN=certificate
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	first := claimsIn(t, w.published(g))
	if first["azp"] != "certificate" || first["aud"] != "nextcloud" {
		t.Errorf("azp = %v, aud = %v", first["azp"], first["aud"])
	}

	w.healthy(g)

	replace(w, credential, ours.client(t, "certificate", time.Hour))
	changed := time.Now()
	w.awaitSecret(g, "is minted with the second certificate", func(s *corev1.Secret) bool { return claimsIn(t, s)["jti"] != first["jti"] })
	t.Logf("minted %s after the change of the certificate", time.Since(changed).Round(time.Millisecond))

	replace(w, credential, ours.client(t, "somebody-else", time.Hour))
	w.failing(g, v1alpha1.ReasonClientRejected, `"certificate"`, "x509.subjectdn")
	w.broken(g, "authenticate", v1alpha1.ReasonClientRejected, `"x509.subjectdn":"CN=somebody-else"`)
	replace(w, credential, newAuthority(t).client(t, "certificate", time.Hour))
	w.failing(g, "ended the TLS handshake", v1alpha1.ReasonClientRejected, "--truststore-paths")
	w.broken(g, "authenticate", v1alpha1.ReasonClientRejected, "--https-client-auth=request")

	replace(w, credential, ours.client(t, "certificate", time.Hour))
	w.eventually("the former certificate works again", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		return !strings.Contains(m, "fails"), m
	})
	var clients []map[string]any
	path := "/" + realm.Name + "/clients"
	if err := kc.Admin(t.Context(), http.MethodGet, path+"?clientId=certificate", nil, &clients); err != nil {
		t.Fatal(err)
	}
	clients[0]["attributes"].(map[string]any)["x509.subjectdn"] = "CN=another"
	if err := kc.Admin(t.Context(), http.MethodPut, path+"/"+clients[0]["id"].(string), clients[0], nil); err != nil {
		t.Fatal(err)
	}
	w.requestRefresh(g, "no longer accepted")
	w.failing(g, v1alpha1.ReasonClientRejected, "x509.subjectdn")
}

func TestTLSSecretsThatAreOfNoUse(t *testing.T) {
	t.Parallel()
	w, ours := newWorld(t), newAuthority(t)
	s := keycloaktest.NewServer(t, keycloaktest.Options{Wrap: leaks.Serves, TLS: true})
	s.SetClient(keycloaktest.Client{ID: "certificate", Certificate: "CN=certificate", Audience: []string{"nextcloud"}})
	w.issuerTrusting(s.URL, s.CertificatePEM())
	g := w.certified("certificate")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing), `Secret "certificate" not found`, `"tls.crt"`)
	good, expired := ours.client(t, "certificate", time.Hour), ours.client(t, "certificate", -time.Hour)
	credential := w.secret("certificate", map[string]string{"tls.crt": good["tls.crt"]})
	for _, bad := range []struct {
		data map[string]string
		says []string
	}{
		{map[string]string{"tls.crt": good["tls.crt"]}, []string{`key "tls.key" of Secret "certificate"`, "missing or empty"}},
		{map[string]string{"tls.key": good["tls.key"]}, []string{`key "tls.crt" of Secret "certificate"`, "missing or empty"}},
		{map[string]string{"tls.crt": "not PEM", "tls.key": good["tls.key"]}, []string{"no PEM certificate", "tls.crt must hold"}},
		{map[string]string{"tls.crt": good["tls.crt"], "tls.key": "not PEM"}, []string{"tls.key must hold"}},
		{map[string]string{"tls.crt": good["tls.crt"], "tls.key": expired["tls.key"]}, []string{"not the one of the certificate"}},
		{expired, []string{"has expired, at 20", `Secret "certificate": `, "renew it"}},
	} {
		replace(w, credential, bad.data)
		message := ""
		w.eventually("what is wrong: "+bad.says[0], func() (bool, string) {
			message = w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing)
			return strings.Contains(message, bad.says[0]), message
		})
		contains(t, message, bad.says...)
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
	replace(w, credential, good)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}
