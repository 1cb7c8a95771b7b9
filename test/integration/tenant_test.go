package integration

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// tenants is an operator that works for an attacker, whose namespace is the world's, for a victim, and for its own namespace.
type tenants struct {
	*world

	victim string
	// shared is a ClusterTokenIssuer with the operator's client "agent", open to the victim for the audience nextcloud.
	shared *v1alpha1.ClusterTokenIssuer
	// good is the issuer of the victim and of shared, evil that of the attacker.
	good, evil *keycloaktest.Server
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	t.Parallel()
	victim := newNamespace(t)
	w := newWorld(t, victim)
	s := &tenants{world: w, victim: victim, good: scripted(t), evil: scripted(t)}
	for namespace, name := range map[string]string{victim: "worker", w.operatorNamespace: "agent"} {
		secret := "secret-of-" + name + "-in-" + namespace // of no other test, so that it is found wherever it is sent
		s.good.Client(name, secret)
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"client-secret": secret}})
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: victim, Name: "bot", Annotations: map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"}}})
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: victim, Name: "ca"}, Data: map[string]string{"ca.crt": "x"}})
	theirs := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: victim, Name: "kc"}}
	theirs.Spec.URL = v1alpha1.HTTPURL(s.good.URL)
	w.create(theirs)
	s.shared = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared-" + w.namespace}}
	s.shared.Spec.URL = v1alpha1.HTTPURL(s.good.URL)
	s.shared.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "agent", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "agent"}}}
	s.shared.Spec.Allow = []v1alpha1.AllowRule{{Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(victim)}, Audiences: []v1alpha1.Audience{"nextcloud"}, Scopes: []v1alpha1.Scope{"openid"}}}
	w.create(s.shared)
	t.Cleanup(func() { _ = cluster.admin.Delete(cleanupContext(), s.shared) })
	w.issuer("own", s.evil.URL)
	return s
}

// TestTenantUsesWhatIsNotTheirs: each attempt gets a sentence, and nothing is sent to anybody.
func TestTenantUsesWhatIsNotTheirs(t *testing.T) {
	s := newTenants(t)
	s.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "unmarked"}})
	spy := s.grantFor("spy", "spy", "worker")
	s.create(&v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "spy"},
		Spec:       v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(s.evil.URL), CARef: &v1alpha1.CARef{Name: "ca"}},
	})
	secret := func(name string) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = name }
	}
	issuer := func(name string) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) { g.Spec.IssuerRef.Name = name }
	}
	token := func(account string) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) {
			g.Spec.ServiceAccount.ClientSecret, g.Spec.ServiceAccount.KubernetesToken = nil, &v1alpha1.KubernetesToken{ServiceAccountName: account}
		}
	}
	shared := func(change func(*v1alpha1.TokenGrant)) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) {
			g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: s.shared.Name}
			change(g)
		}
	}
	attempts := map[string]struct {
		grant        *v1alpha1.TokenGrant
		reason, says string
	}{
		"a Secret of another namespace":               {s.grantFor("a1", "own", "worker"), v1alpha1.ReasonCredentialMissing, `Secret "worker" not found`},
		"a Secret of the operator, at one's server":   {s.grantFor("a7", "own", "agent"), v1alpha1.ReasonCredentialMissing, `Secret "agent" not found`},
		"a Secret of the operator, beside its issuer": {s.grantFor("a8", "own", "agent", shared(secret("agent"))), v1alpha1.ReasonCredentialMissing, `Secret "agent" not found`},
		"an issuer of another namespace":              {s.grantFor("b1", "own", "worker", issuer("kc")), v1alpha1.ReasonIssuerNotFound, "in namespace"},
		"a ServiceAccount of another namespace":       {s.grantFor("c1", "own", "worker", token("bot")), v1alpha1.ReasonCredentialMissing, `ServiceAccount "bot" not found in namespace`},
		"a ServiceAccount that nobody has marked":     {s.grantFor("c2", "own", "worker", token("unmarked")), v1alpha1.ReasonNotAllowed, v1alpha1.AllowTokenRequestAnnotation},
		"a ConfigMap of another namespace":            {spy, v1alpha1.ReasonIssuerNotReady, `ConfigMap "ca" not found`},
		"the operator's client": {
			s.grantFor("d1", "own", "", shared(func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount = nil })),
			v1alpha1.ReasonNotAllowed, "does not let namespace",
		},
		"another user, by a client of one's own": {
			s.grantFor("d2", "own", "worker", shared(func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.RequestedSubject = "admin" })),
			v1alpha1.ReasonNotAllowed, `does not let namespace "` + s.namespace + `" act as user "admin"`,
		},
	}
	s.refused(map[string]refusedGrant{
		"a Secret of another namespace, by a path":  {s.grantFor("a2", "own", "worker", secret(s.victim+"/worker")), "must be the name of a Secret"},
		"a Secret of another namespace, going up":   {s.grantFor("a3", "own", "worker", secret("../../"+s.victim+"/secrets/worker")), "must be the name of a Secret"},
		"a Secret by letters that look alike":       {s.grantFor("a4", "own", "worker", secret("wоrker")), "must be the name of a Secret"},
		"a Secret in capitals":                      {s.grantFor("a5", "own", "worker", secret("Worker")), "must be the name of a Secret"},
		"a Secret with a dot at its end":            {s.grantFor("a6", "own", "worker", secret("worker.")), "must be the name of a Secret"},
		"an issuer of another namespace, by a path": {s.grantFor("b2", "own", "worker", issuer(s.victim+"/kc")), "must be the name of an issuer"},
	})
	for _, a := range attempts {
		s.create(a.grant)
	}
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			s := *s.world
			s.t = t
			contains(t, s.await(a.grant, v1alpha1.ConditionReady, metav1.ConditionFalse, a.reason), a.says)
		})
	}
	if n, m := len(s.evil.Requests()), len(s.good.Requests()); n+m != 0 {
		t.Errorf("%d requests to the attacker's server, %d to the other", n, m)
	}
}

type refusedGrant struct {
	grant *v1alpha1.TokenGrant
	says  string
}

// refused checks that the API server itself refuses grants, so that no operator sees them.
func (w *world) refused(grants map[string]refusedGrant) {
	w.t.Helper()
	for name, r := range grants {
		err := w.Create(w.t.Context(), r.grant)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), r.says) {
			w.t.Errorf("%s: Create = %v, want %q", name, err, r.says)
		}
	}
}

// TestTenantBeyondTheRules asks the operator's client for more than its rule says.
func TestTenantBeyondTheRules(t *testing.T) {
	s := newTenants(t)
	attempts := map[string]struct {
		change func(*v1alpha1.TokenGrant)
		says   string
	}{
		"another audience":           {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.Audiences = []v1alpha1.Audience{"realm-management"} }, `for audience "realm-management"`},
		"one audience more":          {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.Audiences = []v1alpha1.Audience{"nextcloud", "account"} }, `"account"`},
		"the audience in capitals":   {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.Audiences = []v1alpha1.Audience{"Nextcloud"} }, `"Nextcloud"`},
		"whatever audience there is": {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange = nil }, "every audience"},
		"another scope":              {func(g *v1alpha1.TokenGrant) { g.Spec.Scopes = []v1alpha1.Scope{"openid", "roles"} }, `scope "roles"`},
		"another scope to exchange":  {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.Scopes = []v1alpha1.Scope{"offline_access"} }, `scope "offline_access"`},
		"a user":                     {func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.RequestedSubject = "alice" }, `act as user "alice"`},
	}
	s.refused(map[string]refusedGrant{
		"the wildcard as audience": {s.grantFor("g-wildcard", s.shared.Name, "", func(g *v1alpha1.TokenGrant) {
			g.Spec.Exchange.Audiences, g.Spec.ServiceAccount = []v1alpha1.Audience{"*"}, nil
		}), "there are no wildcards here"},
	})
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			w := *s.world
			w.t = t
			g := w.grantFor("g-"+strings.ReplaceAll(name, " ", "-"), s.shared.Name, "", func(g *v1alpha1.TokenGrant) {
				g.Namespace, g.Spec.IssuerRef.Kind, g.Spec.ServiceAccount = s.victim, "ClusterTokenIssuer", nil
				a.change(g)
			})
			w.create(g)
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed), a.says)
		})
	}
	if n := len(s.good.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestTenantOverwritesASecret, be it of an application, of another grant or of the operator: it stays as it is.
func TestTenantOverwritesASecret(t *testing.T) {
	s := newTenants(t)
	s.secret("worker", map[string]string{"client-secret": "worker-secret"})
	s.secret("alice", map[string]string{"refresh_token": s.evil.OfflineToken("worker", "alice")})
	s.secret("database", map[string]string{"password": "theirs"})
	s.ready(s.grantFor("other", "own", "worker", offlineSubject))
	for _, name := range []string{"encryption-keys", "worker"} {
		s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.operatorNamespace, Name: name}, StringData: map[string]string{"client-secret": "worker-secret"}})
	}
	s.refused(map[string]refusedGrant{
		"with another grant's session": {s.grantFor("thief-of-session", "own", "worker", func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "other-tokengrant-session"}}
		}), "names that end in -tokengrant-session are for the Secrets in which the operator keeps sessions"},
	})
	for name, at := range map[string]struct{ namespace, secret string }{
		"of an application":             {s.namespace, "database"},
		"that holds a credential":       {s.namespace, "alice"},
		"with another grant's token":    {s.namespace, "other"},
		"with the operator's keys":      {s.operatorNamespace, "encryption-keys"},
		"with the operator's own login": {s.operatorNamespace, "agent"},
	} {
		t.Run(name, func(t *testing.T) {
			w := *s.world
			w.t = t
			before := &corev1.Secret{}
			key := client.ObjectKey{Namespace: at.namespace, Name: at.secret}
			if err := w.Get(t.Context(), key, before); err != nil {
				t.Fatal(err)
			}
			g := w.grantFor("thief-of-"+at.secret, s.shared.Name, "worker", func(g *v1alpha1.TokenGrant) {
				g.Namespace, g.Spec.IssuerRef.Kind = at.namespace, "ClusterTokenIssuer"
				g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: at.secret}}
			})
			w.create(g)
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict), at.secret, "left untouched")
			if err := w.Delete(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			after := &corev1.Secret{}
			if err := w.Get(t.Context(), key, after); err != nil || after.ResourceVersion != before.ResourceVersion {
				t.Errorf("touched: %v, error %v", after.ManagedFields, err)
			}
		})
	}
}

// TestQuotaBoundsGrants on the API server, as docs/multi-tenancy.md shows it. There kube-controller-manager writes the
// quota's status; here the test does.
func TestQuotaBoundsGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limits := corev1.ResourceList{"count/tokengrants.tokengrant.dev": resource.MustParse("2"), "count/tokenissuers.tokengrant.dev": resource.MustParse("1")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tokengrants"}, Spec: corev1.ResourceQuotaSpec{Hard: limits}}
	w.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: limits, Used: maps.Clone(limits)}
	for name := range quota.Status.Used {
		quota.Status.Used[name] = resource.MustParse("0")
	}
	if err := w.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	w.issuer("kc", "https://id.example.com")
	var refused error
	w.eventually("a grant too many", func() (bool, string) { // The admission plugin sees the quota a moment later.
		for i := range 3 {
			g := w.grantFor(fmt.Sprint("g", i), "kc", "worker")
			if err := w.Create(t.Context(), g); err != nil && !apierrors.IsAlreadyExists(err) {
				refused = err
			}
		}
		return refused != nil, "three grants were taken"
	})
	if !apierrors.IsForbidden(refused) || !strings.Contains(refused.Error(), "exceeded quota: tokengrants") {
		t.Errorf("refused with %v", refused)
	}
	second := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc2"}, Spec: v1alpha1.TokenIssuerSpec{URL: "https://id.example.com"}}
	if err := w.Create(t.Context(), second); !apierrors.IsForbidden(err) {
		t.Errorf("a second issuer: %v", err)
	}
}
