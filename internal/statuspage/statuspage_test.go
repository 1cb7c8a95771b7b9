package statuspage

import (
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/metrics"
)

var update = flag.Bool("update", false, "write testdata/page.html")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func grant(namespace, name string, change ...func(*v1alpha1.TokenGrant)) v1alpha1.TokenGrant {
	g := v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "keycloak"}
	for _, f := range change {
		f(&g)
	}
	return g
}

func ready(status metav1.ConditionStatus, reason, message string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: status, Reason: reason, Message: message}}
	}
}

// token is one that was minted, is to be replaced and expires at these distances from noon.
func token(user string, minted, refresh, expires time.Duration) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		at := metav1.NewTime(noon.Add(refresh))
		g.Status.SecretName, g.Status.RefreshAt = g.Name+"-token", &at
		g.Status.Token = &v1alpha1.TokenStatus{Username: user, IssuedAt: metav1.NewTime(noon.Add(minted)), ExpiresAt: metav1.NewTime(noon.Add(expires))}
	}
}

func failingWith(reason, message string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Status.ConsecutiveFailures = 3
		g.Status.LastAttempt = &v1alpha1.Attempt{Reason: reason, Message: message}
	}
}

func suspended(g *v1alpha1.TokenGrant) { g.Spec.Suspend, g.Status.RefreshAt = true, nil }

// zoo has a grant in every state.
func zoo() []v1alpha1.TokenGrant {
	published := func(name string) func(*v1alpha1.TokenGrant) {
		return ready("True", "Published", fmt.Sprintf("Secret %q holds a verified token.", name+"-token"))
	}
	return []v1alpha1.TokenGrant{
		grant("apps", "notes-sync", token("service-account-notes-sync", -80*time.Second, 105*time.Second, 220*time.Second), published("notes-sync")),
		grant("apps", "mcp-server", token("service-account-mcp-server", -20*time.Second, 170*time.Second, 280*time.Second), published("mcp-server")),
		grant("apps", "photo-index", token("service-account-photo-index", -250*time.Second, -70*time.Second, 50*time.Second),
			published("photo-index"), failingWith("IssuerUnreachable", "token_exchange: HTTP 503: the issuer, or a proxy before it, has a fault; look at its log")),
		grant("backup", "nightly", token("service-account-nightly", -310*time.Second, -100*time.Second, -10*time.Second),
			ready("False", "TokenExpired", "The token has expired and its refresh fails: ClientRejected: client_credentials: unauthorized_client (Invalid client or Invalid client credentials), HTTP 401: put the client's current secret into the Secret that clientSecret names"),
			failingWith("ClientRejected", "as in Ready")),
		grant("backup", "restore-drill", ready("False", "NextcloudForbidden", `Nextcloud knows the token as user "service-account-restore-drill", who is disabled: enable the user`)),
		grant("team-a", "calendar-feed", token("alice", -30*time.Hour, 0, 42*time.Hour), ready("True", "Suspended", "The token is valid and is not refreshed, because spec.suspend is true."), suspended),
		grant("team-a", "contacts", ready("False", "Pending", "No token has been minted yet.")),
	}
}

func served(t *testing.T, target string, grants []v1alpha1.TokenGrant) *httptest.ResponseRecorder {
	t.Helper()
	p := &Page{Clock: clocktesting.NewFakePassiveClock(noon), Source: metrics.Source{
		Works:  func() bool { return true },
		Grants: func() ([]v1alpha1.TokenGrant, error) { return grants, nil },
		Issuers: func() ([]metrics.IssuerState, error) {
			return []metrics.IssuerState{
				{Issuer: metrics.Issuer{Kind: "ClusterTokenIssuer", Name: "keycloak"}, Ready: "True", Breaker: "closed"},
				{Issuer: metrics.Issuer{Kind: "TokenIssuer", Namespace: "team-a", Name: "old-realm"}, Ready: "True", Breaker: "open"},
			}, nil
		},
	}}
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, httptest.NewRequest("GET", target, nil))
	return answer
}

func TestPageShowsEveryStateTheWorstFirst(t *testing.T) {
	got := served(t, Path, zoo()).Body.String()
	if *update {
		if err := os.WriteFile("testdata/page.html", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/page.html")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("page (-want +got), go test ./internal/statuspage -update writes it:\n%s", diff)
	}
	last := -1
	for _, name := range []string{"nightly", "restore-drill", "photo-index", "contacts", "calendar-feed", "notes-sync", "mcp-server"} {
		at := strings.Index(got, "<b>"+name+"</b>")
		if at < 0 {
			t.Errorf("%s is not there", name)
		}
		if name != "contacts" && at < last { // Those that wait have no order among them that matters.
			t.Errorf("%s stands too high", name)
		}
		last = max(last, at)
	}
}

func TestPageCannotBeScripted(t *testing.T) {
	answer := served(t, Path+"?namespace=%3Cscript%3E", []v1alpha1.TokenGrant{
		grant("<script>", "<script>alert(1)</script>", token(`"><script>`, -time.Second, 0, time.Second), ready("False", "TokenExpired", "</small><script>")),
	})
	if strings.Contains(answer.Body.String(), "<script") {
		t.Error("the page has a script")
	}
	if !strings.Contains(answer.Body.String(), "&lt;script&gt;alert(1)") {
		t.Error("the name of the grant is not there")
	}
	if policy := answer.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("Content-Security-Policy = %q", policy)
	}
	if got := answer.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
}

func TestPageOfOneNamespace(t *testing.T) {
	body := served(t, Path+"?namespace=backup", zoo()).Body.String()
	if !strings.Contains(body, "<b>nightly</b>") || strings.Contains(body, "<b>notes-sync</b>") || strings.Contains(body, "old-realm") {
		t.Error("the page has not what is in the namespace, or what is not")
	}
	if !strings.Contains(body, "<option selected>backup</option>") || !strings.Contains(body, "<option>apps</option>") {
		t.Error("the namespaces to choose from are not as they should be")
	}
	if body := served(t, Path+"?namespace=none", zoo()).Body.String(); !strings.Contains(body, "There are no TokenGrants in namespace none.") {
		t.Error("an empty namespace says nothing")
	}
}

func TestPageOfManyGrantsSaysThatItIsCut(t *testing.T) {
	var many []v1alpha1.TokenGrant
	for i := range most + 7 {
		many = append(many, grant("apps", fmt.Sprint("g", i)))
	}
	body := served(t, Path, many).Body.String()
	if rows := strings.Count(body, `<tr class="calm"><td>`) + strings.Count(body, "<tr class=\"calm\">\n"); rows != most {
		t.Errorf("rows = %d, want %d", rows, most)
	}
	if !strings.Contains(body, "7 more are not shown") {
		t.Error("the page does not say that it is cut")
	}
}

func TestPageIsReadOnlyAndHidesErrors(t *testing.T) {
	p := &Page{Clock: clocktesting.NewFakePassiveClock(noon), Source: metrics.Source{
		Grants: func() ([]v1alpha1.TokenGrant, error) { return nil, errors.New("https://10.0.0.1: no") },
	}}
	for method, want := range map[string]int{"POST": 405, "DELETE": 405, "GET": 500} {
		answer := httptest.NewRecorder()
		p.ServeHTTP(answer, httptest.NewRequest(method, Path, nil))
		if answer.Code != want || strings.Contains(answer.Body.String(), "10.0.0.1") {
			t.Errorf("%s answers %d %s, want %d", method, answer.Code, answer.Body, want)
		}
	}
}

func TestWordsOfADuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s",
		3*time.Hour + 4*time.Minute + 5*time.Second: "3 h 4 min", 47 * time.Hour: "47 h 0 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := words(d); got != want {
			t.Errorf("%s in words is %q, want %q", d, got, want)
		}
	}
}
