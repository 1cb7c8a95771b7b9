package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// revoked lets a grant revoke what it published.
func revoked(g *v1alpha1.TokenGrant) { g.Spec.DeletionPolicy = v1alpha1.DeletionRevoke }

// TestDeletionNeedsNoFinalizer where nothing has to end.
func TestDeletionNeedsNoFinalizer(t *testing.T) {
	w, _, g := simple(t)
	if w.finalized(g) {
		t.Error("a finalizer without need")
	}
	change(w, g, revoked)
	w.eventually("the finalizer comes", func() (bool, string) { return w.finalized(g), "" })
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.DeletionPolicy = v1alpha1.DeletionLeave })
	w.eventually("the finalizer goes", func() (bool, string) { return !w.finalized(g), "" })
}

// TestDeletionEndsTheSession in whatever state the grant is.
func TestDeletionEndsTheSession(t *testing.T) {
	for name, before := range map[string]func(w *world, g *v1alpha1.TokenGrant){
		"a grant that works": func(*world, *v1alpha1.TokenGrant) {},
		"a suspended grant": func(w *world, g *v1alpha1.TokenGrant) {
			change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true })
		},
		"templates that do not work": func(w *world, g *v1alpha1.TokenGrant) {
			change(w, g, func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"a": "{{ .Nothing }"}}}
			})
			w.eventually("they are refused", func() (bool, string) {
				_ = w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g)
				return g.Status.LastAttempt.Reason == v1alpha1.ReasonInvalidSpec, g.Status.LastAttempt.Message
			})
		},
		"a Nextcloud that cannot be asked": func(w *world, g *v1alpha1.TokenGrant) {
			change(w, g, func(g *v1alpha1.TokenGrant) {
				g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://cloud.invalid", CARef: &v1alpha1.CARef{Kind: "ConfigMap", Name: "nowhere", Key: "ca.crt"}}}
			})
		},
		"another Secret in place of ours": func(w *world, g *v1alpha1.TokenGrant) {
			w.secret("taken", nil)
			change(w, g, func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "taken"}}
			})
		},
		"after a restart": func(w *world, _ *v1alpha1.TokenGrant) { w.restart() },
		"deleted while the operator is down": func(w *world, g *v1alpha1.TokenGrant) {
			w.stop()
			w.delete(g)
			w.start()
		},
		"its client secret is gone": func(w *world, _ *v1alpha1.TokenGrant) {
			_ = w.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "worker"}})
		},
		"its issuer is gone": func(w *world, _ *v1alpha1.TokenGrant) {
			_ = w.Delete(w.t.Context(), &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}})
		},
		"its session's Secret is gone": func(w *world, g *v1alpha1.TokenGrant) { _ = w.Delete(w.t.Context(), w.kept(g)) },
		"its session's Secret is garbage": func(w *world, g *v1alpha1.TokenGrant) {
			change(w, w.kept(g), func(s *corev1.Secret) { s.Data["session"] = []byte("garbage") })
		},
		"another client by now": func(w *world, g *v1alpha1.TokenGrant) {
			change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.ClientID = "stranger" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, g := impersonated(t, revoked)
			before(w, g)
			if err := client.IgnoreNotFound(w.Delete(t.Context(), g)); err != nil {
				t.Fatal(err)
			}
			w.gone(g)
			if n := s.Sessions("alice"); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

// TestDeletionOfANamespace takes everything at once, in whatever order.
func TestDeletionOfANamespace(t *testing.T) {
	w, s, g := impersonated(t, revoked)
	for _, o := range []client.Object{&corev1.Secret{}, &v1alpha1.TokenIssuer{}, &v1alpha1.TokenGrant{}} {
		if err := w.DeleteAllOf(t.Context(), o, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
	}
	w.gone(g)
	w.awaitSessions(s, "alice", 0, "after all is gone")
}

// TestDeletionLetsGoAtOnce where nothing can be done any more: a process that has just started remembers nothing.
func TestDeletionLetsGoAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		lose func(w *world, g *v1alpha1.TokenGrant)
		want string
	}{
		"no client secret": {func(w *world, _ *v1alpha1.TokenGrant) {
			_ = w.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "worker"}})
		}, `Secret "worker" not found`},
		"no issuer": {func(w *world, _ *v1alpha1.TokenGrant) {
			_ = w.Delete(w.t.Context(), &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}})
		}, `TokenIssuer "kc" not found`},
		"no session": {func(w *world, g *v1alpha1.TokenGrant) { _ = w.Delete(w.t.Context(), w.kept(g)) }, `which has what ends it, is gone`},
		"no key":     {func(w *world, _ *v1alpha1.TokenGrant) { w.setKeys(secondKey) }, "--encryption-keys-file"},
		"another issuer": {func(w *world, g *v1alpha1.TokenGrant) {
			w.issuer("other", scripted(w.t).URL)
			change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.IssuerRef.Name = "other" })
		}, "names another one now"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, g := impersonated(t, revoked)
			w.stop()
			tt.lose(w, g)
			w.delete(g)
			began := time.Now()
			w.start()
			w.gone(g)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			w.notRevoked(g, `the session`, tt.want)
		})
	}
}

// TestDeletionWaitsForTheIssuer for a minute at most; TestFinalizeGivesUp has the end of that minute.
func TestDeletionWaitsForTheIssuer(t *testing.T) {
	w, s, g := impersonated(t, revoked)
	s.SetDown(true)
	w.delete(g)
	time.Sleep(time.Second)
	if !w.finalized(g) {
		t.Fatal("it went with the session open")
	}
	w.restart() // The one that began need not be the one that ends it.
	s.SetDown(false)
	w.gone(g)
	if n := s.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestDeletionDuringAMint ends the session that the mint opens.
func TestDeletionDuringAMint(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), impersonating(t)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	s.Script(keycloaktest.Answer{}, keycloaktest.Answer{Delay: time.Second})
	g := w.grantFor("g", "kc", "worker", as("alice"))
	w.create(g)
	w.eventually("the request that opens the session", func() (bool, string) { return exchanges(s) == 1, "" })
	w.delete(g)
	w.gone(g)
	if n := s.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestDeletionWithTheFinalizerRemovedByHand ends nothing, and disturbs nothing.
func TestDeletionWithTheFinalizerRemovedByHand(t *testing.T) {
	w, s, g := impersonated(t, revoked)
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Finalizers = nil })
	w.requestRefresh(g, "again")
	w.eventually("the finalizer comes back", func() (bool, string) { return w.finalized(g), "" })
	s.SetDown(true)
	w.delete(g)
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Finalizers = nil })
	w.gone(g)
	s.SetDown(false)
	again := w.grantFor("g", "kc", "worker", as("alice"))
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: publish.SessionName(g.Name)}}
	if err := w.Delete(t.Context(), kept); client.IgnoreNotFound(err) != nil { // unless the garbage collector was faster
		t.Error(err)
	}
	w.create(again)
	w.await(again, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

// TestKeycloakRevokeOnDeletion asks Keycloak itself about a token before and after.
func TestKeycloakRevokeOnDeletion(t *testing.T) {
	for name, rendered := range map[string]func(*v1alpha1.TokenGrant){
		"from the Secret": func(*v1alpha1.TokenGrant) {},
		"from memory": func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"access_token": "{{ .AccessToken }}"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, issuer := realWorld(t)
			g := w.client("nextcloud-mcp-server", revoked, rendered)
			w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			token := string(w.published(g).Data["access_token"])
			if !active(t, http.DefaultClient, issuer, "nextcloud", token) {
				t.Fatal("the token is not active")
			}
			w.delete(g)
			w.gone(g)
			if active(t, http.DefaultClient, issuer, "nextcloud", token) {
				t.Error("the token is active after the deletion")
			}
		})
	}
}

// TestKeycloakRevokeOnDeletionEndsALogin ends the session of a user who logged in only where the spec wants that.
func TestKeycloakRevokeOnDeletionEndsALogin(t *testing.T) {
	for name, wanted := range map[string]v1alpha1.DeletionPolicy{"wanted": v1alpha1.DeletionRevoke, "not wanted": v1alpha1.DeletionLeave} {
		t.Run(name, func(t *testing.T) {
			v := visit(t, &reusable, "300")
			v.g.Spec.DeletionPolicy = wanted
			v.ready(v.g)
			login := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {v.stored()}}
			if _, status := v.ask(login); status != http.StatusOK {
				t.Fatalf("the login is no good before: HTTP %d", status)
			}
			v.delete(v.g)
			v.gone(v.g)
			if _, status := v.ask(login); (status != http.StatusOK) != (wanted == v1alpha1.DeletionRevoke) {
				t.Errorf("the login after the deletion: HTTP %d", status)
			}
		})
	}
}

// TestDeletionCannotTellTheToken after a restart, from what templates made of it.
func TestDeletionCannotTellTheToken(t *testing.T) {
	w, _, g := simple(t, revoked, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"header": "Authorization: Bearer {{ .AccessToken }}"}}}
	})
	w.stop()
	w.delete(g)
	w.start()
	w.gone(g)
	w.notRevoked(g, "spec.delivery.secret.data", "it expires at")
}

// active asks Keycloak whether a token is (RFC 7662), as the client that it is for.
func active(t *testing.T, c *http.Client, issuer, clientID, token string) bool {
	t.Helper()
	answer, err := c.PostForm(issuer+"/protocol/openid-connect/token/introspect", url.Values{
		"client_id": {clientID}, "client_secret": {clientID + "-secret"}, "token": {token},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var said struct {
		Active bool `json:"active"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said.Active
}
