package diagnose_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// impersonating is a scene whose grant acts as alice.
func impersonating(t *testing.T, legacy bool, c keycloaktest.Client) *scene {
	t.Helper()
	s := newScene(t)
	s.keycloak = keycloaktest.NewServer(t, keycloaktest.Options{LegacyExchange: legacy})
	c.ID, c.Secret, c.Audience = "notes-sync", clientSecret, []string{"nextcloud"}
	s.keycloak.SetClient(c)
	s.issuer.Spec.URL, s.cluster.Spec.URL = v1alpha1.HTTPURL(s.keycloak.URL), v1alpha1.HTTPURL(s.keycloak.URL)
	s.grant.Spec.Exchange.RequestedSubject = "alice"
	s.grant.Spec.Check = nil
	return s
}

func TestImpersonationIsTriedAndEnded(t *testing.T) {
	s := impersonating(t, true, keycloaktest.Client{Impersonates: true})
	report := s.walk(t)
	i := slices.IndexFunc(report.Steps, func(s diagnose.Step) bool { return s.Name == "mint" })
	if mint := report.Steps[i]; !report.Healthy || !strings.Contains(mint.Message, `user "alice"`) || !strings.Contains(mint.Message, "has been ended") {
		t.Errorf("healthy %t, mint: %s %s", report.Healthy, mint.Result, mint.Message)
	}
	if n := s.keycloak.Sessions("alice"); n != 0 {
		t.Errorf("the walk left %d sessions", n)
	}
}

func TestImpersonationThatIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		legacy bool
		reason v1alpha1.Reason
		cure   string
	}{
		"the feature is off":     {false, v1alpha1.ReasonImpersonationUnsupported, "kc.sh start --features=token-exchange:v1"},
		"the role is not there":  {true, v1alpha1.ReasonImpersonationForbidden, "kcadm.sh add-roles -r tokengrant --uusername service-account-notes-sync --cclientid realm-management --rolename impersonation"},
		"or the user is unknown": {true, v1alpha1.ReasonImpersonationForbidden, "kcadm.sh get users -r tokengrant -q exact=true -q username=alice"},
	} {
		t.Run(name, func(t *testing.T) {
			step, is := impersonating(t, tt.legacy, keycloaktest.Client{}).walk(t).First(diagnose.Broken)
			if !is || step.Name != "mint" || step.Reason != tt.reason || !strings.Contains(strings.Join(step.Cure, "\n"), tt.cure) {
				t.Errorf("%s: %s: %s\n%s", step.Name, step.Reason, step.Message, strings.Join(step.Cure, "\n"))
			}
		})
	}
}

func TestImpersonationThatTheIssuerDoesNotAllow(t *testing.T) {
	s := impersonating(t, true, keycloaktest.Client{Impersonates: true})
	s.grant.Spec.IssuerRef.Kind = diagnose.KindClusterTokenIssuer
	s.grant.Status.ConsecutiveFailures = 1
	s.grant.Status.LastAttempt = &v1alpha1.Attempt{Time: metav1.Now(), Reason: v1alpha1.ReasonNotAllowed, Message: "not allowed"}
	step, _ := s.walk(t).First(diagnose.Broken)
	if want := `"requestedSubjects":["alice"]`; step.Name != "issuer" || !strings.Contains(strings.Join(step.Cure, ""), want) {
		t.Errorf("%s: %v lacks %s", step.Name, step.Cure, want)
	}
	if n := s.keycloak.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions of a user that is not allowed", n)
	}
}
