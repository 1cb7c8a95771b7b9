package integration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// minimal specs that the API server takes; the cases below spoil one thing each.
const (
	goodGrant = `
issuerRef: {name: kc}
serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}
exchange: {audiences: [nextcloud]}
check: {nextcloud: {url: "https://cloud.example.com"}}`
	goodIssuer = `
url: https://id.example.com/realms/cloud
serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}}}`
)

// TestRefusedByTheAPIServer shows the sentence that a user of kubectl apply gets for bad input.
func TestRefusedByTheAPIServer(t *testing.T) {
	tests := []struct{ name, kind, spec, want string }{
		{"an empty spec", "TokenGrant", `{}`, "set exactly one of issuerRef"},
		{"an unknown kind of issuer", "TokenGrant", `issuerRef: {kind: Issuer, name: kc}`, `supported values: "TokenIssuer", "ClusterTokenIssuer"`},
		{"an empty audience list", "TokenGrant", `exchange: {audiences: []}`, "spec.exchange.audiences in body should have at least 1 items"},
		{"an exchange without audiences", "TokenGrant", `exchange: {scopes: [a]}`, "spec.exchange.audiences: Required value"},
		{"the field's old name", "TokenGrant", `exchange: {audience: [a]}`, `unknown field "spec.exchange.audience"`},
		{"an empty audience", "TokenGrant", `exchange: {audiences: [""]}`, "should be at least 1 chars long"},
		{"two audiences in one", "TokenGrant", `exchange: {audiences: ["a b"]}`, "an audience is one word without spaces"},
		{"the same audience twice", "TokenGrant", `exchange: {audiences: [a, a]}`, "list each audience once"},
		{"two scopes in one", "TokenGrant", `scopes: ["openid profile"]`, "a scope is one word"},
		{"a quote in a scope", "TokenGrant", `exchange: {audiences: [a], scopes: ["\""]}`, "a scope is one word"},
		{"both margins", "TokenGrant", `refresh: {before: 10s, beforePercentage: 20}`, "set before or beforePercentage, not both"},
		{"a margin of nothing", "TokenGrant", `refresh: {before: 0s}`, "spec.refresh.before: Invalid value"},
		{"a margin of days", "TokenGrant", `refresh: {before: 48h}`, "must be between 1s and 24h"},
		{"a margin in days", "TokenGrant", `refresh: {before: 1d}`, "there is no unit for days: write 24h"},
		{"a margin that is no duration", "TokenGrant", `refresh: {before: soon}`, "must be between 1s and 24h"},
		{"a share that is too large", "TokenGrant", `refresh: {beforePercentage: 90}`, "should be less than or equal to 50"},
		{"an interval of a second", "TokenGrant", `check: {nextcloud: {url: "https://c.example.com"}, interval: 1s}`, "must be between 10s and 24h"},
		{"a Nextcloud without scheme", "TokenGrant", `check: {nextcloud: {url: "cloud.example.com"}}`, "must be an absolute URL that begins with https://"},
		{"a Nextcloud by ftp", "TokenGrant", `check: {nextcloud: {url: "ftp://cloud.example.com"}}`, "must be an absolute URL that begins with https://"},
		{"a query in a URL", "TokenGrant", `check: {nextcloud: {url: "https://cloud.example.com/?a=b"}}`, "must have no query and no fragment"},
		{"a password in a URL", "TokenGrant", `check: {nextcloud: {url: "https://a:b@cloud.example.com"}}`, "no user name"},
		{"an unknown policy", "TokenGrant", `check: {nextcloud: {url: "https://c.example.com"}, policy: Maybe}`, `supported values: "Enforce", "Warn"`},
		{"a name that no Secret can have", "TokenGrant", `delivery: {secret: {name: Upper_Case}}`, "must be a valid name of a Secret"},
		{"a key that no Secret can have", "TokenGrant", `delivery: {secret: {data: {"a b": x}}}`, "keys of data must be valid keys"},
		{"a label of the operator", "TokenGrant", `delivery: {secret: {labels: {app.kubernetes.io/managed-by: me}}}`, "belong to the operator"},
		{"an annotation of the operator", "TokenGrant", `delivery: {secret: {annotations: {tokengrant.dev/published: x}}}`, "belong to the operator"},
		{"a label value with a space", "TokenGrant", `delivery: {secret: {labels: {a: "b c"}}}`, "labels must be valid"},
		{"the credential's own Secret", "TokenGrant", `delivery: {secret: {name: s}}`, "spec.delivery.secret.name: Invalid value"},
		{"an unknown expiry policy", "TokenGrant", `delivery: {secret: {onExpiry: Burn}}`, `supported values: "Keep", "Delete"`},
		{"a client without ID", "TokenGrant", `serviceAccount: {clientSecret: {secretRef: {name: s}}}`, "clientID: Required value"},
		{"a client without credential", "TokenGrant", `serviceAccount: {clientID: c, clientSecret: null}`, "set exactly one of clientSecret, privateKeyJWT, certificate and kubernetesToken"},
		{"an unknown method", "TokenGrant", `serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s}, method: Digest}}`, `supported values: "Basic", "Post"`},
		{"a namespace in a reference", "TokenGrant", `serviceAccount: {clientID: c, clientSecret: {secretRef: {name: s, namespace: other}}}`, `unknown field "spec.serviceAccount.clientSecret.secretRef.namespace"`},
		{"an issuer without URL", "TokenIssuer", `url: null`, "spec.url: Required value"},
		{"an issuer by a relative URL", "TokenIssuer", `url: /realms/cloud`, "must be an absolute URL that begins with https://"},
		{"an issuer with a fragment", "TokenIssuer", `url: "https://id.example.com/realms/cloud#x"`, "must have no query and no fragment"},
		{"limits of nothing", "TokenIssuer", `limits: {requestsPerSecond: 0}`, "should be greater than or equal to 1"},
		{"rules on a namespaced issuer", "TokenIssuer", `allow: [{namespaces: [a], audiences: [b]}]`, `unknown field "spec.allow"`},
		{"rules without a service account", "ClusterTokenIssuer", `{serviceAccount: null, allow: [{namespaces: [a], audiences: [b]}]}`, "set serviceAccount, or remove the rule"},
		{"a rule for nobody", "ClusterTokenIssuer", `allow: [{audiences: [b]}]`, "set exactly one of namespaces and namespaceSelector"},
		{"a rule for both", "ClusterTokenIssuer", `allow: [{namespaces: [a], namespaceSelector: {}, audiences: [b]}]`, "set exactly one of namespaces and namespaceSelector"},
		{"a rule without audience", "ClusterTokenIssuer", `allow: [{namespaces: [a]}]`, "audiences: Required value"},
	}
	t.Parallel()
	c, ns := cluster.admin, newNamespace(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object := spoiled(t, tt.kind, tt.spec)
			if tt.kind != "ClusterTokenIssuer" {
				object.SetNamespace(ns)
			}
			err := c.Create(t.Context(), object, client.FieldValidation(metav1.FieldValidationStrict))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Create = %v\nwant an error with %q", err, tt.want)
			}
			t.Logf("%v", err)
		})
	}
}

// spoiled merges a bad piece into a good spec; null removes a field.
func spoiled(t *testing.T, kind, piece string) *unstructured.Unstructured {
	t.Helper()
	good := goodIssuer
	if kind == "TokenGrant" {
		good = goodGrant
	}
	spec, bad := map[string]any{}, map[string]any{}
	if err := yaml.Unmarshal([]byte(good), &spec); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(piece), &bad); err != nil {
		t.Fatal(err)
	}
	if piece == "{}" {
		spec = bad
	}
	for k, v := range bad {
		if spec[k] = v; v == nil {
			delete(spec, k)
		}
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "tokengrant.dev/v1alpha1", "kind": kind,
		"metadata": map[string]any{"generateName": "bad-"}, "spec": spec,
	}}
	return object
}

// TestTheAPIServerFillsInNothing: a spec comes back as its author wrote it, an emptied list as empty.
func TestTheAPIServerFillsInNothing(t *testing.T) {
	t.Parallel()
	c, ns := cluster.admin, newNamespace(t)
	for _, piece := range []string{
		`check: {nextcloud: {url: "https://cloud.example.com/nextcloud"}}`,
		`check: {nextcloud: {url: "https://c.example.com", expect: {notInGroups: []}, paths: [{path: /Notes}]}}`,
		`{delivery: {secret: {}}, refresh: {}, scopes: []}`,
	} {
		object := spoiled(t, "TokenGrant", piece)
		object.SetNamespace(ns)
		want := object.DeepCopy().Object["spec"]
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, object.Object["spec"]); diff != "" {
			t.Errorf("%s: (-written +stored)\n%s", piece, diff)
		}
	}
}
