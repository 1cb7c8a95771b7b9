package integration

import (
	"testing"

	"github.com/fernet/fernet-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestTenantStoresAForeignSessionAsALogin copies what the operator keeps for another tenant, as a reader of a namespace or
// of a backup can, into a login of their own, and points it at a server of their own.
func TestTenantStoresAForeignSessionAsALogin(t *testing.T) {
	for name, keep := range map[string]func(*testing.T, *tenants) *v1alpha1.TokenGrant{
		"an offline token": func(_ *testing.T, s *tenants) *v1alpha1.TokenGrant {
			s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.victim, Name: "alice"}, StringData: map[string]string{"refresh_token": s.good.OfflineToken("worker", "alice")}})
			return s.grantFor("g", "kc", "worker", offlineSubject, func(g *v1alpha1.TokenGrant) { g.Namespace = s.victim })
		},
		"an app password": func(t *testing.T, s *tenants) *v1alpha1.TokenGrant {
			a := standInAccount(t)
			s.create(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.victim, Name: "login"}, Type: corev1.SecretTypeBasicAuth,
				StringData: map[string]string{"username": a.user, "password": a.password},
			})
			g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: s.victim, Name: "g"}}
			g.Spec.AppPassword = &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(a.url)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}}
			g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(a.url)}}
			return g
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTenants(t)
			g := keep(t, s)
			s.create(g)
			s.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			s.secret("worker", map[string]string{"client-secret": "x"})
			for form, login := range map[string]string{"sealed": string(s.kept(g).Data["session"]), "as-an-older-operator-did": oldSession(t)} {
				h := s.grantFor(form, "own", "worker", offlineSubject, func(h *v1alpha1.TokenGrant) { h.Spec.Subject.OfflineTokenSecretRef.Name = "login-" + form })
				s.secret("login-"+form, map[string]string{"refresh_token": login})
				s.create(h)
				s.eventually("an answer to "+form, func() (bool, string) {
					err := s.Get(t.Context(), client.ObjectKeyFromObject(h), h)
					return err == nil && h.Status.LastAttempt != nil, "none"
				})
				t.Logf("%s: %s: %s", form, h.Status.LastAttempt.Reason, h.Status.LastAttempt.Message)
			}
			for _, r := range s.evil.Requests() {
				t.Errorf("the attacker's server got %.60q", r.Form.Get("refresh_token"))
			}
		})
	}
}

// oldSession is sealed with the operator's key in the form that older operators used.
func oldSession(t *testing.T) string {
	t.Helper()
	sealed, err := fernet.EncryptAndSign([]byte(`{"grant":"victim/g","source":"s","refreshToken":"refresh-canary"}`), fernet.MustDecodeKeys(firstKey)[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(sealed)
}
