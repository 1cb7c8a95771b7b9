package main

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
)

const fakePassword = "canary-app-password"

// appPasswordGrant is readyGrant without an issuer.
func appPasswordGrant() *v1alpha1.TokenGrant {
	g := readyGrant()
	rotation := at(27 * 24 * time.Hour)
	g.Spec = v1alpha1.TokenGrantSpec{
		AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: "https://cloud.example.com"}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}},
		Delivery:    &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "notes-sync-token"}},
		Check:       &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://cloud.example.com"}},
	}
	g.Status.Token = &v1alpha1.TokenStatus{Username: "mcp-sync", IssuedAt: at(-72 * time.Hour)}
	g.Status.RefreshAt = &rotation
	g.Status.Check.User = "mcp-sync"
	return g
}

func TestStatusOfAppPasswords(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TokenGrant)
		code   int
		args   []string
	}{
		"apppassword-status":      {},
		"apppassword-status-json": {args: []string{"-o", "json"}},
		"apppassword-status-refused": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonCredentialRejected, `Nextcloud refuses user "mcp-sync" and this password`)
			without(g, v1alpha1.ReasonCredentialRejected, `Nextcloud refuses user "mcp-sync" and this password`)
		}},
		"apppassword-status-admin": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonNextcloudForbidden, `user "mcp-sync" is in the group "admin" and must not be`)
			without(g, v1alpha1.ReasonNextcloudForbidden, `user "mcp-sync" is in the group "admin" and must not be`)
		}},
		"apppassword-status-down": {change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonNextcloudUnreachable, "the connection is refused")
		}},
		"apppassword-status-new": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) { g.Status = v1alpha1.TokenGrantStatus{} }},
		"apppassword-status-suspended": {change: func(g *v1alpha1.TokenGrant) {
			g.Spec.Suspend, g.Status.RefreshAt = true, nil
			g.Status.Conditions[0].Reason = v1alpha1.ReasonSuspended
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := appPasswordGrant()
			if test.change != nil {
				test.change(g)
			}
			newBench(t, interceptor.Funcs{}, append(clusterObjects(), g)...).golden(t, name, test.code, append([]string{"status", "notes-sync", "-n", "apps"}, test.args...)...)
		})
	}
	newBench(t, interceptor.Funcs{}, append(clusterObjects(), appPasswordGrant())...).golden(t, "apppassword-table", exitGood, "status", "-n", "apps")
}

// publishedAppPassword is the Secret that the operator makes.
func publishedAppPassword(t *testing.T, g *v1alpha1.TokenGrant) *corev1.Secret {
	t.Helper()
	record, err := plan.Record{Token: *g.Status.Token, Inputs: "i", Name: "tokengrant apps/notes-sync 2026-11-23T12:00:00Z"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return publish.Build(nil, publish.Desired{
		Name: g.Status.SecretName, Namespace: g.Namespace, Grant: g.Name, Record: record, Type: corev1.SecretTypeBasicAuth,
		Data:  map[string][]byte{"username": []byte("mcp-sync"), "password": []byte(fakePassword)},
		Owner: *metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("TokenGrant")),
	})
}

func TestInspectOfAppPasswords(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Secret)
		code   int
		args   []string
	}{
		"apppassword-inspect":        {},
		"apppassword-inspect-json":   {args: []string{"-o", "json"}},
		"apppassword-inspect-edited": {code: exitBroken, change: func(s *corev1.Secret) { s.Data["password"] = []byte(fakePassword + "x") }},
	} {
		t.Run(name, func(t *testing.T) {
			g := appPasswordGrant()
			s := publishedAppPassword(t, g)
			if test.change != nil {
				test.change(s)
			}
			b := newBench(t, interceptor.Funcs{}, g, s)
			b.golden(t, name, test.code, append([]string{"inspect", "notes-sync", "-n", "apps"}, test.args...)...)
			if strings.Contains(b.out.String()+b.errOut.String(), fakePassword) {
				t.Error("the app password is shown")
			}
		})
	}
}

func TestRenderOfAppPasswords(t *testing.T) {
	const head = "apiVersion: tokengrant.dev/v1alpha1\nkind: TokenGrant\nmetadata: {name: app, namespace: apps}\nspec:\n" +
		"  appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}\n  check: {nextcloud: {url: https://cloud.example.com}}\n"
	for name, test := range map[string]struct {
		input string
		code  int
	}{
		"apppassword-render":           {input: head},
		"apppassword-render-templates": {input: head + "  delivery: {secret: {data: {netrc: 'machine cloud.example.com login {{ .Username }} password {{ .Password }}'}}}\n"},
		"apppassword-render-token":     {code: exitBroken, input: head + "  delivery: {secret: {data: {header: 'Bearer {{ .AccessToken }}'}}}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, interceptor.Funcs{})
			b.In = strings.NewReader(test.input)
			b.golden(t, name, test.code, "render", "-f", "-")
		})
	}
}

func TestRenewOfAppPasswords(t *testing.T) {
	g := appPasswordGrant()
	b := newBench(t, interceptor.Funcs{}, g)
	b.golden(t, "apppassword-renew-asked", exitGood, "renew", "notes-sync", "-n", "apps", "--wait", "0s")
	var r renewal
	r.before = g.Status
	answered := g.DeepCopy()
	answered.Status.Token.IssuedAt = at(0)
	if !r.answered(answered, now) || !strings.Contains(r.Message, "app password") || strings.Contains(r.Message, "expires") {
		t.Errorf("%+v", r)
	}
}

func TestLoginIsNotForAppPasswords(t *testing.T) {
	b := newBench(t, interceptor.Funcs{}, client.Object(appPasswordGrant()))
	b.golden(t, "apppassword-login", exitBroken, "login", "notes-sync", "-n", "apps", "--secret", "x")
}
