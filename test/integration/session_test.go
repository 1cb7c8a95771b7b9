package integration

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
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
				return s != nil && strings.HasPrefix(string(s.Data["session"]), "gAAAA") && s.Labels[v1alpha1.ManagedByLabel] != "", ""
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
