package integration

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestRestartMintsNothing(t *testing.T) {
	w, s, g := simple(t)
	before := w.published(g).ResourceVersion
	for range 3 {
		w.restart()
		time.Sleep(500 * time.Millisecond)
	}
	settled(t, s, 1)
	if now := w.published(g).ResourceVersion; now != before {
		t.Error("the Secret was written again")
	}
}

func TestRefreshRequestMintsOnceForEachValue(t *testing.T) {
	w, s, g := simple(t)
	for i, value := range []string{"a", "b"} {
		change(w, g, func(g *v1alpha1.TokenGrant) {
			g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: value}
		})
		w.awaitSecret(g, "answers the request", func(s *corev1.Secret) bool {
			return strings.Contains(s.Annotations[v1alpha1.PublishedAnnotation], `"request":"`+value+`"`)
		})
		if got := exchanges(s); got != i+2 {
			t.Errorf("exchanges = %d, want %d", got, i+2)
		}
	}
	w.restart()
	settled(t, s, 3)
}

func TestSuspendStopsRefreshing(t *testing.T) {
	w, s, g := simple(t)
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: "1"}
	})
	settled(t, s, 1)
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = false })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.eventually("the refresh that was asked for", func() (bool, string) { return exchanges(s) == 2, "" })
}

func TestChangedCredentialMintsAtOnce(t *testing.T) {
	w, s, _ := simple(t)
	s.Client("worker", "rotated")
	var credential corev1.Secret
	credential.Namespace, credential.Name = w.namespace, "worker"
	change(w, &credential, func(c *corev1.Secret) { c.Data["client-secret"] = []byte("rotated") })
	w.eventually("a refresh", func() (bool, string) { return exchanges(s) == 2, "" })
}

func TestFailedRefreshLeavesTheTokenAndReady(t *testing.T) {
	w, s, g := simple(t)
	before := string(w.published(g).Data["access_token"])
	s.Script(keycloaktest.Answer{Status: 503, Body: "<html>no</html>", Forever: true})
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: "1"}
	})
	w.eventually("the failure in lastAttempt", func() (bool, string) {
		_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
		return g.Status.ConsecutiveFailures > 0, ""
	})
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished), "its refresh fails", "IssuerUnreachable")
	if now := string(w.published(g).Data["access_token"]); now != before {
		t.Error("the token was changed")
	}
}

func TestExpiredTokenIsToldAndDeletedWhereAskedFor(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	s.SetLifespan(4 * time.Second)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	keep, remove := w.grantFor("keep", "kc", "worker"), w.grantFor("remove", "kc", "worker", func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{OnExpiry: v1alpha1.OnExpiryDelete}}
	})
	w.create(keep)
	w.create(remove)
	w.await(keep, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(remove, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	s.SetDown(true)
	contains(t, w.await(keep, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired), "expired", "IssuerUnreachable")
	w.awaitSecret(remove, "is gone", func(s *corev1.Secret) bool { return s == nil })
	if w.published(keep) == nil {
		t.Error("the Secret to keep is gone")
	}
	s.SetDown(false)
	w.await(keep, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(remove, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestShortLifeIsWarnedAbout(t *testing.T) {
	w, s, g := simple(t)
	w.await(g, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionTrue, v1alpha1.ReasonTokenLifetimeSufficient)
	s.SetLifespan(60 * time.Second)
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: "1"}
	})
	contains(t, w.await(g, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionFalse, v1alpha1.ReasonTokenLifetimeTooShort),
		"live 1m0s", `access.token.lifespan of client "worker"`)
}

func TestUnusualLives(t *testing.T) {
	lives := map[string]any{"missing": nil, "zero": 0, "negative": -1, "huge": 1e15, "text": "soon"}
	for name, value := range lives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), scripted(t)
			s.Script(keycloaktest.Answer{Forever: true, Fields: func(f map[string]any) {
				if f["expires_in"] = value; value == nil {
					delete(f, "expires_in")
				}
			}})
			w.issuer("kc", s.URL)
			w.secret("worker", map[string]string{"client-secret": "worker-secret"})
			g := w.grantFor("g", "kc", "worker")
			w.create(g)
			w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			life := g.Status.Token.ExpiresAt.Sub(g.Status.Token.IssuedAt.Time)
			if life < 299*time.Second || life > 300*time.Second {
				t.Errorf("life = %s, want the 5m of the signed exp", life)
			}
			settled(t, s, 1)
		})
	}
}
