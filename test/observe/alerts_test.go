//go:build integration

package observe

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// TestWhatBreaksIsSeen breaks everything that an alert is for, with the real Prometheus watching, and mends it again. The
// dashboard's queries are then asked about the time in which that happened.
func TestWhatBreaksIsSeen(t *testing.T) {
	c := newCluster(t, "--status-page", "--profiling")
	p := newPrometheus(t, c)
	s := keycloaktest.NewServer(t, keycloaktest.Options{Lifespan: 16 * time.Second, Wrap: c.leaks.Serves})
	s.Client("notes", "notes-secret")
	n := nextcloudtest.New(nextcloudtest.Options{Issuer: s.URL})
	cloud := httptest.NewServer(c.leaks.Serves(n.Handler()))
	t.Cleanup(cloud.Close)

	c.create(issuer("kc", s.URL), credential("notes-client", "notes-secret"), grantOf("notes", "kc", cloud.URL))
	eventually(t, "a token is published", func() (bool, string) {
		return len(p.query(`tokengrant_grant_ready{name="notes"} == 1`)) == 1, p.firing()
	})
	p.awaitSilence()

	t.Run("a grant that never got a token", func(*testing.T) {
		c.create(grantOf("orphan", "kc", ""))
		p.awaitAlert("GrantNotReady", "name", "orphan")
		s.Client("orphan", "orphan-secret")
		c.create(credential("orphan-client", "orphan-secret"))
		p.awaitSilence()
	})
	t.Run("a Nextcloud that rejects", func(*testing.T) {
		n.SetCheckBearer(false)
		s.Client("rejected", "rejected-secret")
		c.create(credential("rejected-client", "rejected-secret"), grantOf("rejected", "kc", cloud.URL))
		p.awaitAlert("NextcloudRejecting", "name", "rejected")
		n.SetCheckBearer(true)
		c.refresh("rejected")
		c.refresh("notes") // Its refresh may have come while Nextcloud rejected.
		p.awaitSilence()
	})
	t.Run("an issuer that is down", func(*testing.T) {
		s.SetDown(true)
		for _, alert := range []string{"IssuerDown", "TokenExpiringUnrefreshed", "RefreshOverdue", "TokenExpired"} {
			label, name := "name", "notes"
			if alert == "IssuerDown" {
				label, name = "issuer_name", "kc"
			}
			p.awaitAlert(alert, label, name)
		}
		s.SetDown(false) // Nobody asks for a refresh: the operator finds out by itself.
		p.awaitSilence()
	})
	t.Run("an operator that is gone", func(t *testing.T) {
		if err := c.operator.Stop(); err != nil {
			t.Fatal(err)
		}
		p.awaitAlert("OperatorAbsent", "severity", "critical")
		if err := c.operator.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.awaitSilence()
	})
	t.Run("the status page", func(t *testing.T) { browses(t, c) })
	t.Run("a grant that is deleted leaves no series", func(t *testing.T) {
		if err := c.Delete(t.Context(), withNamespace(grantOf("rejected", "kc", ""))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its series end", func() (bool, string) {
			return len(p.query(`{name="rejected"}`)) == 0, "they go on"
		})
	})
	t.Run("every query of the dashboard has an answer", func(t *testing.T) { answersAll(t, p) })
	t.Run("metrics have the form that Prometheus recommends", func(t *testing.T) { lints(t, c) })
	t.Run("no secret is told", func(t *testing.T) { tellsNoSecret(t, c) })
	t.Run("no permission is left over", func(t *testing.T) { needsItsRoles(t, c) })
}

func answersAll(t *testing.T, p *prometheus) {
	chosen := strings.NewReplacer("$namespace", ".*", "$__rate_interval", "15s")
	for _, panel := range readDashboard(t).Panels {
		for _, q := range panel.Targets {
			// Some tell of refreshes that nobody asked for: on a fast machine the first of them is still to come.
			eventually(t, fmt.Sprintf("panel %q, query %s", panel.Title, q.RefID), func() (bool, string) {
				found, err := p.history(chosen.Replace(q.Expr))
				return err == nil && len(found) > 0, fmt.Sprintf("%d series, %v\n%s", len(found), err, q.Expr)
			})
		}
	}
}

func lints(t *testing.T, c *cluster) {
	status, page := c.read("/metrics", c.prometheus)
	if status != 200 {
		t.Fatalf("/metrics answers %d", status)
	}
	if status, _ := c.read("/metrics", ""); status != 401 {
		t.Errorf("/metrics answers %d to a stranger, want 401", status)
	}
	var ours bytes.Buffer
	for line := range strings.Lines(page) {
		if strings.Contains(line, "tokengrant_") {
			ours.WriteString(line)
		}
	}
	cmd := exec.Command(program(t, "promtool", "prometheus"), "check", "metrics")
	cmd.Stdin = &ours
	if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}
}
