package schema

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestWhatIsNamedIsValidatedWhereItIsWritten: a name that no object can have is refused with its path, and not found missing
// later.
func TestWhatIsNamedIsValidatedWhereItIsWritten(t *testing.T) {
	const name, key = "must be the name of a Secret: lower case letters, digits, '-' and '.'", "must be a key of a Secret: letters, digits, '-', '_' and '.'"
	app := func(rest string) string {
		return `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}` + rest + `}}}`
	}
	refusals{
		{"an issuer", `{spec: {issuerRef: {name: "Not A Name/.."}}}`, "spec.issuerRef.name: Invalid value: \"Not A Name/..\": must be the name of an issuer: lower case letters, digits, '-' and '.'"},
		{"an issuer of another group", `{spec: {issuerRef: {group: cert-manager.io}}}`, `spec.issuerRef.group: Unsupported value: "cert-manager.io": supported values: "tokengrant.dev"`},
		{"an issuer of our group", `{spec: {issuerRef: {group: tokengrant.dev}}}`, ""},
		{"a client secret", `{spec: {serviceAccount: {clientSecret: {secretRef: {name: "No Such/Name"}}}}}`, "spec.serviceAccount.clientSecret.secretRef.name: Invalid value: \"No Such/Name\": " + name},
		{"a key of a client secret", `{spec: {serviceAccount: {clientSecret: {secretRef: {key: "a/b c"}}}}}`, "spec.serviceAccount.clientSecret.secretRef.key: Invalid value: \"a/b c\": " + key},
		{"a private key", `{spec: {serviceAccount: {clientSecret: null, privateKeyJWT: {secretRef: {name: "A b"}}}}}`, name},
		{"a certificate", `{spec: {serviceAccount: {clientSecret: null, certificate: {secretRef: {name: "A b"}}}}}`, name},
		{"a ServiceAccount", `{spec: {serviceAccount: {clientSecret: null, kubernetesToken: {serviceAccountName: "A B"}}}}`, "must be the name of a ServiceAccount"},
		{"an audience of a token with a line break", `{spec: {serviceAccount: {clientSecret: null, kubernetesToken: {serviceAccountName: a, audience: "a\nb"}}}}`, "spec.serviceAccount.kubernetesToken.audience: Invalid value: \"a\\nb\": must be one word of printable ASCII characters"},
		{"a key ID with a line break", `{spec: {serviceAccount: {clientSecret: null, privateKeyJWT: {secretRef: {name: a}, keyID: "a\nb"}}}}`, "must be of printable ASCII characters"},
		{"a login", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: "A b"}}}}}`, name},
		{"authorities", `{spec: {check: {nextcloud: {caRef: {name: "A b"}}}}}`, "must be the name of a ConfigMap or Secret"},
		{"a key of authorities", `{spec: {check: {nextcloud: {caRef: {name: ca, key: a/b}}}}}`, "must be a key of a ConfigMap or Secret"},
		{"an audience with a wildcard", `{spec: {exchange: {audiences: ["*"]}}}`, "spec.exchange.audiences: Invalid value: name each audience: there are no wildcards here"},
		{"every user", `{spec: {exchange: {requestedSubject: "*"}}}`, "must be the name or ID of one user"},
		{"a user with a line break", `{spec: {exchange: {requestedSubject: "a\nb "}}}`, "must be the name or ID of one user, without control characters"},
		{"a group that is excluded", `{spec: {check: {nextcloud: {expect: {groups: [x], notInGroups: [x]}}}}}`, "spec.check.nextcloud.expect.groups: Invalid value: a user cannot be in a group of notInGroups, which is [admin] by default: remove the group from one of both"},
		{"administrators, who are excluded", `{spec: {check: {nextcloud: {expect: {groups: [admin]}}}}}`, "a user cannot be in a group of notInGroups"},
		{"administrators who are welcome", `{spec: {check: {nextcloud: {expect: {groups: [admin], notInGroups: []}}}}}`, ""},
		{"a check of nothing", `{spec: {check: {nextcloud: null, policy: Warn}}}`, "spec.check: Invalid value: set nextcloud: the server that is asked"},
		{"no scopes beside another party's token", `{spec: {scopes: [], subject: {tokenSecretRef: {name: a}}}}`, ""},
		{"no scopes beside an app password", strings.Replace(app(""), "{spec: {", "{spec: {scopes: [], ", 1), ""},
		{"a margin of a day", `{spec: {refresh: {before: 1d}}}`, "spec.refresh.before: Invalid value: \"1d\": must be between 1s and 24h, such as 100s or 1h30m; there is no unit for days: write 24h"},
		{"a margin in words", `{spec: {refresh: {before: "10 minutes"}}}`, "there is no unit for days"},
		{"no margin in quotes", `{spec: {refresh: {before: ""}}}`, "spec.refresh.before: Invalid value: \"\": must be between 1s and 24h"},
		{"a margin that overflows", `{spec: {refresh: {before: 99999999999h}}}`, "must be between 1s and 24h"},
		{"an interval of days", `{spec: {check: {interval: 1d}}}`, "spec.check.interval: Invalid value: \"1d\": must be between 10s and 24h, such as 10m; there is no unit for days: write 24h"},
		{"a rotation of days", app(", rotation: {every: 30d}"), "spec.appPassword.rotation.every: Invalid value: \"30d\": must be between 1h and 8760h; there is no unit for days: write 720h"},
		{"a label whose prefix is too long", `{spec: {delivery: {secret: {labels: {` + strings.Repeat("a.", 130) + `b/c: x}}}}}`, "the prefix of a key has at most 253 characters"},
		{"an annotation in capitals, as Kubernetes takes it", `{spec: {delivery: {secret: {annotations: {Example.com/x: z}}}}}`, ""},
		{"our own annotation in capitals", `{spec: {delivery: {secret: {annotations: {TokenGrant.dev/x: z}}}}}`, "annotations under tokengrant.dev/ belong to the operator"},
		{"more annotations than an object takes", `{spec: {delivery: {secret: {annotations: {` + many(33) + `}}}}}`, "must have at most 32 items"},
	}.run(t, "tokengrants", grant)
}

func many(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("a%d: x", i))
	}
	return strings.Join(keys, ", ")
}

// TestTheTargetIsNoSource: a credential is never written over what it was made from, whatever the reference.
func TestTheTargetIsNoSource(t *testing.T) {
	const path = "spec.delivery.secret.name: Invalid value: "
	over := func(what string) string {
		return path + "the credential would be written into the Secret that holds " + what + ": choose another name"
	}
	app := `{spec: {issuerRef: null, serviceAccount: null, exchange: null, check: null, appPassword: {nextcloud: {url: https://cloud.example.com%s}, from: {loginSecretRef: {name: %s}}}}}`
	refusals{
		{"a client secret", `{spec: {serviceAccount: {clientSecret: {secretRef: {name: notes-sync}}}}}`, over("the client secret")},
		{"a client secret under another name", `{spec: {delivery: {secret: {name: notes-client}}}}`, over("the client secret")},
		{"another name", `{spec: {serviceAccount: {clientSecret: {secretRef: {name: notes-sync}}}, delivery: {secret: {name: other}}}}`, ""},
		{"a private key", `{spec: {serviceAccount: {clientSecret: null, privateKeyJWT: {secretRef: {name: notes-sync}}}}}`, over("the private key")},
		{"a certificate", `{spec: {serviceAccount: {clientSecret: null, certificate: {secretRef: {name: notes-sync}}}}}`, over("the client certificate")},
		{"a subject token", `{spec: {subject: {tokenSecretRef: {name: notes-sync}}}}`, over("the subject token")},
		{"an offline token", `{spec: {subject: {offlineTokenSecretRef: {name: notes-sync}}}}`, over("the offline token")},
		{"an assertion", `{spec: {subject: {assertion: {tokenSecretRef: {name: notes-sync}}}}}`, over("the assertion")},
		{"a login", fmt.Sprintf(app, "", "notes-sync"), over("the login")},
		{"authorities", `{spec: {check: {nextcloud: {caRef: {kind: Secret, name: notes-sync}}}}}`, over("the certificate authorities of check.nextcloud")},
		{"authorities in a ConfigMap", `{spec: {check: {nextcloud: {caRef: {name: notes-sync}}}}}`, ""},
		{"authorities of the server of an app password", fmt.Sprintf(app, ", caRef: {kind: Secret, name: notes-sync}", "login"), over("the certificate authorities of appPassword.nextcloud")},
		{"a session", `{spec: {delivery: {secret: {name: other-tokengrant-session}}}}`, path + "names that end in -tokengrant-session are for the Secrets in which the operator keeps sessions: choose another name"},
	}.run(t, "tokengrants", grant)
}

func TestAddressesAreValidatedWhereTheyAreWritten(t *testing.T) {
	const host, well = "must name a host in letters", "spec.url: Invalid value: \"https://id.example.com/realms/x/.well-known/openid-configuration\": must be the issuer itself, as its discovery document names it: remove /.well-known/ and what follows"
	refusals{
		{"port 0", `{spec: {url: "https://id.example.com:0/realms/x"}}`, host},
		{"port 99999", `{spec: {url: "https://id.example.com:99999/realms/x"}}`, host},
		{"the last port", `{spec: {url: "https://id.example.com:65535/realms/x"}}`, ""},
		{"a scheme in capitals", `{spec: {url: "HTTPS://id.example.com/realms/x"}}`, "must be an absolute URL that begins with https:// in lower case"},
		{"the discovery document", `{spec: {url: "https://id.example.com/realms/x/.well-known/openid-configuration"}}`, well},
		{"an at sign in the path", `{spec: {url: "https://id.example.com/@team"}}`, ""},
		{"a port of endpoints that is none", `{spec: {endpointHosts: ["a:99999"]}}`, "spec.endpointHosts[0]: Invalid value: \"a:99999\": must be a host name in lower case or an address"},
		{"a host of endpoints with an empty label", `{spec: {endpointHosts: ["a..b"]}}`, "must be a host name"},
		{"an address of endpoints", `{spec: {endpointHosts: ["[2001:db8::1]:8443", "192.0.2.1"]}}`, ""},
		{"every namespace", `{spec: {allow: [{namespaces: ["*"], audiences: [nextcloud]}]}}`, "spec.allow[0].namespaces[0]: Invalid value: \"*\": must be the name of a namespace; for all namespaces set namespaceSelector: {} instead"},
		{"audiences that look like a pattern", `{spec: {allow: [{namespaces: [a], audiences: ["next*"]}]}}`, "spec.allow[0].audiences: Invalid value: \"*\" alone is any audience; name the others in full"},
		{"any audience beside one", `{spec: {allow: [{namespaces: [a], audiences: ["*", x]}]}}`, "\"*\" alone is any audience"},
		{"scopes that look like a pattern", `{spec: {allow: [{namespaces: [a], audiences: [x], scopes: ["*"]}]}}`, "spec.allow[0].scopes: Invalid value: name each scope; remove the field to allow all"},
		{"no scopes, which would allow all", `{spec: {allow: [{namespaces: [a], audiences: [x], scopes: []}]}}`, "spec.allow[0].scopes: Invalid value: 0: spec.allow[0].scopes in body should have at least 1 items"},
		{"rules that Helm renders empty", `{spec: {serviceAccount: null, allow: []}}`, ""},
		{"a rule about users without a service account", `{spec: {serviceAccount: null, allow: [{namespaces: [a], audiences: [x], requestedSubjects: [bob]}]}}`, ""},
		{"a client secret", `{spec: {serviceAccount: {clientSecret: {secretRef: {name: "A b"}}}}}`, "must be the name of a Secret"},
		{"authorities", `{spec: {caRef: {name: "A b"}}}`, "must be the name of a ConfigMap or Secret"},
	}.run(t, "clustertokenissuers", clusterIssuer)
	refusals{
		{"the front page", `{spec: {check: {nextcloud: {url: "https://cloud.example.com/index.php"}}}}`, "spec.check.nextcloud.url: Invalid value: \"https://cloud.example.com/index.php\": must be the address of the Nextcloud itself, such as https://cloud.example.com: remove /index.php, /ocs or /remote.php and what follows"},
		{"the OCS API", `{spec: {check: {nextcloud: {url: "https://cloud.example.com/nc/ocs/v2.php"}}}}`, "must be the address of the Nextcloud itself"},
		{"a folder", `{spec: {check: {nextcloud: {url: "https://example.com/nextcloud"}}}}`, ""},
	}.run(t, "tokengrants", grant)
}

// TestOldObjectsAreNotLocked: a root rule is asked at every write, also of metadata and status (there is no ratcheting for it).
// A grant that was stored before the rule must still lose its finalizer.
func TestOldObjectsAreNotLocked(t *testing.T) {
	s := load(t, "tokengrants")
	bad := patched(t, grant, `{metadata: {name: x-tokengrant-session, finalizers: [a]}, spec: {check: {nextcloud: {caRef: {kind: Secret, name: x-tokengrant-session}}},
		serviceAccount: {clientSecret: {secretRef: {name: x-tokengrant-session}}}, subject: {tokenSecretRef: {name: x-tokengrant-session}}}}`)
	if got := s.change(t, nil, bad); strings.Count(got, "choose another name") != 4 {
		t.Fatalf("a new grant like this is answered %q", got)
	}
	freed := runtime.DeepCopyJSON(bad)
	unstructured.RemoveNestedField(freed, "metadata", "finalizers")
	if got := s.change(t, bad, freed); got != "" {
		t.Errorf("its finalizer cannot be removed: %s", got)
	}
	edited := runtime.DeepCopyJSON(bad)
	if err := unstructured.SetNestedField(edited, true, "spec", "suspend"); err != nil {
		t.Fatal(err)
	}
	if got := s.change(t, bad, edited); got == "" {
		t.Error("its spec can be changed and keep the fault")
	}
}
