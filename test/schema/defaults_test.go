package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestAbsentFields has a row for each row of the table of absent fields in docs/api.md.
func TestAbsentFields(t *testing.T) {
	const client = "issuerRef: {name: i}\nserviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}\n"
	for name, tt := range map[string]struct {
		spec string
		got  func(*v1alpha1.TokenGrant) any
		want any
	}{
		"issuerRef.group":            {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.IssuerRef.Group }, "tokengrant.dev"},
		"issuerRef.kind":             {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.IssuerRef.Kind }, "TokenIssuer"},
		"clientSecret.secretRef.key": {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.ServiceAccount.ClientSecret.SecretRef.Key }, "client-secret"},
		"clientSecret.method":        {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.ServiceAccount.ClientSecret.Method }, v1alpha1.ClientSecretBasic},
		"privateKeyJWT.secretRef.key": {
			"serviceAccount: {clientID: c, privateKeyJWT: {secretRef: {name: s}}}",
			func(g *v1alpha1.TokenGrant) any { return g.Spec.ServiceAccount.PrivateKeyJWT.SecretRef.Key }, "tls.key",
		},
		"privateKeyJWT.algorithm": {
			"serviceAccount: {clientID: c, privateKeyJWT: {secretRef: {name: s}}}",
			func(g *v1alpha1.TokenGrant) any { return g.Spec.ServiceAccount.PrivateKeyJWT.Algorithm }, "RS256",
		},
		"kubernetesToken.expirationSeconds": {
			"serviceAccount: {clientID: c, kubernetesToken: {serviceAccountName: a}}",
			func(g *v1alpha1.TokenGrant) any { return g.Spec.ServiceAccount.KubernetesToken.ExpirationSeconds }, int64(600),
		},
		"subject": {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.Subject == nil }, true},
		"subject.tokenSecretRef.key": {
			"subject: {tokenSecretRef: {name: a}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Subject.TokenSecretRef.Key }, "access_token",
		},
		"subject.offlineTokenSecretRef.key": {
			"subject: {offlineTokenSecretRef: {name: a}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Subject.OfflineTokenSecretRef.Key }, "refresh_token",
		},
		"subject.assertion.tokenSecretRef.key": {
			"subject: {assertion: {tokenSecretRef: {name: a}}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Subject.Assertion.TokenSecretRef.Key }, "access_token",
		},
		"subject.assertion.kubernetesToken.expirationSeconds": {
			"subject: {assertion: {kubernetesToken: {serviceAccountName: a}}}",
			func(g *v1alpha1.TokenGrant) any { return g.Spec.Subject.Assertion.KubernetesToken.ExpirationSeconds }, int64(600),
		},
		"exchange":        {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.Exchange == nil }, true},
		"exchange.scopes": {"exchange: {audiences: [a]}", func(g *v1alpha1.TokenGrant) any { return len(g.Spec.Exchange.Scopes) }, 0},
		"delivery":        {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.Delivery.Secret.Name }, "g"},
		"delivery.secret.name": {
			"delivery: {secret: {nudgePods: true}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Delivery.Secret.Name }, "g",
		},
		"delivery.secret.onExpiry": {client, func(g *v1alpha1.TokenGrant) any { return g.SecretDelivery().OnExpiry }, v1alpha1.OnExpiryKeep},
		"check":                    {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.Check == nil }, true},
		"check.policy":             {checked, func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Policy }, v1alpha1.PolicyEnforce},
		"check.interval":           {checked, func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Interval.Duration }, 10 * time.Minute},
		"check.nextcloud.caRef.kind": {
			"check: {nextcloud: {url: https://c, caRef: {name: ca}}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.CARef.Kind }, "ConfigMap",
		},
		"check.nextcloud.caRef.key": {
			"check: {nextcloud: {url: https://c, caRef: {name: ca}}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.CARef.Key }, "ca.crt",
		},
		"check.nextcloud.expect.notInGroups": {checked, func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.Expect.NotInGroups }, []v1alpha1.GroupName{"admin"}},
		"check.nextcloud.expect.notInGroups, empty": {
			"check: {nextcloud: {url: https://c, expect: {notInGroups: []}}}",
			func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.Expect.NotInGroups },
			[]v1alpha1.GroupName{},
		},
		"check.nextcloud.paths[].access": {
			"check: {nextcloud: {url: https://c, paths: [{path: /a}]}}", func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.Paths[0].Access }, v1alpha1.PathRead,
		},
		"appPassword.rotation.every":   {appPasswordSpec, func(g *v1alpha1.TokenGrant) any { return g.Spec.AppPassword.Rotation.Every.Duration }, 720 * time.Hour},
		"appPassword.rotation.overlap": {appPasswordSpec, func(g *v1alpha1.TokenGrant) any { return g.Spec.AppPassword.Rotation.Overlap.Duration }, 5 * time.Minute},
		"check, of an app password":    {appPasswordSpec, func(g *v1alpha1.TokenGrant) any { return g.Spec.Check.Nextcloud.URL }, v1alpha1.HTTPURL("https://c")},
		"deletionPolicy":               {client, func(g *v1alpha1.TokenGrant) any { return g.Spec.DeletionPolicy }, v1alpha1.DeletionLeave},
	} {
		t.Run(name, func(t *testing.T) {
			g := v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Name: "g"}}
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &g.Spec); err != nil {
				t.Fatal(err)
			}
			g.Default()
			if diff := cmp.Diff(tt.want, tt.got(&g)); diff != "" {
				t.Error(diff)
			}
			again := g.DeepCopy()
			again.Default()
			if diff := cmp.Diff(&g, again); diff != "" {
				t.Error("a second time changes something:", diff)
			}
		})
	}
}

const (
	checked         = "check: {nextcloud: {url: https://c}}"
	appPasswordSpec = "appPassword: {nextcloud: {url: https://c}, from: {loginSecretRef: {name: l}}}"
)

func TestAbsentFieldsOfIssuers(t *testing.T) {
	var s v1alpha1.TokenIssuerSpec
	if err := yaml.UnmarshalStrict([]byte("url: https://id.example.com\ncaRef: {name: ca}\nserviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}\n"), &s); err != nil {
		t.Fatal(err)
	}
	got := s.WithDefaults()
	if want := (v1alpha1.Limits{RequestsPerSecond: 50, Burst: 100, Concurrency: 16}); got.Limits != want {
		t.Errorf("%+v, want %+v", got.Limits, want)
	}
	if got.CARef.Kind != "ConfigMap" || got.CARef.Key != "ca.crt" || got.ServiceAccount.ClientSecret.SecretRef.Key != "client-secret" {
		t.Errorf("%+v %+v", got.CARef, got.ServiceAccount.ClientSecret)
	}
	if s.CARef.Kind != "" {
		t.Error("the original has been changed")
	}
}

// TestTheSchemaHasNoDefaults but that of the status: a default that moves would change what is stored, and one inside of a list
// is a difference for ever to what was applied.
func TestTheSchemaHasNoDefaults(t *testing.T) {
	for plural, manifest := range map[string]string{"tokengrants": grant, "clustertokenissuers": clusterIssuer} {
		s := load(t, plural)
		applied := patched(t, manifest, `{}`)
		stored, refused := s.admit(t, manifest, `{}`)
		if refused != "" {
			t.Fatal(refused)
		}
		if diff := cmp.Diff(applied["spec"], stored["spec"]); diff != "" {
			t.Errorf("%s: %s", plural, diff)
		}
		status, err := yaml.Marshal(stored["status"])
		if err != nil || !strings.Contains(string(status), "observedGeneration: -1") || !strings.Contains(string(status), "status: Unknown") {
			t.Errorf("%s has the status %s, %v", plural, status, err)
		}
	}
}
