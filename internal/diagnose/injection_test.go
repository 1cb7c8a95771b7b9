package diagnose_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command/commandtest"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

// tenantsIssuer answers discovery below any path, and refuses every client with an error.
func tenantsIssuer(t *testing.T, path, refusal string) string {
	t.Helper()
	var issuer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"jwks_uri":%q,"grant_types_supported":["client_credentials","urn:ietf:params:oauth:grant-type:token-exchange"]}`,
				issuer, issuer+"/token", issuer+"/keys")
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":%q}`, refusal)
	}))
	t.Cleanup(server.Close)
	issuer = server.URL + path
	return issuer
}

// TestPastedCuresRunNothingOfATenant: an administrator pastes what the doctor prints about objects of a tenant.
func TestPastedCuresRunNothingOfATenant(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, s *scene, run string){
		"a realm that ends a command and a client that names the option of the realm": func(t *testing.T, s *scene, run string) {
			t.Helper()
			s.issuer.Spec.URL = v1alpha1.HTTPURL(tenantsIssuer(t, "/realms/;"+strings.ReplaceAll(run, " ", "${IFS}")+";:", "invalid_client"))
			s.grant.Spec.ServiceAccount.ClientID = "a -r REALM b -r REALM c"
		},
		"the same with a wrong secret": func(t *testing.T, s *scene, run string) {
			t.Helper()
			s.issuer.Spec.URL = v1alpha1.HTTPURL(tenantsIssuer(t, "/realms/;"+strings.ReplaceAll(run, " ", "${IFS}")+";:", "unauthorized_client"))
			s.grant.Spec.ServiceAccount.ClientID = "a -r REALM b -r REALM c"
		},
		"a client ID": func(_ *testing.T, s *scene, run string) {
			s.grant.Spec.ServiceAccount.ClientID = "'$(" + run + ")`" + run + "`"
		},
		"the name of a Secret": func(_ *testing.T, s *scene, run string) {
			s.grant.Spec.ServiceAccount.ClientSecret.SecretRef.Name = "';" + run + ";'"
		},
		"a key of a Secret": func(_ *testing.T, s *scene, run string) {
			s.grant.Spec.ServiceAccount.ClientSecret.SecretRef.Key = `";` + run + `;"`
		},
		"a line break in the name of a ServiceAccount": func(_ *testing.T, s *scene, run string) {
			s.grant.Spec.ServiceAccount.ClientSecret = nil
			s.grant.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{ServiceAccountName: "app\n" + run + "\n"}
		},
		"the user that Nextcloud names": func(_ *testing.T, s *scene, run string) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				user, _ := json.Marshal("$(" + run + ")")
				fmt.Fprintf(w, `{"ocs":{"meta":{"statuscode":200},"data":{"id":%s,"enabled":false,"groups":[]}}}`, user)
			}))
			t.Cleanup(server.Close)
			s.grant.Spec.Check.Nextcloud.URL = v1alpha1.HTTPURL(server.URL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, terminal := newScene(t), commandtest.New(t)
			write(t, s, "touch "+commandtest.Mark)
			step, found := s.walk(t).First(diagnose.Broken)
			if !found || len(step.Cure) == 0 {
				t.Fatalf("nothing to paste: %+v", step)
			}
			for _, shell := range commandtest.Shells() {
				_, said := terminal.Paste(t, shell, step.Cure...)
				if terminal.Ran() {
					t.Fatalf("%s ran the tenant's command:\n%s\n%s", shell, strings.Join(step.Cure, "\n"), said)
				}
				// Where the message shows a command it is the only code in it.
				_, after, shown := strings.Cut(step.Message, ": occ ")
				terminal.Paste(t, shell, "occ "+after)
				if shown && terminal.Ran() {
					t.Fatalf("%s ran the tenant's command in the message:\n%s", shell, step.Message)
				}
			}
		})
	}
}

// TestARealmThatIsNoNameIsNotPrinted: REALM stands for it, and the commands say so.
func TestARealmThatIsNoNameIsNotPrinted(t *testing.T) {
	s := newScene(t)
	s.issuer.Spec.URL = v1alpha1.HTTPURL(tenantsIssuer(t, "/realms/..%2Fmaster", "invalid_client"))
	step, _ := s.walk(t).First(diagnose.Broken)
	script := strings.Join(step.Cure, "\n")
	if !strings.Contains(script, "# REALM is the name of the realm") || !strings.Contains(script, " -r REALM ") || strings.Contains(script, "master") {
		t.Errorf("got\n%s", script)
	}
}

// TestAnAudienceIsNoRule: the patch of a ClusterTokenIssuer allows what the message says and nothing more.
func TestAnAudienceIsNoRule(t *testing.T) {
	const audience = `x"],"requestedSubjects":["admin`
	s, terminal := newScene(t), commandtest.New(t)
	s.grant.Spec.IssuerRef.Kind, s.grant.Spec.ServiceAccount = diagnose.KindClusterTokenIssuer, nil
	s.grant.Spec.Exchange.Audiences = []v1alpha1.Audience{audience}
	s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 1, &v1alpha1.Attempt{Reason: v1alpha1.ReasonNotAllowed}
	step, _ := s.walk(t).First(diagnose.Broken)
	calls, said := terminal.Paste(t, "sh", step.Cure...)
	if len(calls) != 1 {
		t.Fatalf("%d calls, want 1: %q %s", len(calls), step.Cure, said)
	}
	var patch struct {
		Spec struct {
			Allow []map[string][]string `json:"allow"`
		} `json:"spec"`
	}
	if err := json.Unmarshal([]byte(calls[0][len(calls[0])-1]), &patch); err != nil {
		t.Fatalf("%v: %q", err, calls[0])
	}
	want := []map[string][]string{{"namespaces": {"apps"}, "audiences": {audience}}}
	if diff := cmp.Diff(want, patch.Spec.Allow); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestANameIsNoOption: kubectl annotate serviceaccount --all would let the operator ask for the tokens of all.
func TestANameIsNoOption(t *testing.T) {
	s, terminal := newScene(t), commandtest.New(t)
	s.grant.Spec.ServiceAccount.ClientSecret = nil
	s.grant.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{ServiceAccountName: "--all"}
	s.more = append(s.more, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "--all", Namespace: "apps"}})
	step, _ := s.walk(t).First(diagnose.Broken)
	calls, _ := terminal.Paste(t, "sh", step.Cure...)
	for _, call := range calls {
		if slices.Contains(call, "--all") {
			t.Errorf("an option of the tenant: %q", call)
		}
	}
}
