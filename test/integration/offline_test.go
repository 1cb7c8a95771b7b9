package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const (
	sessionSecret = "g-tokengrant-session"
	sealedPrefix  = "tokengrant.session.v1."
)

func offlineSubject(g *v1alpha1.TokenGrant) {
	g.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
}

// offlineWorld describes the grant "g" of alice's offline token, in the Secret "alice", at a scripted issuer that revokes
// refresh tokens when they are used.
func offlineWorld(t *testing.T) (*world, *keycloaktest.Server, *v1alpha1.TokenGrant) {
	t.Helper()
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	s.SetRotation(true, 0)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	w.secret("alice", map[string]string{"refresh_token": s.OfflineToken("worker", "alice") + "\n"})
	g := w.grantFor("g", "kc", "worker", offlineSubject)
	return w, s, g
}

// ready creates a grant, and waits until its token is published.
func (w *world) ready(g *v1alpha1.TokenGrant) string {
	w.t.Helper()
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	return w.jti(g)
}

func (w *world) jti(g *v1alpha1.TokenGrant) string {
	w.t.Helper()
	jti, _ := claimsIn(w.t, w.published(g))["jti"].(string)
	return jti
}

// renewed asks for a new token and waits for it.
func (w *world) renewed(g *v1alpha1.TokenGrant, request, before string) string {
	w.t.Helper()
	w.requestRefresh(g, request)
	return w.another(g, before)
}

// another waits for another token than the one of before, and for a status without a failure.
func (w *world) another(g *v1alpha1.TokenGrant, before string) string {
	w.t.Helper()
	w.awaitSecret(g, "has another token", func(s *corev1.Secret) bool { return s != nil && claimsIn(w.t, s)["jti"] != before })
	w.awaitMessage(g, "holds a verified token")
	return w.jti(g)
}

// awaitMessage waits until Ready says something.
func (w *world) awaitMessage(g *v1alpha1.TokenGrant, parts ...string) string {
	w.t.Helper()
	message := ""
	w.eventually("Ready of "+g.Name+" says "+strings.Join(parts, ", "), func() (bool, string) {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
			return false, err.Error()
		}
		for _, c := range g.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				message = c.Reason + ": " + c.Message
			}
		}
		for _, p := range parts {
			if !strings.Contains(message, p) {
				return false, message
			}
		}
		return true, ""
	})
	w.t.Log(message)
	return message
}

// session reads the Secret of a grant's session; nil when there is none.
func (w *world) session() *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	err := w.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: sessionSecret}, &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &s
}

func (w *world) logIn(s *keycloaktest.Server) {
	w.t.Helper()
	w.storeLogin(s.OfflineToken("worker", "alice"))
}

// storeLogin puts a token into alice's Secret, which may have been deleted.
func (w *world) storeLogin(token string) {
	w.t.Helper()
	alice := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "alice"}}
	err := w.Get(w.t.Context(), client.ObjectKeyFromObject(alice), alice)
	if apierrors.IsNotFound(err) {
		w.secret("alice", map[string]string{"refresh_token": token})
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	change(w, alice, func(s *corev1.Secret) { s.Data["refresh_token"] = []byte(token) })
}

func (w *world) deleteLogin() {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "alice"}}); err != nil {
		w.t.Fatal(err)
	}
}

func refreshes(s *keycloaktest.Server) int { return s.Count("refresh_token") }

// TestOfflineTokenIsRotatedWithoutALostOne refreshes a session of which every token can be used once, past a restart and
// past the end of the login's Secret.
func TestOfflineTokenIsRotatedWithoutALostOne(t *testing.T) {
	w, s, g := offlineWorld(t)
	jti := w.ready(g)
	if g.Status.Token.Username != "alice" {
		t.Errorf("username %s", g.Status.Token.Username)
	}
	kept := w.session()
	if !metav1.IsControlledBy(kept, g) || !strings.HasPrefix(string(kept.Data["session"]), sealedPrefix) || len(kept.Data) != 1 {
		t.Errorf("the session's Secret: owners %v, %d keys", kept.OwnerReferences, len(kept.Data))
	}
	change(w, kept, func(s *corev1.Secret) { s.Annotations = map[string]string{"touched": "by hand"} })
	jti = w.renewed(g, "1", jti)

	var login corev1.Secret
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "alice"}, &login); err != nil {
		t.Fatal(err)
	}
	change(w, &login, func(s *corev1.Secret) { s.Labels = map[string]string{"team": "notes"} })
	change(w, &login, func(s *corev1.Secret) {
		s.Data["refresh_token"] = []byte(strings.TrimSpace(string(s.Data["refresh_token"])))
	})
	time.Sleep(time.Second)
	if n := refreshes(s); n != 2 {
		t.Errorf("%d refreshes, want 2: a label is no new login", n)
	}
	w.deleteLogin()
	jti = w.renewed(g, "2", jti)
	w.restart()
	jti = w.renewed(g, "3", jti)

	w.logIn(s) // No annotation: a new login is used at once.
	jti = w.another(g, jti)
	w.renewed(g, "4", jti)
	if n := refreshes(s); n != 6 {
		t.Errorf("%d refreshes, want 6", n)
	}
}

// TestOfflineEncryptionKeys follows a keys file from nothing to a rotation, without a restart where none is named.
func TestOfflineEncryptionKeys(t *testing.T) {
	w, s, g := offlineWorld(t)
	w.setKeys()
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEncryptionKeyMissing), "--encryption-keys-file is empty")
	if n := refreshes(s); n != 0 {
		t.Errorf("%d refreshes: what could not be kept was asked for", n)
	}
	w.setKeys(firstKey)
	w.requestRefresh(g, "1")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.deleteLogin()

	// The rotation of docs/ways-to-a-token.md: the new key first, a renewal of all, the old key away.
	w.setKeys(secondKey, firstKey)
	jti := w.renewed(g, "2", w.jti(g))
	w.setKeys(secondKey)
	w.restart()
	jti = w.renewed(g, "3", jti)

	// The wrong key, to an operator that has nothing in memory.
	w.setKeys(firstKey)
	w.restart()
	w.requestRefresh(g, "4")
	w.awaitMessage(g, v1alpha1.ReasonEncryptionKeyMissing, "add the one that was in use before", sessionSecret)
	if w.jti(g) != jti {
		t.Error("the token that lives was touched")
	}
	w.setKeys(firstKey, secondKey)
	jti = w.renewed(g, "5", jti)

	// Edited by hand while no operator ran.
	w.stop()
	change(w, w.session(), func(s *corev1.Secret) { s.Data["session"] = []byte("garbage") })
	w.start()
	w.requestRefresh(g, "6")
	w.awaitMessage(g, v1alpha1.ReasonEncryptionKeyMissing, "not encrypted as this operator does", "delete the Secret to begin anew")
	if err := w.Delete(t.Context(), w.session()); err != nil {
		t.Fatal(err)
	}
	w.awaitMessage(g, v1alpha1.ReasonCredentialMissing, `Secret "alice" not found`)
	w.logIn(s)
	w.another(g, jti)
}

// TestOfflineLoginInFernet takes the column of a token store as it is, with that store's key, which is for imports only.
func TestOfflineLoginInFernet(t *testing.T) {
	w, s, g := offlineWorld(t)
	key, err := fernet.DecodeKey(secondKey)
	if err != nil {
		t.Fatal(err)
	}
	column, err := fernet.EncryptAndSign([]byte(s.OfflineToken("worker", "alice")), key)
	if err != nil {
		t.Fatal(err)
	}
	w.storeLogin(string(column))
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEncryptionKeyMissing), `key "refresh_token" of Secret "alice" is encrypted`, "--import-keys-file")
	for line, says := range map[string]string{
		"other " + secondKey:           `no encryption key of namespace "` + w.namespace + `"`,
		w.namespace + " " + firstKey:   "the key of line 1 is in --encryption-keys-file, too",
		w.namespace + "  short-canary": "line 1 holds no key",
	} {
		w.setImportKeys(line)
		w.requestRefresh(g, says)
		w.awaitMessage(g, v1alpha1.ReasonEncryptionKeyMissing, says)
	}
	if n := refreshes(s); n != 0 {
		t.Errorf("%d refreshes without the key", n)
	}
	w.setImportKeys(w.namespace + " " + secondKey)
	w.requestRefresh(g, "1")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.setImportKeys("") // It was needed once.
	w.restart()
	w.renewed(g, "2", w.jti(g))
}

// TestOfflineSessionThatHasEnded is told with its cure, and is not tried again in a loop.
func TestOfflineSessionThatHasEnded(t *testing.T) {
	w, s, g := offlineWorld(t)
	jti := w.ready(g)
	s.EndSessions("alice")
	w.requestRefresh(g, "1")
	w.awaitMessage(g, v1alpha1.ReasonReloginRequired, "log in again", "kubectl tokengrant login g -n "+w.namespace+" --secret alice --key refresh_token --overwrite")
	time.Sleep(2 * time.Second)
	if n := refreshes(s); n != 2 || w.jti(g) != jti {
		t.Errorf("%d refreshes, want 2", n)
	}
	w.logIn(s)
	w.another(g, jti)
}

// TestOfflineStopOfTheOperatorWaitsForTheAnswer stops the operator while the issuer thinks: the answer, which holds the
// only refresh token that is still good, is kept.
func TestOfflineStopOfTheOperatorWaitsForTheAnswer(t *testing.T) {
	w, s, g := offlineWorld(t)
	jti := w.ready(g)
	asked := make(chan struct{})
	s.Script(keycloaktest.Answer{Fields: func(map[string]any) { // The session has gone on, and the answer is on its way.
		close(asked)
		time.Sleep(time.Second)
	}})
	w.requestRefresh(g, "1")
	<-asked
	w.restart()
	w.another(g, jti)
	w.renewed(g, "2", w.jti(g))
}
