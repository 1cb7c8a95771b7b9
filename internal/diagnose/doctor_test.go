package diagnose_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/cluster"
	"github.com/tokengrant/tokengrant/internal/diagnose"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const clientSecret = "s3cret-of-notes-sync"

// scene is a working installation that a test breaks.
type scene struct {
	keycloak  *keycloaktest.Server
	nextcloud *nextcloudtest.Server
	issuer    *v1alpha1.TokenIssuer
	cluster   *v1alpha1.ClusterTokenIssuer
	grant     *v1alpha1.TokenGrant
	secret    *corev1.Secret
	more      []client.Object
	forbidden string // kind that may not be read
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{keycloak: keycloaktest.NewServer(t)}
	s.keycloak.Client("notes-sync", clientSecret)
	s.nextcloud = nextcloudtest.New(nextcloudtest.Options{Issuer: s.keycloak.URL})
	server := httptest.NewServer(s.nextcloud.Handler())
	t.Cleanup(server.Close)
	ready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Published", Message: `Secret "notes-sync-token" holds a verified token.`}}
	account := &v1alpha1.ServiceAccount{ClientID: "notes-sync", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "notes-client", Key: "client-secret"}}}
	spec := v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(s.keycloak.URL), ServiceAccount: account}
	discovered := metav1.Now()
	status := v1alpha1.IssuerStatus{LastDiscovery: &discovered, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Message: "discovered"}}}
	s.issuer = &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "keycloak", Namespace: "apps"}, Spec: spec, Status: status}
	s.cluster = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "keycloak"}, Spec: v1alpha1.ClusterTokenIssuerSpec{TokenIssuerSpec: spec}, Status: status}
	s.grant = &v1alpha1.TokenGrant{
		ObjectMeta: metav1.ObjectMeta{Name: "notes-sync", Namespace: "apps"},
		Spec: v1alpha1.TokenGrantSpec{
			IssuerRef: v1alpha1.IssuerRef{Name: "keycloak"}, ServiceAccount: account.DeepCopy(),
			Exchange: &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
			Delivery: &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "notes-sync-token"}},
			Check:    &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(server.URL)}},
		},
		Status: v1alpha1.TokenGrantStatus{Conditions: ready},
	}
	s.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-client", Namespace: "apps"}, Data: map[string][]byte{"client-secret": []byte(clientSecret)}}
	return s
}

func (s *scene) doctor(t *testing.T) diagnose.Doctor {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var objects []client.Object
	if s.issuer != nil {
		objects = append(objects, s.issuer)
	}
	if s.secret != nil {
		objects = append(objects, s.secret)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, s.cluster, s.grant)...).WithObjects(s.more...).
		WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if kinds, _, _ := scheme.ObjectKinds(o); len(kinds) == 1 && kinds[0].Kind == s.forbidden {
				return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(s.forbidden) + "s"}, key.Name, nil)
			}
			return c.Get(ctx, key, o, options...)
		}}).Build()
	return diagnose.Doctor{Client: reader, OperatorNamespace: "tokengrant-system", APIAudiences: cluster.APIAudiences{"api"}, Now: time.Now}
}

func (s *scene) walk(t *testing.T) *diagnose.Report {
	t.Helper()
	report, err := s.doctor(t).Grant(t.Context(), "apps", "notes-sync")
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "eyJ") || strings.Contains(string(content), clientSecret) {
		t.Errorf("the report holds a token or a secret: %s", content)
	}
	return report
}

// results lists the steps up to the last that was tried.
func results(r *diagnose.Report) []string {
	var list []string
	for _, s := range r.Steps {
		if s.Result != diagnose.Skipped {
			list = append(list, s.Name+" "+string(s.Result))
		}
	}
	return list
}

func TestAHealthyGrantIsWalkedToTheEnd(t *testing.T) {
	report := newScene(t).walk(t)
	want := []string{
		"issuer OK", "discovery OK", "credential OK", "authenticate OK", "mint OK", "exchange OK", "audience OK", "verify OK", "nextcloud OK",
		"operator OK",
	}
	if diff := cmp.Diff(want, results(report)); diff != "" || !report.Healthy || report.FirstBroken != "" {
		t.Errorf("healthy %t, first broken %q (-want +got):\n%s", report.Healthy, report.FirstBroken, diff)
	}
}

func TestTheFirstBrokenStepIsNamedWithItsCure(t *testing.T) {
	const lookUp = "CLIENT=$(kcadm.sh get clients -r tokengrant -q clientId=notes-sync --fields id --format csv --noquotes)"
	requester := keycloaktest.Client{ID: "notes-sync", Secret: clientSecret, Audience: []string{"nextcloud"}}
	change := func(f func(*keycloaktest.Client)) func(*scene) {
		return func(s *scene) {
			c := requester
			f(&c)
			s.keycloak.SetClient(c)
		}
	}
	for name, test := range map[string]struct {
		breakIt      func(*scene)
		step, reason string
		cure         []string
	}{
		"the client secret is wrong": {
			func(s *scene) { s.secret.Data["client-secret"] = []byte("wrong") }, "authenticate", v1alpha1.ReasonClientRejected,
			[]string{lookUp, `SECRET=$(kcadm.sh get "clients/$CLIENT/client-secret" -r tokengrant --fields value --format csv --noquotes)`, `kubectl create secret generic notes-client -n apps --from-literal=client-secret="$SECRET" --dry-run=client -o json | kubectl patch secret notes-client -n apps --patch-file=/dev/stdin`},
		},
		"the client does not exist": {
			func(s *scene) { s.grant.Spec.ServiceAccount.ClientID = "nobody's" }, "authenticate", v1alpha1.ReasonClientRejected,
			[]string{`kcadm.sh create clients -r tokengrant -s clientId='nobody'\''s' -s serviceAccountsEnabled=true -s standardFlowEnabled=false -s 'attributes."standard.token.exchange.enabled"=true'`},
		},
		"the client is disabled": {
			change(func(c *keycloaktest.Client) { c.Disabled = true }), "authenticate", v1alpha1.ReasonClientRejected,
			[]string{lookUp, `kcadm.sh update "clients/$CLIENT" -r tokengrant -s enabled=true`},
		},
		"the client has no service account": {
			change(func(c *keycloaktest.Client) { c.NoServiceAccount = true }), "mint", v1alpha1.ReasonServiceAccountDisabled,
			[]string{lookUp, `kcadm.sh update "clients/$CLIENT" -r tokengrant -s publicClient=false -s serviceAccountsEnabled=true`},
		},
		"a scope is not the client's": {
			func(s *scene) { s.grant.Spec.Scopes = []v1alpha1.Scope{"files"} }, "mint", v1alpha1.ReasonScopeInvalid,
			[]string{lookUp, `kcadm.sh update "clients/$CLIENT/optional-client-scopes/$SCOPE" -r tokengrant`},
		},
		"the client may not exchange": {
			change(func(c *keycloaktest.Client) { c.NoExchange = true }), "exchange", v1alpha1.ReasonExchangeNotEnabled,
			[]string{lookUp, `kcadm.sh update "clients/$CLIENT" -r tokengrant -s 'attributes."standard.token.exchange.enabled"=true'`},
		},
		"no mapper makes the audience available": {
			change(func(c *keycloaktest.Client) { c.Audience = nil }), "audience", v1alpha1.ReasonAudienceNotAvailable,
			[]string{
				lookUp, `kcadm.sh create "clients/$CLIENT/protocol-mappers/models" -r tokengrant -s name='audience nextcloud' -s protocol=openid-connect ` +
					`-s protocolMapper=oidc-audience-mapper -s 'config."included.client.audience"'=nextcloud -s 'config."access.token.claim"=true'`,
			},
		},
		"the audience is no client of the realm": {
			func(s *scene) { s.grant.Spec.Exchange.Audiences = []v1alpha1.Audience{"files"} }, "audience", v1alpha1.ReasonAudienceNotAvailable,
			[]string{"kcadm.sh create clients -r tokengrant -s clientId=files -s standardFlowEnabled=false"},
		},
		"the realm does not exist": {
			func(s *scene) {
				s.issuer.Spec.URL = v1alpha1.HTTPURL(strings.TrimSuffix(s.keycloak.URL, "tokengrant") + "cloud")
			}, "discovery", v1alpha1.ReasonIssuerInvalid,
			[]string{"kcadm.sh get realms --fields realm,enabled", "kcadm.sh create realms -s realm=cloud -s enabled=true"},
		},
		"Nextcloud takes no bearer tokens": {
			func(s *scene) { s.nextcloud.SetCheckBearer(false) }, "nextcloud", v1alpha1.ReasonNextcloudRejected,
			[]string{"occ user_oidc:provider", "occ user_oidc:provider PROVIDER --check-bearer=1"},
		},
		"Nextcloud's provider has another client ID": {
			func(s *scene) { s.nextcloud.Configure(func(c *nextcloudtest.Settings) { c.ClientID = "cloud" }) }, "nextcloud", v1alpha1.ReasonNextcloudRejected,
			[]string{"occ user_oidc:provider PROVIDER --clientid=nextcloud"},
		},
		"the user must be in a group": {
			func(s *scene) { s.grant.Spec.Check.Nextcloud.Expect.Groups = []v1alpha1.GroupName{"sync users"} }, "nextcloud", v1alpha1.ReasonNextcloudForbidden,
			[]string{"occ group:adduser 'sync users' service-account-notes-sync"},
		},
		"Nextcloud is in maintenance": {
			func(s *scene) { s.nextcloud.SetMaintenance(true) }, "nextcloud", v1alpha1.ReasonNextcloudMaintenance,
			[]string{"occ maintenance:mode --off"},
		},
		"a path is not there": {
			func(s *scene) {
				s.grant.Spec.Check.Nextcloud.Paths = []v1alpha1.NextcloudPath{{Path: "/Notes", Access: "Read"}}
			}, "paths", v1alpha1.ReasonNextcloudForbidden, nil,
		},
		"the issuer does not exist": {
			func(s *scene) { s.issuer = nil }, "issuer", v1alpha1.ReasonIssuerNotFound, []string{"kubectl get tokenissuers,clustertokenissuers -n apps"},
		},
		"the Secret does not exist": {
			func(s *scene) { s.secret = nil }, "credential", v1alpha1.ReasonCredentialMissing,
			[]string{lookUp, `kubectl create secret generic notes-client -n apps --from-literal=client-secret="$SECRET" --dry-run=client -o yaml | kubectl apply -f -`},
		},
		"the issuer does not let the namespace use it": {
			func(s *scene) {
				s.grant.Spec.IssuerRef.Kind, s.grant.Spec.ServiceAccount = diagnose.KindClusterTokenIssuer, nil
				s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 1, &v1alpha1.Attempt{Reason: v1alpha1.ReasonNotAllowed, Message: "no"}
			}, "issuer", v1alpha1.ReasonNotAllowed,
			[]string{`kubectl patch clustertokenissuer keycloak --type=merge -p '{"spec":{"allow":[{"namespaces":["apps"],"audiences":["nextcloud"]}]}}'`},
		},
		"the issuer does not let the namespace ask for a scope": {
			func(s *scene) {
				s.grant.Spec.IssuerRef.Kind, s.grant.Spec.ServiceAccount, s.grant.Spec.Scopes = diagnose.KindClusterTokenIssuer, nil, []v1alpha1.Scope{"openid"}
				s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 1, &v1alpha1.Attempt{Reason: v1alpha1.ReasonNotAllowed, Message: "no"}
			}, "issuer", v1alpha1.ReasonNotAllowed,
			[]string{`kubectl patch clustertokenissuer keycloak --type=merge -p '{"spec":{"allow":[{"namespaces":["apps"],"audiences":["nextcloud"],"scopes":["openid"]}]}}'`},
		},
		"only the operator meets a failure": {
			func(s *scene) {
				s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 3, &v1alpha1.Attempt{Reason: v1alpha1.ReasonSecretConflict, Message: "a Secret of that name exists"}
			}, "operator", v1alpha1.ReasonSecretConflict, []string{"kubectl tokengrant renew notes-sync -n apps"},
		},
		"no operator runs": {
			func(s *scene) { s.grant.Status.Conditions = nil }, "operator", v1alpha1.ReasonPending, []string{"kubectl get pods -n tokengrant-system"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			test.breakIt(s)
			report := s.walk(t)
			step, _ := report.First(diagnose.Broken)
			if report.Healthy || step.Name != test.step || report.FirstBroken != test.step || step.Reason != test.reason {
				t.Fatalf("got %+v, want %s %s", step, test.step, test.reason)
			}
			for _, command := range test.cure {
				if !slices.Contains(step.Cure, command) {
					t.Errorf("the cure lacks %s\ngot\n%s", command, strings.Join(step.Cure, "\n"))
				}
			}
			if all := results(report); all[len(all)-1] != test.step+" Broken" {
				t.Errorf("steps were tried behind the broken one: %v", all)
			}
		})
	}
}

// withoutAudience makes the client's own token one without aud.
func withoutAudience(s *scene) {
	s.keycloak.Script(keycloaktest.Answer{Claims: func(c map[string]any) { delete(c, "aud") }})
}

func TestATokenWithoutAudienceShowsWhatProtects(t *testing.T) {
	s := newScene(t)
	withoutAudience(s)
	report := s.walk(t)
	step, _ := report.First(diagnose.Warning)
	if !report.Healthy || step.Name != "no audience" || !strings.Contains(step.Message, "publishes only tokens for [nextcloud]") {
		t.Errorf("got %+v", step)
	}
}

func TestATokenWithoutAudienceTellsAWrongClientIDFromOtherCauses(t *testing.T) {
	s := newScene(t)
	withoutAudience(s)
	s.nextcloud.Configure(func(c *nextcloudtest.Settings) { c.ClientID = "cloud" })
	step, _ := s.walk(t).First(diagnose.Broken)
	want := []string{"# the client ID of the provider is another than the audience", "occ user_oidc:provider PROVIDER --clientid=nextcloud"}
	if diff := cmp.Diff(want, step.Cure); diff != "" || !strings.Contains(step.Message, "accepts one without aud") {
		t.Errorf("%s (-want +got):\n%s", step.Message, diff)
	}
}

func TestATokenForOthersIsNotShownToNextcloud(t *testing.T) {
	s := newScene(t)
	s.walk(t)
	if n := s.nextcloud.Counts()["GET /ocs/v2.php/cloud/user"]; n != 1 {
		t.Errorf("Nextcloud got %d tokens, want the one that is for it", n)
	}
}

func TestWhatMayNotBeReadIsSaidPlainly(t *testing.T) {
	for kind, want := range map[string]struct{ step, sentence string }{
		"Secret":      {"credential", `you may not read Secret "notes-client" in namespace "apps"`},
		"TokenIssuer": {"issuer", `you may not read TokenIssuer "keycloak" in namespace "apps"`},
	} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(t)
			s.forbidden = kind
			report := s.walk(t)
			step, _ := report.First(diagnose.Unknown)
			if report.Healthy || report.FirstBroken != "" || step.Name != want.step || !strings.HasPrefix(step.Message, want.sentence) {
				t.Errorf("got %+v", step)
			}
			last := report.Steps[len(report.Steps)-1]
			if last.Name != "operator" || last.Result != diagnose.OK {
				t.Errorf("what the operator says is missing: %+v", last)
			}
		})
	}
}

func TestASecretWithALineBreakIsSuspected(t *testing.T) {
	s := newScene(t)
	s.secret.Data["client-secret"] = []byte(clientSecret + "\n")
	report := s.walk(t)
	warning, _ := report.First(diagnose.Warning)
	if warning.Name != "credential" || report.FirstBroken != "authenticate" {
		t.Errorf("got %+v, first broken %q", warning, report.FirstBroken)
	}
}

func TestAnIssuerIsWalkedAsFarAsItsOwnClientGets(t *testing.T) {
	s := newScene(t)
	s.secret.Namespace = "tokengrant-system"
	for name, test := range map[string]struct {
		kind, namespace string
		healthy         bool
	}{
		"a ClusterTokenIssuer reads the operator's namespace": {diagnose.KindClusterTokenIssuer, "", true},
		"a TokenIssuer reads its own":                         {diagnose.KindTokenIssuer, "apps", false},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := s.doctor(t).Issuer(t.Context(), test.kind, test.namespace, "keycloak")
			if err != nil || report.Healthy != test.healthy {
				t.Errorf("%v, %+v", err, report)
			}
		})
	}
}

func TestOtherWaysToAuthenticateAreTried(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "apps"}}
	marked := account.DeepCopy()
	marked.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"}
	elsewhere := account.DeepCopy()
	elsewhere.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: "vault"}
	listed := account.DeepCopy()
	listed.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: "api"}
	kubernetesToken := &v1alpha1.ServiceAccount{ClientID: "notes-sync", KubernetesToken: &v1alpha1.KubernetesToken{ServiceAccountName: "app"}}
	apiServer := kubernetesToken.DeepCopy()
	apiServer.KubernetesToken.Audience = "api"
	for name, test := range map[string]struct {
		account *v1alpha1.ServiceAccount
		object  client.Object
		step    string
		reason  string
		cure    string
	}{
		"a ServiceAccount that is missing": {kubernetesToken, nil, "credential", v1alpha1.ReasonCredentialMissing, "kubectl create serviceaccount app -n apps"},
		"a ServiceAccount that is not marked": {
			kubernetesToken, account, "credential", v1alpha1.ReasonNotAllowed,
			"kubectl annotate serviceaccount app -n apps --overwrite tokengrant.dev/allow-token-request=true",
		},
		"a ServiceAccount that is marked for another audience": {
			kubernetesToken, elsewhere, "credential", v1alpha1.ReasonNotAllowed,
			"kubectl annotate serviceaccount app -n apps --overwrite tokengrant.dev/allow-token-request='vault,http://",
		},
		"an audience of the API server, though it is listed": {apiServer, listed, "credential", v1alpha1.ReasonNotAllowed, ""},
		"a token that the issuer does not take":              {kubernetesToken, marked, "authenticate", v1alpha1.ReasonClientRejected, "kcadm.sh get clients -r tokengrant -q clientId=notes-sync"},
		"a private key that is missing": {
			&v1alpha1.ServiceAccount{ClientID: "notes-sync", PrivateKeyJWT: &v1alpha1.PrivateKeyJWT{SecretRef: v1alpha1.SecretKeyRef{Name: "key"}}}, nil,
			"credential", v1alpha1.ReasonCredentialMissing, "kubectl create secret generic key -n apps --from-file=tls.key=key.pem",
		},
		"a private key that is none": {
			&v1alpha1.ServiceAccount{ClientID: "notes-sync", PrivateKeyJWT: &v1alpha1.PrivateKeyJWT{SecretRef: v1alpha1.SecretKeyRef{Name: "notes-client", Key: "client-secret"}}}, nil,
			"credential", v1alpha1.ReasonCredentialMissing, "",
		},
		"no way at all": {&v1alpha1.ServiceAccount{ClientID: "notes-sync"}, nil, "credential", v1alpha1.ReasonInvalidSpec, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.grant.Spec.ServiceAccount = test.account
			if test.object != nil {
				s.more = append(s.more, test.object)
			}
			step, _ := s.walk(t).First(diagnose.Broken)
			if step.Name != test.step || step.Reason != test.reason || test.cure != "" && !slices.ContainsFunc(step.Cure, func(c string) bool { return strings.HasPrefix(c, test.cure) }) {
				t.Errorf("got %+v", step)
			}
		})
	}
}

func TestATokenOfAnotherPartyIsWalkedThrough(t *testing.T) {
	for name, test := range map[string]struct {
		audience []string
		broken   string
	}{
		"a token that is meant for the client": {[]string{"notes-sync"}, ""},
		"a token that is not":                  {[]string{"account"}, "exchange"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.grant.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
			token := s.keycloak.Sign(s.keycloak.Claims("alice", "portal", test.audience...))
			s.more = append(s.more, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "alice", Namespace: "apps"}, Data: map[string][]byte{"access_token": []byte(token)}})
			report := s.walk(t)
			if report.FirstBroken != test.broken {
				t.Errorf("first broken %q, want %q: %+v", report.FirstBroken, test.broken, report.Steps)
			}
			if !strings.Contains(report.Steps[4].Message, `a token of user "alice"`) {
				t.Errorf("mint: %+v", report.Steps[4])
			}
		})
	}
}

func TestAnAssertionThatTheOperatorNeedsIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		ready bool
		want  diagnose.Result
	}{
		"while the operator is content": {true, diagnose.OK},
		"while it is not":               {false, diagnose.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.grant.Spec.Subject = &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "other"}}}
			assertion := s.keycloak.Sign(map[string]any{"iss": "https://other.example.com", "aud": s.keycloak.URL, "exp": time.Now().Add(time.Hour).Unix()})
			s.more = append(s.more, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "apps"}, Data: map[string][]byte{"access_token": []byte(assertion)}})
			if !test.ready {
				s.grant.Status.Conditions[0].Status = metav1.ConditionFalse
			}
			step := s.walk(t).Steps[4]
			if step.Name != "mint" || step.Result != test.want || s.keycloak.Count("urn:ietf:params:oauth:grant-type:jwt-bearer") != 0 {
				t.Errorf("got %+v", step)
			}
		})
	}
}
