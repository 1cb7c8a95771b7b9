package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// TestOfflineSessionThatCannotBeWritten keeps the new refresh token in memory, publishes nothing before it is saved, and
// does not send the old one again.
func TestOfflineSessionThatCannotBeWritten(t *testing.T) {
	for name, tt := range map[string]struct {
		wire *wire
		says string
	}{
		"refused":                         {&wire{answer: refusal(http.StatusForbidden, metav1.StatusReasonForbidden)}, "refused Secret \"" + sessionSecret + "\": Forbidden"},
		"a server error":                  {&wire{answer: refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError)}, "InternalError"},
		"no connection":                   {&wire{}, "no answer from the API server"},
		"conflicts":                       {&wire{answer: refusal(http.StatusConflict, metav1.StatusReasonConflict)}, "Conflict"},
		"written, but the answer is lost": {&wire{reaches: true}, "no answer from the API server"},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, g := offlineWorld(t)
			jti := w.ready(g)
			w.stop()
			w.wire = tt.wire
			w.wire.at, w.wire.always = writes("secrets", sessionSecret), true
			w.start()
			w.requestRefresh(g, "1")
			w.awaitMessage(g, v1alpha1.ReasonSecretNotWritten, tt.says)
			w.eventually("another try to write", func() (bool, string) { return w.wire.count() > 2, "" })
			if n := refreshes(s); n != 2 || w.jti(g) != jti {
				t.Errorf("%d refreshes, want 2: what was received is to be saved first", n)
			}
			w.wire.heal()
			jti = w.another(g, jti)
			w.restart()
			w.renewed(g, "2", jti)
		})
	}
}

// TestOfflineSessionSecretThatOthersTouch is restored at once from memory, and nothing is asked for.
func TestOfflineSessionSecretThatOthersTouch(t *testing.T) {
	for name, damage := range map[string]func(*world, *corev1.Secret){
		"deleted": func(w *world, s *corev1.Secret) {
			if err := w.Delete(w.t.Context(), s); err != nil {
				w.t.Fatal(err)
			}
		},
		"edited": func(w *world, s *corev1.Secret) {
			change(w, s, func(s *corev1.Secret) { s.Data["session"] = []byte("garbage") })
		},
		"emptied, without its labels": func(w *world, s *corev1.Secret) {
			change(w, s, func(s *corev1.Secret) { s.Data, s.Labels = nil, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, g := offlineWorld(t)
			jti := w.ready(g)
			w.deleteLogin()
			before := w.session()
			damage(w, before.DeepCopy())
			w.eventually("the session's Secret is whole again", func() (bool, string) {
				s := w.session()
				return s != nil && strings.HasPrefix(string(s.Data["session"]), sealedPrefix) && s.Labels[v1alpha1.ManagedByLabel] != "", ""
			})
			if n := refreshes(s); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
			w.restart()
			w.renewed(g, "1", jti)
		})
	}
}

// TestOfflineSessionSecretOfSomebodyElse is never touched, and the login not used up before it is gone.
func TestOfflineSessionSecretOfSomebodyElse(t *testing.T) {
	w, s, g := offlineWorld(t)
	foreign := w.secret(sessionSecret, map[string]string{"session": "theirs"})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict), sessionSecret, "choose another name for the TokenGrant")
	if n := refreshes(s); n != 0 || string(w.session().Data["session"]) != "theirs" {
		t.Errorf("%d refreshes", n)
	}
	if err := w.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)

	// Taken while the operator holds the newest token in memory: it waits there.
	jti := w.jti(g)
	change(w, w.session(), func(s *corev1.Secret) { s.OwnerReferences, s.Labels = nil, nil })
	w.requestRefresh(g, "1")
	w.awaitMessage(g, v1alpha1.ReasonSecretConflict)
	if err := w.Delete(t.Context(), w.session()); err != nil {
		t.Fatal(err)
	}
	w.another(g, jti)
}

// TestOfflineSessionsOfTwoGrantsSwapped: whoever may write Secrets can copy an encrypted session, and gets nothing by it.
func TestOfflineSessionsOfTwoGrantsSwapped(t *testing.T) {
	w, s, g := offlineWorld(t)
	w.ready(g)
	bob := w.secret("bob", map[string]string{"refresh_token": s.OfflineToken("worker", "alice")})
	thief := w.grantFor("h", "kc", "worker", offlineSubject, func(h *v1alpha1.TokenGrant) { h.Spec.Subject.OfflineTokenSecretRef.Name = "bob" })
	mine := w.ready(thief)
	if err := w.Delete(t.Context(), bob); err != nil { // Without a login of its own it lives on what is kept.
		t.Fatal(err)
	}
	w.stop()
	before := refreshes(s)
	stolen := w.session()
	target := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "h-tokengrant-session"}}
	change(w, target, func(o *corev1.Secret) { o.Data = stolen.Data })
	w.start()
	w.requestRefresh(thief, "1")
	w.awaitMessage(thief, v1alpha1.ReasonSecretConflict, `"h-tokengrant-session"`, "it was not sealed for this TokenGrant", "Delete the Secret")
	if n := refreshes(s); n != before || w.jti(thief) != mine {
		t.Errorf("%d refreshes of a session that was stolen", n-before)
	}
}

// TestOfflineSessionOfAnOlderOperator is opened where it names the grant, and sealed for it at once. One that names no
// grant is refused, and nothing in it is sent: a copy of it could be anybody's.
func TestOfflineSessionOfAnOlderOperator(t *testing.T) {
	w, s, g := offlineWorld(t)
	jti := w.ready(g)
	w.deleteLogin()
	w.stop()
	w.sealAsBefore(g, w.namespace+"/g")
	w.start()
	w.eventually("the session is sealed anew", func() (bool, string) {
		return strings.HasPrefix(string(w.session().Data["session"]), sealedPrefix), ""
	})
	jti = w.renewed(g, "1", jti)

	w.stop()
	before := refreshes(s)
	w.sealAsBefore(g, "")
	w.start()
	w.requestRefresh(g, "2")
	w.awaitMessage(g, v1alpha1.ReasonSecretConflict, sessionSecret, "an older operator sealed it for none", "Delete the Secret", "logs in again")
	if n := refreshes(s); n != before || w.jti(g) != jti {
		t.Errorf("%d refreshes of a session that is bound to nothing", n-before)
	}
	if err := w.Delete(t.Context(), w.session()); err != nil {
		t.Fatal(err)
	}
	w.logIn(s)
	w.another(g, jti)
}

// sealAsBefore puts the session of a grant into the form of an older operator, with the grant that it named; "" for none.
func (w *world) sealAsBefore(g *v1alpha1.TokenGrant, names string) {
	w.t.Helper()
	kept := w.session()
	state, err := offline.Keyring{File: w.keys}.Open(kept.Data["session"], offline.Grant{Namespace: g.Namespace, Name: g.Name, UID: string(g.UID)})
	if err != nil {
		w.t.Fatal(err)
	}
	plain, err := json.Marshal(map[string]string{
		"grant": names, "source": state.Source, "refreshToken": state.RefreshToken.Reveal(), "issuer": state.Issuer, "clientID": state.ClientID,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := fernet.EncryptAndSign(plain, fernet.MustDecodeKeys(firstKey)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	change(w, kept, func(s *corev1.Secret) { s.Data["session"] = sealed })
}

// TestOfflineSessionIsShownToItsIssuerOnly when the grant names another by now, and the login's Secret is gone.
func TestOfflineSessionIsShownToItsIssuerOnly(t *testing.T) {
	w, _, g := offlineWorld(t)
	w.ready(g)
	w.deleteLogin()
	other := scripted(t)
	w.issuer("other", other.URL)
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.IssuerRef.Name = "other" })
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonReloginRequired), "another client or issuer", "kubectl tokengrant login g")
	if n := refreshes(other); n != 0 {
		t.Errorf("%d refreshes at another issuer", n)
	}
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.IssuerRef.Name = "kc" })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}
