package controllers

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/offline"
)

func TestAppPasswordIsKeptBeforeItIsPublished(t *testing.T) {
	b := newBench(t)
	var order []string
	b.write = func(_ string, o client.Object) error {
		if s, ok := o.(*corev1.Secret); ok {
			state, err := b.open(*s)
			switch {
			case s.Name == "g":
				order = append(order, "published")
			case err != nil:
				order = append(order, err.Error())
			case len(state.AppPasswords) == 0:
				order = append(order, "intent")
			case !state.AppPasswords[0].Published:
				order = append(order, "kept")
			default:
				order = append(order, "noted")
			}
		}
		return nil
	}
	wait := b.run()
	b.says(b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1), `Secret "g" holds an app password of user "alice"`)
	if got := len(order); got != 4 || order[0] != "intent" || order[1] != "kept" || order[2] != "published" || order[3] != "noted" {
		t.Errorf("writes: %q", order)
	}
	if wait == 0 || wait > 24*time.Hour {
		t.Errorf("waits %s, want the interval of checks at most", wait)
	}
	s, g := b.secret("g"), b.grant()
	if s.Type != corev1.SecretTypeBasicAuth || string(s.Data["username"]) != "alice" || !b.works(b.password()) || len(s.Data) != 2 {
		t.Errorf("published %s with the keys %v", s.Type, s.Data)
	}
	if tok := g.Status.Token; tok.Username != "alice" || !tok.ExpiresAt.IsZero() || tok.IssuedAt.IsZero() {
		t.Errorf("status.token = %+v", tok)
	}
	if at := g.Status.RefreshAt; at.After(noon.Add(720*time.Hour)) || at.Time.Before(noon.Add(648*time.Hour)) {
		t.Errorf("refreshAt = %s", at)
	}
	if g.Status.Check.User != "alice" || len(g.Finalizers) != 1 {
		t.Errorf("status.check = %+v, finalizers %v", g.Status.Check, g.Finalizers)
	}
	if names := b.cloud.AppPasswordNames("alice"); names[0] != "tokengrant apps/g 2026-11-23T12:00:00Z" {
		t.Errorf("it is called %q", names[0])
	}
	b.restart()
	b.pass(2 * time.Hour)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
}

func TestAppPasswordIsRotatedWithAnOverlap(t *testing.T) {
	for name, restart := range map[string]bool{"by one process": false, "by several": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			old := b.password()
			b.pass(b.grant().Status.RefreshAt.Sub(b.clock.Now()) - time.Minute)
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 1, 1)
			b.pass(2 * time.Minute)
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 2)
			now := b.password()
			if now == old || !b.works(now) || !b.works(old) {
				t.Error("during the overlap both must work, and the new one be published")
			}
			if restart {
				b.restart()
			}
			b.pass(v1alpha1.DefaultOverlap - 2*time.Minute)
			if !b.works(old) {
				t.Error("the old one has ended before its overlap")
			}
			if restart {
				b.restart()
			}
			b.pass(3 * time.Minute)
			b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
			if b.works(old) || !b.works(now) || b.password() != now {
				t.Error("after the overlap only the new one must work")
			}
		})
	}
}

func TestAppPasswordIsRotatedOnRequest(t *testing.T) {
	b := newBench(t)
	b.run()
	b.edit(request("1"))
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 2)
	b.edit(request("2"))
	b.run()
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 3, 3)
	b.pass(v1alpha1.DefaultOverlap + time.Minute)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 3, 1)
}

func TestAppPasswordIsEndedOnlyWhenItsSuccessorWorks(t *testing.T) {
	b := newBench(t)
	b.run()
	old := b.password()
	b.write = func(_ string, o client.Object) error {
		if s, ok := o.(*corev1.Secret); ok && s.Name != "g" {
			if state, err := b.open(*s); err == nil && len(state.AppPasswords) == 2 {
				b.cloud.SetMaintenance(true) // Right after the login, before the check.
			}
		}
		return nil
	}
	b.edit(request("1"))
	b.run()
	b.pass(time.Hour)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 2)
	b.write = nil
	b.cloud.SetMaintenance(false)
	b.pass(10 * time.Minute)
	b.expect(metav1.ConditionTrue, v1alpha1.ReasonPublished, 2, 1)
	if b.works(old) || !b.works(b.password()) {
		t.Error("the wrong one was ended")
	}
}

// TestAppPasswordsSealedByAnOlderOperator are sealed anew at once where they name their grant, and refused where they name
// none. No other one is made in either case.
func TestAppPasswordsSealedByAnOlderOperator(t *testing.T) {
	for name, tc := range map[string]struct {
		grant  string
		status metav1.ConditionStatus
		says   string
	}{
		"named": {"apps/g", metav1.ConditionTrue, "holds an app password"},
		"none":  {"", metav1.ConditionTrue, "an older operator sealed it for none"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			state, err := b.open(*b.secret(publish.SessionName("g")))
			if err != nil {
				t.Fatal(err)
			}
			p := state.AppPasswords[0]
			plain, err := json.Marshal(map[string]any{"grant": tc.grant, "source": "", "appPasswords": []any{map[string]any{
				"url": p.URL, "user": p.User, "name": p.Name, "password": p.Password.Reveal(), "madeAt": p.MadeAt, "content": p.Content,
				"inputs": p.Inputs, "credential": p.Credential, "published": p.Published, "worked": p.Worked,
			}}})
			if err != nil {
				t.Fatal(err)
			}
			old, err := fernet.EncryptAndSign(plain, fernet.MustDecodeKeys(benchKey)[0])
			if err != nil {
				t.Fatal(err)
			}
			b.editSecret(publish.SessionName("g"), func(s *corev1.Secret) { s.Data[sessionKey] = old })
			b.restart()
			b.run()
			b.says(b.expect(tc.status, v1alpha1.ReasonPublished, 1, 1)+b.grant().Status.LastAttempt.Message, tc.says)
			again, err := b.open(*b.secret(publish.SessionName("g")))
			if sealed := !offline.Outdated(b.secret(publish.SessionName("g")).Data[sessionKey]); sealed != (tc.grant != "") {
				t.Errorf("sealed anew: %v", sealed)
			}
			if tc.grant != "" && (err != nil || len(again.AppPasswords) != 1 || !again.AppPasswords[0].Equal(p)) {
				t.Errorf("kept %v, error %v", again, err)
			}
		})
	}
}
