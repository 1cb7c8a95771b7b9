package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

// TestKeycloakImpersonation counts alice's sessions at Keycloak from the first token to the deletion.
func TestKeycloakImpersonation(t *testing.T) {
	w, u := impersonationWorld(t)
	_, url := nextcloudFor(t, u.issuer)
	u.has("alice", 0, "before")
	g := w.grantFor("g", "kc", "impersonator", as("alice"), func(g *v1alpha1.TokenGrant) {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(url)}}
		g.Spec.Check.Nextcloud.Expect.User = "alice"
		g.Spec.DeletionPolicy = v1alpha1.DeletionRevoke
	})
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
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
	report := w.examine(g)
	if !report.Healthy {
		t.Errorf("the doctor finds %s broken: %+v", report.FirstBroken, report.Steps)
	}
	u.has("alice", 1, "after the doctor's visit")
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
		w.awaitNew(g, what)
		realmHas(map[string]any{"ssoSessionMaxLifespan": 36000, "revokeRefreshToken": false})
		// What came with the token may die within 2 s, as the session did. What is kept now lives.
		w.awaitNew(g, what+", and then the realm is as before")
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
	if step, _ := w.examine(g).First(diagnose.Broken); step.Name != "mint" || step.Reason != v1alpha1.ReasonImpersonationUnsupported {
		t.Errorf("the doctor finds %s broken: %s", step.Name, step.Message)
	}
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
