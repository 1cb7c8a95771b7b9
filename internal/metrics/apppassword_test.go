package metrics

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestAppPasswordsHaveNoExpiry: a series at the beginning of time would say that they have expired.
func TestAppPasswordsHaveNoExpiry(t *testing.T) {
	w := newWorld()
	w.works = true
	g := grant("mcp-sync", func(g *v1alpha1.TokenGrant) {
		at := metav1.NewTime(noon.Add(1))
		g.Spec = v1alpha1.TokenGrantSpec{AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: "https://cloud.example.com/nc"}}}
		g.Status.Token, g.Status.RefreshAt = &v1alpha1.TokenStatus{IssuedAt: metav1.NewTime(noon)}, &at
	})
	w.grants = []v1alpha1.TokenGrant{g}
	w.Published(IssuerOf(&g), "Due", &Refresh{Due: noon, Published: noon})
	for range 2 { // The second scrape shows that the series of a Nextcloud are kept.
		text := strings.Join(w.scrape(t), "\n")
		for part, want := range map[string]bool{
			"tokengrant_grant_token_expiry_timestamp_seconds{":                                                                               false,
			"tokengrant_refresh_remaining_seconds_count{":                                                                                    false,
			`tokengrant_grant_refresh_due_timestamp_seconds{name="mcp-sync"`:                                                                 true,
			`tokengrant_tokens_published_total{cause="Due",issuer_kind="Nextcloud",issuer_name="cloud.example.com",issuer_namespace="apps"}`: true,
		} {
			if strings.Contains(text, part) != want {
				t.Errorf("%s there: %t, want %t", part, !want, want)
			}
		}
	}
}
