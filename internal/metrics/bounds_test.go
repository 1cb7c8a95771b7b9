package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// appPasswordAt is a grant of an app password at a host that a tenant has written.
func appPasswordAt(name, host string) v1alpha1.TokenGrant {
	return grant(name, func(g *v1alpha1.TokenGrant) {
		g.Spec = v1alpha1.TokenGrantSpec{AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL("https://" + host)}}}
	})
}

// TestAHostThatIsNoTextFailsNoScrape: the CRD refuses it, and objects that are older than its rule are scraped as well.
func TestAHostThatIsNoTextFailsNoScrape(t *testing.T) {
	w := newWorld()
	w.works = true
	g := appPasswordAt("g", "%ff%fe.example.com/")
	w.grants = []v1alpha1.TokenGrant{g}
	w.Published(IssuerOf(&g), "Missing", nil)
	if text := strings.Join(w.scrape(t), "\n"); !strings.Contains(text, `issuer_name="�.example.com"`) {
		t.Error(text)
	}
}

// TestANamespaceHasFiftyNames, whatever it makes: of grants, of issuers, and of hosts that it names.
func TestANamespaceHasFiftyNames(t *testing.T) {
	w := newWorld()
	w.works = true
	for n := range 3 * maxNames {
		g := appPasswordAt(fmt.Sprintf("g-%03d", n), fmt.Sprintf("host-%03d.example.com", n))
		g.Status.ConsecutiveFailures, g.Status.LastAttempt = int32(n), &v1alpha1.Attempt{Reason: "Throttled"}
		expires := metav1.NewTime(noon.Add(-time.Duration(n) * time.Second))
		g.Status.Token = &v1alpha1.TokenStatus{ExpiresAt: expires}
		w.grants = append(w.grants, g)
		w.Published(IssuerOf(&g), "Missing", nil)
		w.issuers = append(w.issuers, IssuerState{Issuer: Issuer{"TokenIssuer", "apps", fmt.Sprintf("i-%03d", n)}, Ready: metav1.ConditionTrue})
	}
	w.issuers[3*maxNames-1].Ready = metav1.ConditionFalse
	lines := w.scrape(t)
	for prefix, want := range map[string]int{
		"tokengrant_grant_ready{": maxNames + 1, "tokengrant_grant_info{": maxNames, "tokengrant_issuer_ready{": maxNames + 1, "tokengrant_tokens_published_total{": maxNames + 1,
	} {
		n := 0
		for _, line := range lines {
			if strings.HasPrefix(line, prefix) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d series %s…, want %d", n, prefix, want)
		}
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		`tokengrant_grant_failures{name="other",namespace="apps",reason="Throttled"} 149`,
		fmt.Sprintf(`tokengrant_grant_token_expiry_timestamp_seconds{name="other",namespace="apps"} %v`, float64(noon.Add(-149*time.Second).Unix())),
		`tokengrant_issuer_ready{issuer_kind="TokenIssuer",issuer_name="other",issuer_namespace="apps"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	w.grants, w.issuers = nil, nil
	w.scrape(t)
	if len(w.seen)+len(w.of) != 0 {
		t.Errorf("%d issuers are remembered, and %d numbers of them, when all are gone", len(w.seen), len(w.of))
	}
}

// FuzzScrape: whatever a tenant writes, Prometheus can read the page.
func FuzzScrape(f *testing.F) {
	f.Add("notes", "cloud.example.com", "Published", "kc")
	f.Add("other", "%ff", "\xff\"\n", "other")
	f.Add("a\nb", "[::1%25\xff]:1", strings.Repeat("x", 300), "i\x00")
	f.Fuzz(func(t *testing.T, name, host, reason, issuer string) {
		w := newWorld()
		w.works = true
		a, b := appPasswordAt("g", host), grant(label(name), condition("Ready", "False", reason), failing(1, reason))
		b.Spec.IssuerRef.Name = issuer
		w.grants = []v1alpha1.TokenGrant{a, b}
		if a.Name == b.Name { // The API server has one of a name.
			w.grants = w.grants[:1]
		}
		for i := range w.grants {
			w.Published(IssuerOf(&w.grants[i]), "Missing", nil)
		}
		w.issuers = []IssuerState{{Issuer: Issuer{"TokenIssuer", "apps", label(issuer)}, Ready: metav1.ConditionTrue}}
		w.scrape(t)
	})
}
