package integration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func TestPublishesTheToken(t *testing.T) {
	w, s, g := simple(t, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Labels: map[string]v1alpha1.LabelValue{"team": "notes"}}}
	})
	secret := w.published(g)
	for _, key := range []string{"access_token", "token_type", "expires_at", "issued_at", "scope"} {
		if len(secret.Data[key]) == 0 {
			t.Errorf("key %s is empty", key)
		}
	}
	owner := metav1.GetControllerOf(secret)
	if owner == nil || owner.UID != g.UID {
		t.Errorf("controller = %v, want the grant", owner)
	}
	for k, v := range map[string]string{"app.kubernetes.io/managed-by": "tokengrant", "tokengrant.dev/grant": "g", "team": "notes"} {
		if secret.Labels[k] != v {
			t.Errorf("label %s = %q, want %q", k, secret.Labels[k], v)
		}
	}
	if got := g.Status.Token; got.ClientID != "worker" || got.Username != "service-account-worker" || !cmp.Equal(got.Audiences, []string{"nextcloud"}) {
		t.Errorf("status.token = %+v", got)
	}
	if g.Status.RefreshAt == nil || !g.Status.RefreshAt.Before(&g.Status.Token.ExpiresAt) || string(secret.Data["expires_at"]) != g.Status.Token.ExpiresAt.UTC().Format(time.RFC3339) {
		t.Errorf("refreshAt %v, expiresAt %v, key %s", g.Status.RefreshAt, g.Status.Token.ExpiresAt, secret.Data["expires_at"])
	}
	settled(t, s, 1)
}

func TestDamageIsRepairedWithoutAnotherMint(t *testing.T) {
	damages := map[string]func(w *world, s *corev1.Secret){
		"deleted": func(w *world, s *corev1.Secret) {
			if err := w.Delete(w.t.Context(), s); err != nil {
				w.t.Fatal(err)
			}
		},
		"token edited": func(w *world, s *corev1.Secret) {
			change(w, s, func(s *corev1.Secret) { s.Data["access_token"] = []byte("stolen") })
		},
		"key added": func(w *world, s *corev1.Secret) {
			change(w, s, func(s *corev1.Secret) { s.Data["more"] = []byte("x") })
		},
		"our labels gone":  func(w *world, s *corev1.Secret) { change(w, s, func(s *corev1.Secret) { s.Labels = nil }) },
		"annotations gone": func(w *world, s *corev1.Secret) { change(w, s, func(s *corev1.Secret) { s.Annotations = nil }) },
		"made immutable":   func(w *world, s *corev1.Secret) { change(w, s, func(s *corev1.Secret) { s.Immutable = new(true) }) },
		"record overwritten": func(w *world, s *corev1.Secret) {
			change(w, s, func(s *corev1.Secret) { s.Annotations[v1alpha1.PublishedAnnotation] = "{}" })
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w, s, g := simple(t)
			before := w.published(g)
			damage(w, before.DeepCopy())
			w.awaitSecret(g, "is as before", func(now *corev1.Secret) bool {
				return now != nil && cmp.Equal(now.Data, before.Data) && cmp.Equal(now.Labels, before.Labels) &&
					cmp.Equal(now.Annotations, before.Annotations) && now.Immutable == nil
			})
			settled(t, s, 1)
		})
	}
}

func TestForeignLabelsAndAnnotationsAreKept(t *testing.T) {
	w, s, g := simple(t)
	change(w, w.published(g), func(s *corev1.Secret) {
		s.Labels["other.example.com/tool"], s.Annotations["other.example.com/note"] = "x", "y"
	})
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: "1"}
	})
	w.eventually("a refresh", func() (bool, string) { return exchanges(s) == 2, "" })
	secret := w.published(g)
	if secret.Labels["other.example.com/tool"] != "x" || secret.Annotations["other.example.com/note"] != "y" {
		t.Errorf("labels %v, annotations %v", secret.Labels, secret.Annotations)
	}
}

func TestForeignSecretIsLeftAloneAndTheConflictHeals(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	foreign := w.secret("g", map[string]string{"mine": "left as it was found"})
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker")
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict), "left untouched", "delete that Secret")
	if now := w.published(g); string(now.Data["mine"]) != "left as it was found" || len(now.Data) != 1 || now.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign Secret was touched: %v", now)
	}
	if n := exchanges(s); n != 0 {
		t.Errorf("%d exchanges for a Secret that cannot be written", n)
	}
	if err := w.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestOfTwoGrantsThatNameOneSecretTheFirstWins(t *testing.T) {
	w, _, first := simple(t)
	second := w.grantFor("second", "kc", "worker", func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "g"}}
	})
	w.create(second)
	contains(t, w.await(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict), `TokenGrant "g"`)
	if err := w.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	// The garbage collector takes the first one's Secret, and the second one's is made.
	w.await(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestSecretGoesWithItsGrant(t *testing.T) {
	w, _, g := simple(t)
	if err := w.Delete(t.Context(), g, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.awaitSecret(g, "is gone", func(s *corev1.Secret) bool { return s == nil })
}

func TestRenamedSecretReplacesTheFormer(t *testing.T) {
	w, _, g := simple(t)
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "renamed"}}
	})
	w.awaitSecret(g, "has the new name", func(s *corev1.Secret) bool { return s != nil })
	former := w.grantFor("g", "kc", "worker")
	w.awaitSecret(former, "under the former name is gone", func(s *corev1.Secret) bool { return s == nil })
}

func TestTemplatesShapeTheSecretAndAChangeOfThemNeedsNoMint(t *testing.T) {
	w, s, g := simple(t)
	token := string(w.published(g).Data["access_token"])
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"header": "Authorization: Bearer {{.AccessToken}}", "who": "{{.Claims.azp}}"}}}
	})
	secret := w.awaitSecret(g, "has the new shape", func(s *corev1.Secret) bool { return s != nil && len(s.Data) == 2 })
	if want := "Authorization: Bearer " + token; string(secret.Data["header"]) != want || string(secret.Data["who"]) != "worker" {
		t.Errorf("data = %s", secret.Data)
	}
	settled(t, s, 1)
}

func TestTemplateThatDoesNotWorkIsToldAndTheSecretStays(t *testing.T) {
	w, s, g := simple(t)
	before := w.published(g)
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"header": "{{.AccesToken}}"}}}
	})
	w.eventually("the fault in lastAttempt", func() (bool, string) {
		_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
		return g.Status.LastAttempt.Reason == v1alpha1.ReasonInvalidSpec, g.Status.LastAttempt.Reason
	})
	contains(t, g.Status.LastAttempt.Message, "header", "AccesToken")
	if now := w.published(g); !cmp.Equal(now.Data, before.Data) {
		t.Error("the Secret was changed")
	}
	settled(t, s, 1)
}
