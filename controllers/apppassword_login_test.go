package controllers

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

func TestAppPasswordLoginThatIsRefusedIsNotTriedAgain(t *testing.T) {
	b := newBench(t)
	b.setLogin("alice", "canary-wrong")
	if wait := b.run(); wait != 0 {
		t.Errorf("a timer of %s", wait)
	}
	b.says(b.expect(metav1.ConditionFalse, v1alpha1.ReasonCredentialRejected, 1, 0), `user "alice"`, "not tried again before it changes", "occ user:resetpassword")
	for what, do := range map[string]func(){
		"time":        func() { b.pass(24 * time.Hour) },
		"a restart":   b.restart,
		"the request": func() { b.edit(request("1")) },
		"another spec": func() {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Labels: map[string]v1alpha1.LabelValue{"a": "b"}}}
			})
		},
		"a label":       func() { b.editSecret("login", func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} }) },
		"both restarts": func() { b.restart(); b.run(); b.restart() },
	} {
		do()
		b.run()
		if b.logins() != 1 {
			t.Fatalf("%s: %d logins", what, b.logins())
		}
	}
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonCredentialRejected, 1, 0)
	b.setLogin("alice", "canary-wrong-again")
	b.run()
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonCredentialRejected, 2, 0)
	b.setLogin("alice", accountPassword)
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 3, 1)
}

func TestAppPasswordOutlivesARefusedLogin(t *testing.T) {
	b := newBench(t)
	b.run()
	first := b.password()
	b.setLogin("alice", "canary-wrong")
	b.run()
	b.says(b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1), "its rotation fails: CredentialRejected")
	checks := b.cloud.Count(cloudUser)
	b.pass(48 * time.Hour)
	if b.cloud.Count(cloudUser) == checks {
		t.Error("the published one is not checked any more")
	}
	b.setLogin("alice", accountPassword)
	b.run()
	if message := b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1); strings.Contains(message, "fails") || b.password() != first {
		t.Errorf("the login it was made with is back: %s", message)
	}
}

func TestAppPasswordOfAChangedLoginIsAnother(t *testing.T) {
	b := newBench(t)
	b.run()
	first := b.password()
	b.cloud.PutUser(nextcloudtest.User{ID: "bob", Password: b.sensitive("canary-of-bob")})
	b.setLogin("bob", "canary-of-bob")
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
	if names := b.cloud.AppPasswordNames("bob"); len(names) != 1 || b.grant().Status.Token.Username != "bob" || !b.works(first) {
		t.Errorf("bob has %q", names)
	}
	b.pass(10 * time.Minute)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 0)
}

func TestAppPasswordLoginWithoutAnAnswer(t *testing.T) {
	b := newBench(t)
	b.answer = func(r *http.Request) bool { return !strings.Contains(r.URL.Path, "getapppassword") }
	wait := b.run()
	b.says(b.expect(metav1.ConditionFalse, v1alpha1.ReasonNextcloudUnreachable, 1, 1), "nobody knows", "occ user:auth-tokens:list", "tokengrant apps/g 2026-11-23T12:00:00Z")
	if wait < 9*time.Minute || wait > 11*time.Minute {
		t.Errorf("the next try is in %s", wait)
	}
	b.restart()
	b.pass(8 * time.Minute)
	b.edit(request("1"))
	b.run()
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonNextcloudUnreachable, 1, 1)
	b.answer = nil
	b.pass(5 * time.Minute)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 2)
}

func TestAppPasswordLoginWhileNextcloudCannot(t *testing.T) {
	for name, tc := range map[string]struct {
		ill, well func(*bench)
		reason    string
		// most is how many logins there may be in an hour.
		most int
	}{
		"maintenance": {
			func(b *bench) { b.cloud.SetMaintenance(true) },
			func(b *bench) { b.cloud.SetMaintenance(false) }, v1alpha1.ReasonNextcloudMaintenance, 80,
		},
		"throttled": {
			func(b *bench) {
				for range 12 {
					req, _ := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/ocs/v2.php/cloud/user", http.NoBody)
					req.SetBasicAuth("mallory", "guess")
					if res, err := http.DefaultClient.Do(req); err == nil {
						_ = res.Body.Close()
					}
				}
			},
			func(b *bench) { b.cloud.ResetThrottle() }, v1alpha1.ReasonThrottled, 4, // The stand-in forgets after 30 min.
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			tc.ill(b)
			b.run()
			b.says(b.expect(metav1.ConditionFalse, tc.reason, b.logins(), 0))
			b.pass(25 * time.Minute)
			if b.logins() > tc.most {
				t.Errorf("%d logins within 25 minutes", b.logins())
			}
			before := b.logins()
			b.restart()
			b.run()
			b.pass(30 * time.Second)
			if b.logins() > before+1 {
				t.Errorf("%d logins within 30 s of a restart", b.logins()-before)
			}
			tc.well(b)
			b.pass(11 * time.Minute)
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, b.logins(), 1)
		})
	}
}

// TestAppPasswordSurvivesACrash kills the operator at each of its writes.
func TestAppPasswordSurvivesACrash(t *testing.T) {
	type crash struct{}
	for name, tc := range map[string]struct {
		at func(b *bench, verb string, o client.Object) bool
		// logins and atNextcloud when all is well again, and within how long that is.
		logins, atNextcloud int
		within              time.Duration
	}{
		"before the intent is kept": {func(_ *bench, _ string, o client.Object) bool { return o.GetName() == publish.SessionName("g") }, 1, 1, time.Second},
		"before the answer is kept": {func(b *bench, _ string, o client.Object) bool {
			return o.GetName() == publish.SessionName("g") && b.logins() == 1
		}, 2, 2, 11 * time.Minute},
		"before it is published":    {func(_ *bench, verb string, o client.Object) bool { return verb == "create" && o.GetName() == "g" }, 1, 1, time.Second},
		"before the status says so": {func(_ *bench, verb string, _ client.Object) bool { return verb == "patch status" }, 1, 1, time.Second},
		"before the publication is kept": {func(b *bench, _ string, o client.Object) bool {
			return o.GetName() == publish.SessionName("g") && b.secret("g") != nil
		}, 1, 1, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			crashed := false
			b.write = func(verb string, o client.Object) error {
				if !crashed && tc.at(b, verb, o) {
					crashed = true
					panic(crash{})
				}
				return nil
			}
			func() {
				defer func() {
					if r := recover(); r != nil && r != (crash{}) {
						panic(r)
					}
				}()
				for range 3 { // controller-runtime recovers panics, and hands them back as errors
					b.once()
				}
			}()
			if !crashed {
				t.Fatal("never came there")
			}
			b.restart()
			b.pass(tc.within)
			b.run()
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, tc.logins, tc.atNextcloud)
			if !b.works(b.password()) {
				t.Error("what is published does not work")
			}
		})
	}
}

// TestAppPasswordIsNotLostWithAWrite: what the API server does not take stays in memory, and is written before anything
// else is done.
func TestAppPasswordIsNotLostWithAWrite(t *testing.T) {
	b := newBench(t)
	refuse := true
	b.write = func(_ string, o client.Object) error {
		if refuse && o.GetName() == publish.SessionName("g") && b.logins() == 1 {
			return errors.New("no answer")
		}
		return nil
	}
	b.once()
	b.once()
	b.expect(metav1.ConditionFalse, v1alpha1.ReasonSecretNotWritten, 1, 1)
	if b.secret("g") != nil {
		t.Error("published before it was kept")
	}
	refuse = false
	b.pass(time.Minute)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
}

func TestAppPasswordInputThatCannotWork(t *testing.T) {
	for name, tc := range map[string]struct {
		do     func(*bench)
		reason string
		logins int
		says   []string
	}{
		"no Secret":     {func(b *bench) { _ = b.Delete(b.t.Context(), b.secret("login")) }, v1alpha1.ReasonCredentialMissing, 0, []string{`Secret "login" not found`, `"username" and "password"`}},
		"no password":   {func(b *bench) { b.editSecret("login", func(s *corev1.Secret) { delete(s.Data, "password") }) }, v1alpha1.ReasonCredentialMissing, 0, []string{`key "password" of Secret "login"`, "missing or empty"}},
		"an empty name": {func(b *bench) { b.setLogin("", "canary") }, v1alpha1.ReasonCredentialMissing, 0, []string{`key "username" of Secret "login"`}},
		"a line break":  {func(b *bench) { b.setLogin("alice", accountPassword+"\n") }, v1alpha1.ReasonCredentialRejected, 0, []string{"line break", "nothing was sent"}},
		"no encryption key": {func(b *bench) {
			b.keys.File = ""
			b.restart()
		}, v1alpha1.ReasonEncryptionKeyMissing, 0, []string{"an app password has to be kept encrypted", "--encryption-keys-file"}},
		"a template of tokens": {func(b *bench) {
			b.edit(func(g *v1alpha1.TokenGrant) {
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"header": "Bearer {{ .AccessToken }}"}}}
			})
		}, v1alpha1.ReasonInvalidSpec, 0, []string{`key "header": an app password has no .AccessToken: use .Username, .Password`}},
		"an app password as the account's password": {func(b *bench) {
			b.setLogin("alice", b.cloud.AddAppPassword("alice", "mine").Reveal())
		}, v1alpha1.ReasonNextcloudForbidden, 1, []string{"is itself an app password", "occ user:resetpassword"}},
		"an administrator": {
			func(b *bench) { b.cloud.AddToGroup("alice", "admin") }, v1alpha1.ReasonNextcloudForbidden, 1,
			[]string{`in the group "admin" and must not be`, "take the group out of expect.notInGroups"},
		},
		"another user": {
			func(b *bench) { b.edit(func(g *v1alpha1.TokenGrant) { g.Spec.Check.Nextcloud.Expect.User = "bob" }) }, v1alpha1.ReasonNextcloudWrongUser, 1,
			[]string{`the login of user "alice" is user "alice", expected "bob"`},
		},
		"plain http": {
			func(b *bench) {
				b.edit(func(g *v1alpha1.TokenGrant) {
					g.Spec.AppPassword.Nextcloud.URL, g.Spec.Check.Nextcloud.URL = "http://cloud.example.com", "http://cloud.example.com"
				})
			}, v1alpha1.ReasonInvalidSpec, 0,
			[]string{"use https"},
		},
		"a session of somebody else": {func(b *bench) {
			_ = b.Create(b.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: publish.SessionName("g")}})
		}, v1alpha1.ReasonSecretConflict, 0, []string{"belongs to somebody else"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			tc.do(b)
			b.run()
			made := b.atNextcloud()
			b.says(b.expect(metav1.ConditionFalse, tc.reason, tc.logins, made), tc.says...)
			b.pass(time.Minute)
			if b.logins() > tc.logins+2 || b.secret("g") != nil {
				t.Errorf("%d logins, published: %t", b.logins(), b.secret("g") != nil)
			}
		})
	}
}
