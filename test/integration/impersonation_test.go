package integration

import (
	"bytes"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// TestImpersonationThroughAClusterTokenIssuer is allowed by a rule for namespace, audience and user, whoever brings the client.
func TestImpersonationThroughAClusterTokenIssuer(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	i.Spec.URL = v1alpha1.HTTPURL(s.URL)
	i.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}}
	i.Spec.Allow = []v1alpha1.AllowRule{
		{Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(w.namespace)}, Audiences: []v1alpha1.Audience{"nextcloud"}},
		{Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(w.namespace)}, Audiences: []v1alpha1.Audience{"other"}, RequestedSubjects: []v1alpha1.RequestedSubject{"alice"}},
	}
	w.create(i)
	t.Cleanup(func() { _ = w.Delete(cleanupContext(), i) })
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.operatorNamespace, Name: "worker"}, StringData: map[string]string{"client-secret": "worker-secret"}})
	through := func(g *v1alpha1.TokenGrant) {
		g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: i.Name}
	}
	own := w.grantFor("own", "", "worker", through, as("alice"))
	lent := w.grantFor("lent", "", "worker", through, as("alice"), func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount = nil })
	for _, g := range []*v1alpha1.TokenGrant{own, lent} {
		w.create(g)
		contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed), `act as user "alice"`, `audience "nextcloud"`, "requestedSubjects")
	}
	if n := s.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions before the issuer allows it", n)
	}
	allow := func(users ...v1alpha1.RequestedSubject) {
		change(w, i, func(i *v1alpha1.ClusterTokenIssuer) { i.Spec.Allow[0].RequestedSubjects = users })
	}
	allow("alice")
	for _, g := range []*v1alpha1.TokenGrant{own, lent} {
		w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	}
	allow("bob")
	w.awaitSessions(s, "alice", 0, "when it is allowed no more")
	allow("alice")
	w.requestRefresh(own, "again")
	w.requestRefresh(lent, "again")
	w.awaitSessions(s, "alice", 2, "when it is allowed again")
	w.stop()
	allow()
	w.delete(own)
	w.delete(lent)
	w.start()
	w.gone(own)
	w.gone(lent)
	w.awaitSessions(s, "alice", 0, "after the deletion, which needs no leave")
}

func TestImpersonationNeedsAKey(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	w.setKeys()
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker", as("alice"))
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEncryptionKeyMissing), "--encryption-keys-file")
	if n := s.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions that nobody can keep", n)
	}
	w.delete(g)
	w.gone(g)
}

// TestImpersonationOfTheWrongUser is an issuer that answers with somebody else's token.
func TestImpersonationOfTheWrongUser(t *testing.T) {
	w, s, g := impersonated(t)
	before := w.published(g).Data["access_token"]
	s.Script(keycloaktest.Answer{}, keycloaktest.Answer{Claims: func(claims map[string]any) {
		claims["preferred_username"], claims["sub"] = "mallory", "0000"
	}})
	w.requestRefresh(g, "again")
	w.eventually("the refusal", func() (bool, string) {
		_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
		return g.Status.LastAttempt.Reason == v1alpha1.ReasonTokenNotVerified, g.Status.LastAttempt.Message
	})
	contains(t, g.Status.LastAttempt.Message, `"mallory"`, `"alice"`, "exchange.requestedSubject")
	if !bytes.Equal(w.published(g).Data["access_token"], before) {
		t.Error("the token of somebody else was published")
	}
	if n := s.Sessions("alice"); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// TestImpersonationWithoutRefreshToken must not open a session with each try.
func TestImpersonationWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	s.Script(keycloaktest.Answer{}, keycloaktest.Answer{Fields: func(fields map[string]any) { delete(fields, "refresh_token") }})
	g := w.grantFor("g", "kc", "worker", as("alice"))
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonImpersonationUnsupported), "use.refresh.tokens=true")
}

// TestImpersonationByAnotherClient ends the session of the former client, which alone can, before the next one is opened.
func TestImpersonationByAnotherClient(t *testing.T) {
	w, s, g := impersonated(t)
	s.SetClient(keycloaktest.Client{ID: "other", Secret: "other-secret", Audience: []string{"nextcloud"}, Impersonates: true})
	w.secret("other", map[string]string{"client-secret": "other-secret"})
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientID, g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = "other", "other"
	})
	w.awaitSecret(g, "is of the other client", func(s *corev1.Secret) bool { return claimsIn(t, s)["azp"] == "other" })
	w.awaitSessions(s, "alice", 1, "after another client took over")

	// After a restart nobody knows the credential of the former client any more: it is told, and the grant goes on.
	w.stop()
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientID, g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = "worker", "worker"
	})
	w.start()
	w.awaitSecret(g, "is of the first client", func(s *corev1.Secret) bool { return claimsIn(t, s)["azp"] == "worker" })
	w.notRevoked(g, `the session of user "alice"`, `client "other"`)
}

// TestImpersonationSurvivesTheLossOfItsSecret continues the session that memory knows.
func TestImpersonationSurvivesTheLossOfItsSecret(t *testing.T) {
	w, s, g := impersonated(t)
	for what, lose := range map[string]func(*corev1.Secret){
		"deleted": func(kept *corev1.Secret) { _ = w.Delete(t.Context(), kept) },
		"garbage": func(kept *corev1.Secret) {
			change(w, kept, func(s *corev1.Secret) { s.Data["session"] = []byte("garbage") })
		},
	} {
		lose(w.kept(g))
		w.awaitNew(g, what)
		if n := s.Sessions("alice"); n != 1 {
			t.Errorf("%d sessions after its Secret was %s, want 1", n, what)
		}
	}
}

// impersonating starts a scripted issuer whose client "worker" may impersonate alice.
func impersonating(t *testing.T) *keycloaktest.Server {
	t.Helper()
	s := keycloaktest.NewServer(t, keycloaktest.Options{Wrap: leaks.Serves, LegacyExchange: true})
	s.SetClient(keycloaktest.Client{ID: "worker", Secret: "worker-secret", Audience: []string{"nextcloud"}, Impersonates: true})
	return s
}

// impersonated sets a world up with such an issuer, and a grant "g" that acts as alice and is Ready.
func impersonated(t *testing.T, change ...func(*v1alpha1.TokenGrant)) (*world, *keycloaktest.Server, *v1alpha1.TokenGrant) {
	t.Helper()
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker", append(change, as("alice"))...)
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if n := s.Sessions("alice"); n != 1 {
		t.Fatalf("%d sessions, want 1", n)
	}
	return w, s, g
}

func (w *world) awaitSessions(s *keycloaktest.Server, user string, want int, when string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d sessions of %s %s", want, user, when), func() (bool, string) {
		n := s.Sessions(user)
		return n == want, fmt.Sprint(n)
	})
}
