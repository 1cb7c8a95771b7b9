package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// TestKeycloakImpersonation counts alice's sessions at Keycloak from the first token to the deletion.
func TestKeycloakImpersonation(t *testing.T) {
	w, u := impersonationWorld(t)
	_, url := nextcloudFor(t, u.issuer)
	u.has("alice", 0, "before")
	g := w.grantFor("g", "kc", "impersonator", as("alice"), func(g *v1alpha1.TokenGrant) {
		g.Spec.Nextcloud = &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(url)}
		g.Spec.Nextcloud.Expect.User = "alice"
		g.Spec.RevokeOnDelete = true
	})
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(g, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
	claims := claimsIn(t, w.published(g))
	if claims["aud"] != "nextcloud" || claims["azp"] != "impersonator" || claims["preferred_username"] != "alice" || claims["sub"] != u.user("alice") {
		t.Errorf("aud = %v, azp = %v, username = %v, sub = %v", claims["aud"], claims["azp"], claims["preferred_username"], claims["sub"])
	}
	u.has("alice", 1, "after the first token")
	session := u.sessions("alice")[0]
	tokens := [][]byte{w.published(g).Data["access_token"]}
	refresh := func(why string) {
		t.Helper()
		before := claimsIn(t, w.published(g))["jti"]
		w.requestRefresh(g, why)
		w.awaitSecret(g, "is new: "+why, func(s *corev1.Secret) bool { return claimsIn(t, s)["jti"] != before })
		tokens = append(tokens, w.published(g).Data["access_token"])
	}
	for i := range 10 {
		refresh(fmt.Sprint(i))
	}
	u.has("alice", 1, "after ten refreshes")
	w.restart()
	refresh("restarted")
	u.has("alice", 1, "after a restart of the operator")
	if now := u.sessions("alice"); now[0] != session {
		t.Errorf("the session is %s, and was %s", now[0], session)
	}
	if !w.finalized(g) {
		t.Error("no finalizer")
	}
	w.discreet(g, append(tokens, []byte("impersonator-secret"))...)
	w.delete(g)
	w.gone(g)
	u.has("alice", 0, "after the deletion")
	u.has("service-account-impersonator", 0, "at the end")
}

// TestKeycloakImpersonationEndedSession opens one other session, and not more, whoever ended the first one.
func TestKeycloakImpersonationEndedSession(t *testing.T) {
	w, u := impersonationWorld(t)
	g := w.grantFor("g", "kc", "impersonator", as("alice"))
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	realmHas := func(settings map[string]any) { u.admin(http.MethodPut, "", settings, nil) }
	for what, end := range map[string]func(session string){
		"ended by an administrator": func(session string) { u.admin(http.MethodDelete, "/sessions/"+session, nil, nil) },
		"at its end": func(string) {
			realmHas(map[string]any{"ssoSessionMaxLifespan": 2})
			time.Sleep(3 * time.Second)
		},
		"ended by a refresh token that was used twice": func(string) {
			realmHas(map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": 0})
			old := w.kept(g).Data
			w.awaitNew(g, "used-once")
			// As if the operator had been killed between Keycloak's answer and the write.
			w.stop()
			change(w, w.kept(g), func(s *corev1.Secret) { s.Data = old })
			w.start()
		},
	} {
		session := u.sessions("alice")
		if len(session) != 1 {
			t.Fatalf("%d sessions before one is %s", len(session), what)
		}
		end(session[0])
		w.awaitNew(g, what[:6])
		realmHas(map[string]any{"ssoSessionMaxLifespan": 36000, "revokeRefreshToken": false})
		u.has("alice", 1, "after one was "+what)
		if now := u.sessions("alice"); len(now) == 1 && now[0] == session[0] {
			t.Errorf("%s: it is still there", what)
		}
	}
}

// TestKeycloakImpersonationOfAnother ends the session of one user before it opens that of another.
func TestKeycloakImpersonationOfAnother(t *testing.T) {
	w, u := impersonationWorld(t)
	g := w.grantFor("g", "kc", "impersonator", as("alice"))
	w.create(g)
	w.awaitUser(g, "alice")
	change(w, g, as("bob"))
	w.awaitUser(g, "bob")
	u.has("alice", 0, "after the change to bob")
	u.has("bob", 1, "after the change to bob")
	// The user's ID is as good as the name.
	change(w, g, as(u.user("alice")))
	w.awaitUser(g, "alice")
	u.has("bob", 0, "after the change to alice's ID")

	change(w, g, as(""))
	w.awaitUser(g, "service-account-impersonator")
	w.eventually("the session, its Secret and the finalizer go", func() (bool, string) {
		sessions, finalized := len(u.sessions("alice")), w.finalized(g)
		kept := w.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "g-tokengrant-session"}, &corev1.Secret{})
		return sessions == 0 && !finalized && apierrors.IsNotFound(kept), fmt.Sprintf("%d sessions, finalizer %t, Secret %v", sessions, finalized, kept)
	})
	w.delete(g)
	w.gone(g)
}

// TestKeycloakImpersonationUnsupported is what a Keycloak with its default features says.
func TestKeycloakImpersonationUnsupported(t *testing.T) {
	w, _ := realWorld(t)
	g := w.client("impersonator", as("alice"))
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonImpersonationUnsupported), "--features=token-exchange:v1")
	w.delete(g)
	w.gone(g)
}

func TestKeycloakImpersonationRefused(t *testing.T) {
	w, u := impersonationWorld(t)
	w.secret("notes-sync", map[string]string{"client-secret": "notes-sync-secret"})
	u.admin(http.MethodPut, "/users/"+u.user("bob"), map[string]any{"enabled": false}, nil)
	for name, tt := range map[string]struct {
		client, user string
		reasons      []string
		want         []string
	}{
		"no-permission": {"notes-sync", "alice", []string{v1alpha1.ReasonImpersonationForbidden}, []string{`the role impersonation of the client realm-management`, `"notes-sync"`}},
		"unknown-user":  {"impersonator", "nobody", []string{v1alpha1.ReasonImpersonationForbidden}, []string{`no user "nobody"`}},
		"disabled-user": {"impersonator", "bob", []string{v1alpha1.ReasonImpersonationForbidden, v1alpha1.ReasonSubjectTokenInvalid}, []string{"disabled"}},
	} {
		g := w.grantFor(name, "kc", tt.client, as(tt.user))
		w.create(g)
		w.eventually("the refusal of "+name, func() (bool, string) {
			_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
			return g.Status.LastAttempt != nil, ""
		})
		t.Logf("%s: %s: %s", name, g.Status.LastAttempt.Reason, g.Status.LastAttempt.Message)
		contains(t, g.Status.LastAttempt.Message, tt.want...)
		if w.published(g) != nil {
			t.Errorf("%s: a token was published", name)
		}
	}
	u.has("alice", 0, "after the refusals")
}

// TestImpersonationThroughAClusterTokenIssuer is allowed by a rule for namespace, audience and user, whoever brings the client.
func TestImpersonationThroughAClusterTokenIssuer(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	i.Spec.URL = v1alpha1.HTTPURL(s.URL)
	i.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecretRef: &v1alpha1.ClientSecretRef{Name: "worker"}}
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
	s := keycloaktest.NewServer(t, keycloaktest.Options{LegacyExchange: true})
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

// kept is the Secret of a grant's session.
func (w *world) kept(g *v1alpha1.TokenGrant) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: g.Namespace, Name: g.Name + "-tokengrant-session"}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// awaitNew asks for a new token and waits for it.
func (w *world) awaitNew(g *v1alpha1.TokenGrant, why string) {
	w.t.Helper()
	before := string(w.published(g).Data["access_token"])
	w.requestRefresh(g, why)
	w.awaitSecret(g, "is new: "+why, func(s *corev1.Secret) bool { return string(s.Data["access_token"]) != before })
}

func (w *world) awaitUser(g *v1alpha1.TokenGrant, user string) {
	w.t.Helper()
	w.awaitSecret(g, "is of "+user, func(s *corev1.Secret) bool { return s != nil && claimsIn(w.t, s)["preferred_username"] == user })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func (w *world) delete(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) finalized(g *v1alpha1.TokenGrant) bool {
	w.t.Helper()
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		w.t.Fatal(err)
	}
	return len(g.Finalizers) > 0
}

// gone waits until a grant is, and says how long that took.
func (w *world) gone(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	began := time.Now()
	w.eventually("grant "+g.Name+" goes", func() (bool, string) {
		err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g)
		return apierrors.IsNotFound(err), fmt.Sprint(g.Finalizers)
	})
	w.t.Logf("%s went within %s", g.Name, time.Since(began).Round(10*time.Millisecond))
}

// notRevoked waits for the event of a deletion that left something.
func (w *world) notRevoked(g *v1alpha1.TokenGrant, parts ...string) {
	w.t.Helper()
	var note string
	w.eventually("an event "+v1alpha1.ReasonNotRevoked, func() (bool, string) {
		for _, e := range w.events(g) {
			if e.Reason == v1alpha1.ReasonNotRevoked {
				note = e.Note
				return true, ""
			}
		}
		return false, fmt.Sprint(w.events(g))
	})
	contains(w.t, note, parts...)
}

func (w *world) events(g *v1alpha1.TokenGrant) []eventsv1.Event {
	w.t.Helper()
	var all eventsv1.EventList
	if err := w.List(w.t.Context(), &all, inNamespace(w)); err != nil {
		w.t.Fatal(err)
	}
	var of []eventsv1.Event
	for _, e := range all.Items {
		if e.Regarding.Name == g.Name {
			of = append(of, e)
		}
	}
	return of
}

// discreet looks for secrets in all that users and their tools can read of a grant: the object, its events, and the
// Secret of its session.
func (w *world) discreet(g *v1alpha1.TokenGrant, secrets ...[]byte) {
	w.t.Helper()
	var object v1alpha1.TokenGrant
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), &object); err != nil {
		w.t.Fatal(err)
	}
	var said strings.Builder
	for _, o := range []any{object, w.events(g), w.kept(g)} {
		raw, err := yaml.Marshal(o)
		if err != nil {
			w.t.Fatal(err)
		}
		said.Write(raw)
	}
	for _, secret := range secrets {
		if strings.Contains(said.String(), string(secret)) {
			w.t.Errorf("a token or secret is told:\n%s", said.String())
		}
	}
}
