//go:build integration

package tenant

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// must ends an attempt that cannot be made.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// apply makes objects as the tenant.
func (w *world) apply(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		w.must(w.tenant.Create(w.t.Context(), o))
	}
}

// issuer makes a TokenIssuer of the tenant, and waits until the operator has looked at it.
func (w *world) issuer(name, url string) *v1alpha1.TokenIssuer {
	w.t.Helper()
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: name}}
	i.Spec.URL = v1alpha1.HTTPURL(url)
	i.Spec.Limits = v1alpha1.Limits{RequestsPerSecond: 10000, Burst: 10000, Concurrency: 1024}
	w.apply(i)
	return i
}

// condition waits until Ready says something final about a grant as it is now.
func (w *world) condition(g *v1alpha1.TokenGrant) metav1.Condition {
	w.t.Helper()
	var seen *metav1.Condition
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w.must(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(g), g))
		seen = meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		if seen != nil && seen.ObservedGeneration == g.Generation && seen.Reason != v1alpha1.ReasonPending {
			return *seen
		}
	}
	w.t.Fatalf("grant %s: nothing final within %s: %+v", g.Name, patience, seen)
	return metav1.Condition{}
}

// withheld makes a grant of the tenant and says what became of it. Harm is a token, a request to the tenant's server, or
// another sentence than the one that helps.
func (w *world) withheld(g *v1alpha1.TokenGrant, reason, says string) (got, harm string) {
	w.t.Helper()
	before := len(w.evil.Requests()) + len(w.good.Requests())
	w.apply(g)
	var c metav1.Condition
	said := func() bool { return c.Reason == reason && strings.Contains(c.Message, says) }
	// The operator's cache may not have what the grant refers to yet.
	for end := time.Now().Add(patience / 2); time.Now().Before(end) && !said() && c.Status != metav1.ConditionTrue; time.Sleep(50 * time.Millisecond) {
		c = w.condition(g)
	}
	got = c.Reason + ": " + c.Message
	switch {
	case c.Status == metav1.ConditionTrue:
		return got, "a token was published"
	case !said():
		return got, fmt.Sprintf("not %s with %q", reason, says)
	case len(w.evil.Requests())+len(w.good.Requests()) > before:
		return got, "a request was sent"
	}
	return got, ""
}

// refused tries something at the API server that it must forbid or find invalid.
func refused(err error) (got, harm string) {
	switch {
	case err == nil:
		return "what was asked for", "the API server took it"
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return string(apierrors.ReasonForError(err)) + ": " + err.Error(), ""
	}
	return err.Error(), "failed for another reason"
}

// victim makes a grant of the victim and says how long it took to become Ready.
func (w *world) victim(name string, change ...func(*v1alpha1.TokenGrant)) time.Duration {
	w.t.Helper()
	began := time.Now()
	g := grantOf(apps, name, "kc", change...)
	w.must(w.admin.Create(w.t.Context(), g))
	for {
		c := w.condition(g)
		if c.Status == metav1.ConditionTrue {
			return time.Since(began).Round(10 * time.Millisecond)
		}
		if time.Since(began) > patience {
			w.t.Fatalf("the victim's grant: %s: %s", c.Reason, c.Message)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// unharmed makes some of the victim's grants, and says how long the slowest took; harm is more than a moment.
func (w *world) unharmed(change ...func(*v1alpha1.TokenGrant)) (got, harm string) {
	w.t.Helper()
	const moment = 5 * time.Second
	var slowest time.Duration
	for n := range 3 {
		slowest = max(slowest, w.victim(fmt.Sprintf("victim-%d-%d", time.Now().UnixNano(), n), change...))
	}
	got = fmt.Sprintf("meanwhile the slowest of 3 new grants of another namespace is Ready after %s", slowest)
	if slowest > moment {
		return got, fmt.Sprintf("others wait longer than %s", moment)
	}
	return got, ""
}

// awaitRequest waits for a request to the token endpoint of a server, or gives up: that it never comes can only be seen by
// waiting.
func (w *world) awaitRequest(s *keycloaktest.Server, before int, within time.Duration) (keycloaktest.Request, bool) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if all := s.Requests(); len(all) > before {
			return all[before], true
		}
	}
	return keycloaktest.Request{}, false
}

// cleanUp deletes what an attempt made, and lets the servers answer by themselves again.
func (w *world) cleanUp() {
	ctx := context.Background()
	w.evil.Script()
	w.evil.ScriptDiscovery()
	w.evil.ScriptKeys()
	_ = w.admin.DeleteAllOf(ctx, &v1alpha1.TokenGrant{}, client.InNamespace(own))
	_ = w.admin.DeleteAllOf(ctx, &v1alpha1.TokenIssuer{}, client.InNamespace(own))
	var left v1alpha1.TokenGrantList
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := w.admin.List(ctx, &left, client.InNamespace(own)); err == nil && len(left.Items) == 0 {
			return
		}
	}
	w.t.Errorf("%d grants of the tenant are still being deleted", len(left.Items))
}

// anyCertificate takes the one that the operator made for itself.
var anyCertificate = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// endpoint reads a page of the operator's.
func (w *world) endpoint(path, token string) (status int, body []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, strings.TrimSuffix(w.operator.MetricsURL, "/metrics")+path, http.NoBody)
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := anyCertificate.Do(req)
	w.must(err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, body
}

// metric reads one figure of the operator's process.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	status, body := w.endpoint("/metrics", w.scraperToken)
	for line := range bytes.Lines(body) {
		if key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " "); key == name {
			n, err := strconv.ParseFloat(value, 64)
			w.must(err)
			return n
		}
	}
	w.t.Fatalf("/metrics (%d) has no %s", status, name)
	return 0
}

// administrator runs the plugin as somebody who looks after the cluster, and gives what the terminal would show.
func (w *world) administrator(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.plugin, append(args, "--kubeconfig="+w.plane.Kubeconfig)...)
	output, _ := cmd.CombinedOutput() // It ends with 1 where something is broken.
	return string(output)
}

// cell fits a text into a cell of a table.
func cell(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	text = strings.ReplaceAll(text, "|", `\|`)
	const most = 220
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
