package controllers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func (b *bench) grant() *v1alpha1.TokenGrant {
	b.t.Helper()
	var g v1alpha1.TokenGrant
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &g); err != nil {
		b.t.Fatal(err)
	}
	return &g
}

// edit changes the spec or the annotations of the grant, as a user does.
func (b *bench) edit(change func(*v1alpha1.TokenGrant)) {
	b.t.Helper()
	g := b.grant()
	change(g)
	g.Generation++
	if err := b.Update(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
}

func request(value string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: value}
		g.Generation-- // An annotation is no change of the spec.
	}
}

func (b *bench) secret(name string) *corev1.Secret {
	b.t.Helper()
	var s corev1.Secret
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: "apps", Name: name}, &s); err != nil {
		return nil
	}
	return &s
}

func (b *bench) editSecret(name string, change func(*corev1.Secret)) {
	b.t.Helper()
	s := b.secret(name)
	change(s)
	if err := b.Update(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) setLogin(user, password string) {
	b.t.Helper()
	b.editSecret("login", func(s *corev1.Secret) {
		s.Data = map[string][]byte{"username": []byte(user), "password": []byte(password)}
	})
}

// password is the published one.
func (b *bench) password() string {
	b.t.Helper()
	s := b.secret("g")
	if s == nil {
		return ""
	}
	return string(s.Data["password"])
}

// asks is a request with a password, and the status of its answer.
func (b *bench) asks(password, method, path string) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+password)
	req.Header.Set("OCS-APIRequest", "true")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// works says whether Nextcloud takes a password as alice's.
func (b *bench) works(password string) bool {
	b.t.Helper()
	return b.asks(password, http.MethodGet, "/ocs/v2.php/cloud/user?format=json") == http.StatusOK
}

func (b *bench) logins() int { return b.cloud.Count(logInEndpoint) }

// atNextcloud is how many app passwords alice has.
func (b *bench) atNextcloud() int { return len(b.cloud.AppPasswordNames("alice")) }

// expect compares what counts of the status, the logins, and the app passwords at Nextcloud.
func (b *bench) expect(ready metav1.ConditionStatus, reason string, logins, atNextcloud int) string {
	b.t.Helper()
	c := meta.FindStatusCondition(b.grant().Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		b.t.Fatal("no condition Ready")
	}
	if c.Status != ready || c.Reason != reason {
		b.t.Errorf("Ready=%s %s: %s; want %s %s", c.Status, c.Reason, c.Message, ready, reason)
	}
	if b.logins() != logins || b.atNextcloud() != atNextcloud {
		b.t.Errorf("%d logins and %d app passwords %q; want %d and %d", b.logins(), b.atNextcloud(), b.cloud.AppPasswordNames("alice"), logins, atNextcloud)
	}
	return c.Message
}

func (b *bench) says(text string, parts ...string) {
	b.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			b.t.Errorf("%q\nlacks %q", text, p)
		}
	}
	b.t.Log(text)
}

// eventsSoFar drains what was announced.
func (b *bench) eventsSoFar() string {
	for {
		select {
		case e := <-b.events.Events:
			b.told = append(b.told, e)
		default:
			return strings.Join(b.told, "\n")
		}
	}
}

// leaksNothing looks for the password, and for every app password that is kept or published, where none may be.
func (b *bench) leaksNothing() {
	text := b.log.String() + b.eventsSoFar()
	var list v1alpha1.TokenGrantList
	if err := b.List(context.WithoutCancel(b.t.Context()), &list); err != nil {
		b.t.Fatal(err)
	}
	for i := range list.Items {
		text += fmt.Sprintf("%+v", list.Items[i])
	}
	var secrets corev1.SecretList
	if err := b.List(context.WithoutCancel(b.t.Context()), &secrets); err != nil {
		b.t.Fatal(err)
	}
	canaries := []string{accountPassword, "canary"}
	for _, s := range secrets.Items {
		if s.Name == "g" {
			canaries = append(canaries, string(s.Data["password"]))
			text += fmt.Sprintf("%+v", s.ObjectMeta)
		}
		if state, err := b.open(s); err == nil {
			for _, p := range state.AppPasswords {
				canaries = append(canaries, p.Password.Reveal())
			}
			text += string(s.Data[sessionKey])
		}
	}
	for _, c := range canaries {
		if c != "" && strings.Contains(text, c) {
			b.t.Errorf("%.12s… is shown in:\n%s", c, text)
		}
	}
}

func (b *bench) sensitive(text string) sensitive.String { return sensitive.New(text) }

// deleteAtNextcloud is what the user does in the settings.
func (b *bench) deleteAtNextcloud(password string) {
	b.t.Helper()
	b.asks(password, http.MethodDelete, "/ocs/v2.php/core/apppassword?format=json")
}

// answerHook acts at a later request.
func (b *bench) answerHook(nth int, act func()) {
	b.answer = func(*http.Request) bool {
		nth--
		if nth == 0 {
			act()
		}
		return true
	}
}

// news drains the events, and gives those since the last time.
func (b *bench) news() string {
	had := len(b.told)
	b.eventsSoFar()
	return strings.Join(b.told[had:], "\n")
}

// replaceByToken writes what a mint at an issuer would.
func (b *bench) replaceByToken() {
	b.t.Helper()
	now := metav1.NewTime(b.clock.Now())
	record := plan.Record{Token: v1alpha1.TokenStatus{IssuedAt: now, ExpiresAt: metav1.NewTime(now.Add(time.Hour))}}
	g := b.grant()
	desired, err := desiredSecret(g, map[string][]byte{"access_token": []byte("a.b.c")}, record)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Delete(b.t.Context(), b.secret("g")); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Create(b.t.Context(), publish.Build(nil, desired)); err != nil {
		b.t.Fatal(err)
	}
}
