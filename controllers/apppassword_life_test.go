package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

func TestAppPasswordRepairsItsSecretWithoutALogin(t *testing.T) {
	for name, damage := range map[string]func(*bench){
		"deleted":            func(b *bench) { _ = b.Delete(b.t.Context(), b.secret("g")) },
		"edited":             func(b *bench) { b.editSecret("g", func(s *corev1.Secret) { s.Data["password"] = []byte("mine") }) },
		"without its record": func(b *bench) { b.editSecret("g", func(s *corev1.Secret) { s.Annotations = nil }) },
		"without its label":  func(b *bench) { b.editSecret("g", func(s *corev1.Secret) { s.Labels = nil }) },
		"of other templates": func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: templated}}
			})
		},
		"of another name": func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "other"}}
			})
		},
		"without its login": func(b *bench) {
			_ = b.Delete(b.t.Context(), b.secret("g"))
			_ = b.Delete(b.t.Context(), b.secret("login"))
		},
		"with a refused login": func(b *bench) { _ = b.Delete(b.t.Context(), b.secret("g")); b.setLogin("alice", "canary-wrong") },
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				b.run()
				made := b.password()
				damage(b)
				if restart {
					b.restart()
				}
				b.run()
				s := b.secret(secretName(b.grant()))
				if s == nil || string(s.Data["password"])+string(s.Data["PASSWORD"]) != made {
					t.Errorf("restored: %v", s)
				}
				if names := b.cloud.AppPasswordNames("alice"); len(names) != 1 {
					t.Errorf("alice has %q", names)
				}
			})
		}
	}
}

var templated = map[string]v1alpha1.DataTemplate{"USER": "{{ .Username }}", "PASSWORD": "{{ .Password }}"}

func TestAppPasswordSecretHasTheTypeOfItsKeys(t *testing.T) {
	b := newBench(t)
	b.run()
	for _, tc := range []struct {
		data map[string]v1alpha1.DataTemplate
		want corev1.SecretType
	}{
		{templated, corev1.SecretTypeOpaque},
		{map[string]v1alpha1.DataTemplate{"username": "{{ .Username }}", "dsn": "https://{{ .Username }}:{{ .Password }}@x"}, corev1.SecretTypeBasicAuth},
		{nil, corev1.SecretTypeBasicAuth},
	} {
		b.edit(func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: tc.data}}
		})
		b.run()
		if s := b.secret("g"); s.Type != tc.want || len(s.Data) != max(len(tc.data), 2) {
			t.Errorf("%s with %d keys, want %s", s.Type, len(s.Data), tc.want)
		}
	}
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
}

// TestAppPasswordWhoseKeeperIsDamaged: memory has it, or the Secret that is published.
func TestAppPasswordWhoseKeeperIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(*bench){
		"deleted": func(b *bench) { _ = b.Delete(b.t.Context(), b.secret(publish.SessionName("g"))) },
		"edited": func(b *bench) {
			b.editSecret(publish.SessionName("g"), func(s *corev1.Secret) { s.Data[sessionKey] = []byte("garbage") })
		},
		"deleted, and forgotten": func(b *bench) {
			_ = b.Delete(b.t.Context(), b.secret(publish.SessionName("g")))
			b.restart()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			first := b.password()
			damage(b)
			b.run()
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
			if s := b.secret(publish.SessionName("g")); s == nil || string(s.Data[sessionKey]) == "garbage" {
				t.Error("nothing keeps it any more")
			}
			b.edit(request("1"))
			b.pass(time.Hour)
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
			if b.works(first) {
				t.Error("the first one was forgotten")
			}
		})
	}
}

func TestAppPasswordThatTheUserDeletedIsReplaced(t *testing.T) {
	b := newBench(t)
	b.run()
	b.pass(25 * time.Hour)
	first := b.password()
	for range 3 { // Whatever deletes them, they are not made in a loop.
		b.deleteAtNextcloud(b.password())
		b.pass(25 * time.Hour)
	}
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 4, 1)
	if b.password() == first || !b.works(b.password()) {
		t.Error("the published one is dead")
	}
}

func TestAppPasswordThatNeverWorkedIsNotReplaced(t *testing.T) {
	b := newBench(t)
	b.write = func(_ string, o client.Object) error {
		if s, ok := o.(*corev1.Secret); ok {
			if state, err := b.open(*s); err == nil && len(state.AppPasswords) > 0 {
				b.deleteAtNextcloud(state.AppPasswords[0].Password.Reveal())
			}
		}
		return nil
	}
	b.run()
	b.pass(3 * time.Hour)
	b.says(b.expect(metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected, 1, 0), `does not take the app password of user "alice"`)
	b.write = nil
	b.edit(request("1"))
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
}

func TestAppPasswordOfADisabledAccountComesBackWithIt(t *testing.T) {
	b := newBench(t)
	b.run()
	made := b.password()
	b.cloud.DisableUser("alice")
	b.pass(25 * time.Hour)
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected, 2, 1)
	b.says(b.grant().Status.LastAttempt.Message, "occ user:enable")
	b.cloud.EnableUser("alice")
	b.pass(10 * time.Minute)
	if message := b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1); strings.Contains(message, "fails") || b.password() != made {
		t.Error(message)
	}
}

func TestAppPasswordOfAnAdministratorIsPublishedOnPurposeOnly(t *testing.T) {
	b := newBench(t)
	b.cloud.AddToGroup("alice", "admin")
	b.run()
	b.pass(time.Hour)
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonNextcloudForbidden, 1, 1)
	if b.secret("g") != nil {
		t.Error("published")
	}
	b.restart()
	b.edit(func(g *v1alpha1.TokenGrant) { g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{} })
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
}

func TestAppPasswordOfASuspendedGrant(t *testing.T) {
	b := newBench(t)
	b.run()
	b.edit(func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true })
	b.edit(request("1"))
	if wait := b.run(); wait != 0 {
		t.Errorf("a timer of %s", wait)
	}
	b.says(b.expect(metav1.ConditionTrue, v1alpha1.ReasonSuspended, 1, 1), "The app password is valid and is not rotated")
	b.edit(func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = false })
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 2)
}

func TestAppPasswordEndsWithItsGrant(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(*bench)
		left   int
		event  string // what it says; empty: none
		within time.Duration
	}{
		"all of them, during an overlap": {func(b *bench) { b.edit(request("1")); b.run() }, 0, "", time.Second},
		"after a restart":                {func(b *bench) { b.restart() }, 0, "", time.Second},
		"of a suspended grant":           {func(b *bench) { b.edit(func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true }) }, 0, "", time.Second},
		"without the login":              {func(b *bench) { _ = b.Delete(b.t.Context(), b.secret("login")) }, 0, "", time.Second},
		"of a spec that became invalid": {func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"a": "{{ .Nothing }}"}}}
			})
		}, 0, "", time.Second},
		"when what kept them went before, and memory has them": {func(b *bench) { _ = b.Delete(b.t.Context(), b.secret(publish.SessionName("g"))) }, 0, "", time.Second},
		"when what kept them went before, and the Secret has one": {func(b *bench) {
			_ = b.Delete(b.t.Context(), b.secret(publish.SessionName("g")))
			b.restart()
		}, 0, "", time.Second},
		"when nobody knows it any more": {func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: templated}}
			})
			b.run()
			_ = b.Delete(b.t.Context(), b.secret(publish.SessionName("g")))
			b.restart()
		}, 1, "NotRevoked", time.Second},
		"when it was deleted by hand before": {func(b *bench) { b.deleteAtNextcloud(b.password()) }, 0, "", time.Second},
		"not while Nextcloud is down, and then the grant goes after a minute": {func(b *bench) {
			b.cloud.Configure(func(s *nextcloudtest.Settings) { s.Down = nextcloudtest.DownPHP })
		}, 1, "Warning NotRevoked Deleted without revoking everything: app password \"tokengrant apps/g 2026-11-23T12:00:00Z\" of user \"alice\" at http", 65 * time.Second},
		"when the authority of Nextcloud went before, and nobody remembers it": {func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.AppPassword.Nextcloud.CARef = &v1alpha1.CARef{Kind: "ConfigMap", Name: "gone", Key: "ca.crt"}
			})
			b.restart()
		}, 1, "of user \"alice\" at http", time.Second},
		"when Nextcloud comes back within the minute": {func(b *bench) {
			b.cloud.SetMaintenance(true)
			b.answerHook(6, func() { b.cloud.SetMaintenance(false) })
		}, 0, "", 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			tc.before(b)
			if err := b.Delete(t.Context(), b.grant()); err != nil {
				t.Fatal(err)
			}
			b.news()
			b.clock.SetTime(b.grant().DeletionTimestamp.Time) // which is of the real clock
			began := b.clock.Now()
			for range 30 {
				wait := b.once()
				var g v1alpha1.TokenGrant
				if err := b.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &g); apierrors.IsNotFound(err) {
					break
				}
				b.clock.Step(max(wait, time.Second))
			}
			if took := b.clock.Now().Sub(began); took > tc.within {
				t.Errorf("the grant went after %s", took)
			}
			if b.atNextcloud() != tc.left {
				t.Errorf("alice has %q", b.cloud.AppPasswordNames("alice"))
			}
			told := b.news()
			if tc.event == "" && told != "" || !strings.Contains(told, tc.event) {
				t.Errorf("events %q, want %q", told, tc.event)
			}
			t.Log(told)
		})
	}
}

func TestAppPasswordEndsWhenTheSpecAsksForNone(t *testing.T) {
	b := newBench(t)
	b.run()
	made := b.password()
	b.edit(func(g *v1alpha1.TokenGrant) {
		g.Spec.AppPassword, g.Spec.IssuerRef = nil, v1alpha1.IssuerRef{Kind: "TokenIssuer", Name: "kc"}
	})
	b.pass(time.Hour)
	if !b.works(made) {
		t.Error("it has ended, and nothing has come in its place")
	}
	b.replaceByToken()
	b.pass(v1alpha1.DefaultOverlap + 2*time.Minute)
	b.once()
	if b.works(made) || b.secret(publish.SessionName("g")) != nil || len(b.grant().Finalizers) != 0 {
		t.Errorf("works %t, session %v, finalizers %v", b.works(made), b.secret(publish.SessionName("g")), b.grant().Finalizers)
	}
}

func TestAppPasswordOfAnotherNextcloud(t *testing.T) {
	b := newBench(t)
	b.run()
	first := b.password()
	other := newBench(t)
	b.edit(func(g *v1alpha1.TokenGrant) {
		g.Spec.AppPassword.Nextcloud.URL, g.Spec.Check.Nextcloud.URL = v1alpha1.HTTPURL(other.url), v1alpha1.HTTPURL(other.url)
	})
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
	if other.atNextcloud() != 1 || !other.works(b.password()) {
		t.Error("none was made at the other Nextcloud")
	}
	b.pass(v1alpha1.DefaultOverlap + time.Minute)
	if b.works(first) || b.atNextcloud() != 0 {
		t.Error("the former Nextcloud still has it")
	}
}

func TestAppPasswordWithoutTheKeyThatEncryptedIt(t *testing.T) {
	b := newBench(t)
	b.run()
	file := b.keys.File
	b.keys.File = ""
	b.restart()
	wait := b.run()
	b.says(b.grant().Status.LastAttempt.Message, "cannot be decrypted", "--encryption-keys-file")
	if c := meta.FindStatusCondition(b.grant().Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue {
		t.Errorf("Ready=%s: %s", c.Status, c.Message)
	}
	if wait == 0 || wait > time.Minute {
		t.Errorf("looks again in %s", wait)
	}
	b.Keys.File, b.keys.File = file, file
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
}
