package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

// doctor examines a grant as "kubectl tokengrant doctor" does.
func (w *world) doctor(g *v1alpha1.TokenGrant) *diagnose.Report {
	w.t.Helper()
	d := diagnose.Doctor{Client: cluster.admin, OperatorNamespace: w.operatorNamespace, UserAgent: "integration", Now: time.Now}
	report, err := d.Grant(w.t.Context(), g.Namespace, g.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range report.Steps {
		if s.Result != diagnose.Skipped {
			w.t.Logf("doctor: %-7s %s", s.Result, s)
		}
	}
	return report
}

// healthy wants the doctor to find nothing.
func (w *world) healthy(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	if r := w.doctor(g); !r.Healthy {
		w.t.Errorf("not healthy: %s", r.FirstBroken)
	}
}

// broken wants the doctor to stop at a step, with a command that names what mends it.
func (w *world) broken(g *v1alpha1.TokenGrant, step, reason, cure string) {
	w.t.Helper()
	s, found := w.doctor(g).First(diagnose.Broken)
	if !found || s.Name != step || s.Reason != reason || !strings.Contains(strings.Join(s.Cure, "\n"), cure) {
		w.t.Errorf("got %s %s, want %s %s; cure %q", s.Name, s.Reason, step, reason, s.Cure)
	}
}

// TestKeycloakDoctor has a client of the real Keycloak for each broken step.
func TestKeycloakDoctor(t *testing.T) {
	for name, tt := range map[string]struct{ client, step, reason, cure string }{
		"exchange not enabled": {"no-exchange", "exchange", v1alpha1.ReasonExchangeNotEnabled, "standard.token.exchange.enabled"},
		"audience not mapped":  {"no-mapper", "audience", v1alpha1.ReasonAudienceNotAvailable, "oidc-audience-mapper"},
		"no such client":       {"stranger", "authenticate", v1alpha1.ReasonClientRejected, "kcadm.sh create clients"},
		"disabled client":      {"disabled-client", "authenticate", v1alpha1.ReasonClientRejected, "enabled=true"},
		"no service account":   {"no-service-account", "mint", v1alpha1.ReasonServiceAccountDisabled, "serviceAccountsEnabled=true"},
		"a client with a key":  {"signed-jwt", "authenticate", v1alpha1.ReasonClientRejected, "kcadm.sh get clients"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := realWorld(t)
			w.broken(w.client(tt.client), tt.step, tt.reason, tt.cure)
		})
	}
}
