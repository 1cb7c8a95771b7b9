package schema

import (
	"strings"
	"testing"
)

const grant = `
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: notes-sync, namespace: apps}
spec:
  issuerRef: {name: keycloak}
  serviceAccount: {clientID: notes-sync, clientSecret: {secretRef: {name: notes-client}}}
  exchange: {audiences: [nextcloud]}
  check: {nextcloud: {url: https://cloud.example.com}}
`

const appPassword = `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`

const clusterIssuer = `
apiVersion: tokengrant.dev/v1alpha1
kind: ClusterTokenIssuer
metadata: {name: keycloak}
spec:
  url: https://id.example.com/realms/tokengrant
  serviceAccount: {clientID: nextcloud-mcp-server, clientSecret: {secretRef: {name: kc}}}
  allow:
  - {namespaces: [apps], audiences: [nextcloud]}
`

// refusals are what a user may write, and a part of the sentence they get: empty when it is taken.
type refusals []struct{ name, patch, want string }

func (cases refusals) run(t *testing.T, plural, manifest string) {
	t.Helper()
	s := load(t, plural)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, got := s.admit(t, manifest, tc.patch)
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("answer %q, want %q in it", got, tc.want)
			}
		})
	}
}

func TestTokenGrantsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 300)
	refusals{
		{"the grant that the others are made from", `{}`, ""},
		{"no issuer", `{spec: {issuerRef: null}}`, "set exactly one of issuerRef"},
		{"an app password beside an issuer", `{spec: {appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "set exactly one of issuerRef"},
		{"an app password beside a service account", `{spec: {issuerRef: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "spec.appPassword: Invalid value: an app password needs no issuer: remove serviceAccount, scopes, subject and exchange"},
		{"an app password", appPassword, ""},
		{"an app password that nobody checks", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, check: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, ""},
		{"an app password of no Nextcloud", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {from: {loginSecretRef: {name: login}}}}}`, "spec.appPassword.nextcloud: Required value"},
		{"an app password of nobody", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {}}}}`, "spec.appPassword.from: Invalid value: set loginSecretRef"},
		{"an app password that another server checks", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://other.example.com}, from: {loginSecretRef: {name: login}}}}}`, "spec.check.nextcloud.url: Invalid value: must be appPassword.nextcloud.url: no other server is shown the app password"},
		{"authorities of an app password at the wrong place", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, check: {nextcloud: {caRef: {name: ca}}}, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "spec.check.nextcloud.caRef: Invalid value: the server is reached as appPassword.nextcloud says: set appPassword.nextcloud.caRef instead"},
		{"an app password that is to be left", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, deletionPolicy: Leave, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "spec.deletionPolicy: Invalid value: an app password always ends with its TokenGrant: remove deletionPolicy"},
		{"an app password that expires", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, delivery: {secret: {onExpiry: Delete}}, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "spec.delivery.secret.onExpiry: Invalid value: an app password does not expire: remove onExpiry"},
		{"an overlap that is longer than the life", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}, rotation: {every: 1h, overlap: 1h}}}}`, "spec.appPassword.rotation.overlap: Invalid value: must be shorter than every, which is 720h by default"},
		{"no overlap", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}, rotation: {overlap: 0s}}}}`, "must be between 2m and 720h"},
		{"an app password with a margin", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, refresh: {before: 10s}, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}}}}`, "set appPassword.rotation instead"},
		{"an app password that rotates all the time", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: login}}, rotation: {every: 10m}}}}`, "between 1h and 8760h"},
		{"an app password over its login", `{spec: {issuerRef: null, serviceAccount: null, exchange: null, appPassword: {nextcloud: {url: https://cloud.example.com}, from: {loginSecretRef: {name: notes-sync}}}}}`, "holds the login"},
		{"a client certificate", `{spec: {serviceAccount: {clientSecret: null, certificate: {secretRef: {name: cert}}}}}`, ""},
		{"a client certificate beside a client secret", `{spec: {serviceAccount: {certificate: {secretRef: {name: cert}}}}}`, "set exactly one of clientSecret, privateKeyJWT, certificate and kubernetesToken"},
		{"an offline token", `{spec: {subject: {offlineTokenSecretRef: {name: alice}}}}`, ""},
		{"a token over the offline token", `{spec: {subject: {offlineTokenSecretRef: {name: notes-sync}}}}`, "holds the offline token"},
		{"a token over the session", `{spec: {delivery: {secret: {name: notes-sync-tokengrant-session}}}}`, "the operator keeps sessions: choose another name"},
		{"an offline token beside another subject", `{spec: {subject: {offlineTokenSecretRef: {name: alice}, tokenSecretRef: {name: x}}}}`, "set exactly one of tokenSecretRef, offlineTokenSecretRef and assertion"},
		{"an impersonation", `{spec: {exchange: {requestedSubject: alice}}}`, ""},
		{"an impersonation of nobody", `{spec: {exchange: {requestedSubject: ""}}}`, "spec.exchange.requestedSubject"},
		{"an impersonation by another than the service account", `{spec: {exchange: {requestedSubject: alice}, subject: {offlineTokenSecretRef: {name: alice}}}}`, "remove subject"},
		{"an issuer without a name", `{spec: {issuerRef: {name: ""}}}`, "spec.issuerRef.name"},
		{"an issuer of an unknown kind", `{spec: {issuerRef: {kind: Issuer}}}`, `supported values: "TokenIssuer", "ClusterTokenIssuer"`},
		{"an issuer of another namespace", `{spec: {issuerRef: {namespace: other}}}`, "unknown field: spec.issuerRef.namespace"},
		{"a Secret of another namespace", `{spec: {serviceAccount: {clientSecret: {secretRef: {namespace: other}}}}}`, "unknown field: spec.serviceAccount.clientSecret.secretRef.namespace"},
		{"a target in another namespace", `{spec: {delivery: {secret: {namespace: other}}}}`, "unknown field: spec.delivery.secret.namespace"},
		{"a misspelt field", `{spec: {exchnage: {audiences: [x]}}}`, "unknown field: spec.exchnage"},
		{"no service account of its own", `{spec: {serviceAccount: null}}`, ""},
		{"a client without a way to authenticate", `{spec: {serviceAccount: {clientSecret: null}}}`, "set exactly one of clientSecret, privateKeyJWT, certificate and kubernetesToken"},
		{"a client ID with a line break", `{spec: {serviceAccount: {clientID: "a\nb"}}}`, "clientID must be of printable ASCII characters"},
		{"an empty client ID", `{spec: {serviceAccount: {clientID: ""}}}`, "spec.serviceAccount.clientID"},
		{"an unknown way to send the secret", `{spec: {serviceAccount: {clientSecret: {method: Header}}}}`, `supported values: "Basic", "Post"`},
		{"two ways to authenticate", `{spec: {serviceAccount: {privateKeyJWT: {secretRef: {name: key}}}}}`, "set exactly one of clientSecret, privateKeyJWT, certificate and kubernetesToken"},
		{"a private key", `{spec: {serviceAccount: {clientSecret: null, privateKeyJWT: {secretRef: {name: key}}}}}`, ""},
		{"an algorithm that is not one of ours", `{spec: {serviceAccount: {clientSecret: null, privateKeyJWT: {secretRef: {name: key}, algorithm: HS256}}}}`, `supported values: "RS256", "PS256", "ES256"`},
		{"a Kubernetes token", `{spec: {serviceAccount: {clientSecret: null, kubernetesToken: {serviceAccountName: sync}}}}`, ""},
		{"the ServiceAccount that every pod shares", `{spec: {serviceAccount: {clientSecret: null, kubernetesToken: {serviceAccountName: default}}}}`, "use a ServiceAccount of its own"},
		{"a Kubernetes token of a minute", `{spec: {serviceAccount: {clientSecret: null, kubernetesToken: {serviceAccountName: sync, expirationSeconds: 60}}}}`, "greater than or equal to 600"},
		{"an empty subject", `{spec: {subject: {}}}`, "set exactly one of tokenSecretRef, offlineTokenSecretRef and assertion"},
		{"another party's token", `{spec: {subject: {tokenSecretRef: {name: alice}}}}`, ""},
		{"another party's token without an exchange", `{spec: {subject: {tokenSecretRef: {name: alice}}, exchange: null}}`, "subject.tokenSecretRef is a token to exchange"},
		{"scopes of another party's token", `{spec: {subject: {tokenSecretRef: {name: alice}}, scopes: [openid]}}`, "set exchange.scopes"},
		{"an assertion of nobody", `{spec: {subject: {assertion: {}}}}`, "set exactly one of tokenSecretRef and kubernetesToken"},
		{"an assertion that is published without an exchange", `{spec: {subject: {assertion: {tokenSecretRef: {name: a}}}, exchange: null, scopes: [openid]}}`, ""},
		{"an empty list of audiences", `{spec: {exchange: {audiences: []}}}`, "spec.exchange.audiences"},
		{"no audience", `{spec: {exchange: {audiences: null}}}`, "spec.exchange.audiences: Required value"},
		{"an empty audience", `{spec: {exchange: {audiences: [""]}}}`, "spec.exchange.audiences[0]"},
		{"an audience with a space", `{spec: {exchange: {audiences: ["a b"]}}}`, "an audience is one word without spaces"},
		{"an audience twice", `{spec: {exchange: {audiences: [a, a]}}}`, "spec.exchange.audiences: Invalid value: list each audience once"},
		{"an exchange that is dropped", `{spec: {exchange: null}}`, ""},
		{"two scopes in one", `{spec: {scopes: ["openid profile"]}}`, "list several scopes as several items"},
		{"a quote in a scope", `{spec: {scopes: ['open"id']}}`, "a scope is one word"},
		{"a Secret's name with capitals", `{spec: {delivery: {secret: {name: Notes}}}}`, "must be a valid name of a Secret"},
		{"a Secret's name that is too long", `{spec: {delivery: {secret: {name: ` + long + `}}}}`, "spec.delivery.secret.name"},
		{"a key of a Secret with a slash", `{spec: {delivery: {secret: {data: {a/b: x}}}}}`, "keys of data must be valid keys of a Secret"},
		{"a key of a Secret that goes up", `{spec: {delivery: {secret: {data: {..a: x}}}}}`, "keys of data must be valid keys of a Secret"},
		{"our own label", `{spec: {delivery: {secret: {labels: {tokengrant.dev/grant: x}}}}}`, "belong to the operator"},
		{"the label that says who manages", `{spec: {delivery: {secret: {labels: {app.kubernetes.io/managed-by: me}}}}}`, "belong to the operator"},
		{"a label's value with a space", `{spec: {delivery: {secret: {labels: {a: "b c"}}}}}`, "labels must be valid"},
		{"our own annotation", `{spec: {delivery: {secret: {annotations: {tokengrant.dev/published: "{}"}}}}}`, "annotations under tokengrant.dev/ belong to the operator"},
		{"the type of a Secret that the token controller fills", `{spec: {delivery: {secret: {type: kubernetes.io/service-account-token}}}}`, "unknown field: spec.delivery.secret.type"},
		{"the annotation that asks it to", `{spec: {delivery: {secret: {annotations: {kubernetes.io/service-account.name: default}}}}}`, "tell other programs that the Secret is theirs"},
		{"what kubectl applied last", `{spec: {delivery: {secret: {annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}}}}}`, "tell other programs"},
		{"a release of Helm's as the owner", `{spec: {delivery: {secret: {annotations: {meta.helm.sh/release-name: x}}}}}`, "tell other programs"},
		{"a policy of Helm's", `{spec: {delivery: {secret: {annotations: {helm.sh/resource-policy: keep}}}}}`, "tell other programs"},
		{"an annotation that only looks so", `{spec: {delivery: {secret: {annotations: {nothelm.sh/x: a, kubernetes.io/description: b}}}}}`, ""},
		{"a label that makes it a release of Helm's", `{spec: {delivery: {secret: {labels: {owner: helm, status: deployed}}}}}`, "owner=helm"},
		{"another owner", `{spec: {delivery: {secret: {labels: {owner: team-a}}}}}`, ""},
		{"a Secret's name in letters that look alike", `{spec: {delivery: {secret: {name: nоtes}}}}`, "must be a valid name of a Secret"},
		{"a Secret's name that ends in a dot", `{spec: {delivery: {secret: {name: notes.}}}}`, "must be a valid name of a Secret"},
		{"a Secret's name that goes up", `{spec: {delivery: {secret: {name: ../notes}}}}`, "must be a valid name of a Secret"},
		{"a key of a Secret in another script", `{spec: {delivery: {secret: {data: {ключ: x}}}}}`, "keys of data must be valid keys of a Secret"},
		{"a finalizer", `{spec: {delivery: {secret: {finalizers: [x]}}}}`, "unknown field: spec.delivery.secret.finalizers"},
		{"an owner", `{spec: {delivery: {secret: {ownerReferences: []}}}}`, "unknown field: spec.delivery.secret.ownerReferences"},
		{"labels and annotations of the user", `{spec: {delivery: {secret: {labels: {example.com/team: a}, annotations: {note: "any text"}}}}}`, ""},
		{"an unknown policy for expired tokens", `{spec: {delivery: {secret: {onExpiry: Remove}}}}`, `supported values: "Keep", "Delete"`},
		{"both margins", `{spec: {refresh: {before: 1m, beforePercentage: 20}}}`, "set before or beforePercentage, not both"},
		{"a margin of nothing", `{spec: {refresh: {before: 0s}}}`, "must be between 1s and 24h, such as 100s or 1h30m; there is no unit for days: write 24h"},
		{"a margin below nothing", `{spec: {refresh: {before: -1m}}}`, "must be between 1s and 24h, such as 100s or 1h30m; there is no unit for days: write 24h"},
		{"a margin of days", `{spec: {refresh: {before: 48h}}}`, "must be between 1s and 24h, such as 100s or 1h30m; there is no unit for days: write 24h"},
		{"a margin that is no duration", `{spec: {refresh: {before: soon}}}`, "spec.refresh.before"},
		{"a share of 4", `{spec: {refresh: {beforePercentage: 4}}}`, "greater than or equal to 5"},
		{"a share of 51", `{spec: {refresh: {beforePercentage: 51}}}`, "less than or equal to 50"},
		{"the widest margins", `{spec: {refresh: {before: 24h}}}`, ""},
		{"a Nextcloud without a URL", `{spec: {check: {nextcloud: {url: null}}}}`, "spec.check.nextcloud.url: Required value"},
		{"a Nextcloud by its host only", `{spec: {check: {nextcloud: {url: cloud.example.com}}}}`, "must be an absolute URL that begins with https:// in lower case"},
		{"a path that goes up", `{spec: {check: {nextcloud: {paths: [{path: /Notes/../etc}]}}}}`, "no . or .. in it"},
		{"a path with an empty name", `{spec: {check: {nextcloud: {paths: [{path: /a//b}]}}}}`, "no empty names, backslashes"},
		{"a path with a backslash", `{spec: {check: {nextcloud: {paths: [{path: '/a\..\b'}]}}}}`, "no empty names, backslashes"},
		{"a path with a line break", `{spec: {check: {nextcloud: {paths: [{path: "/a\nb"}]}}}}`, "control characters"},
		{"a Nextcloud whose host is no text", `{spec: {check: {nextcloud: {url: "https://%ff%fe.example.com/"}}}}`, "nothing percent-encoded"},
		{"a Nextcloud with a zone", `{spec: {check: {nextcloud: {url: "https://[fe80::1%25eth0]/"}}}}`, "must name a host in letters"},
		{"a Nextcloud whose letters look alike", `{spec: {check: {nextcloud: {url: "https://clоud.example.com"}}}}`, "printable ASCII"},
		{"a path from nowhere", `{spec: {check: {nextcloud: {paths: [{path: Notes}]}}}}`, "path must begin with /"},
		{"an unknown access", `{spec: {check: {nextcloud: {paths: [{path: /Notes, access: Delete}]}}}}`, `supported values: "Read", "Write"`},
		{"a path", `{spec: {check: {nextcloud: {paths: [{path: /Notes, access: Write}]}}}}`, ""},
		{"an interval of a second", `{spec: {check: {interval: 1s}}}`, "must be between 10s and 24h, such as 10m; there is no unit for days: write 24h"},
		{"an unknown policy", `{spec: {check: {policy: Ignore}}}`, `supported values: "Enforce", "Warn"`},
		{"an administrator who is welcome", `{spec: {check: {nextcloud: {expect: {notInGroups: []}}}}}`, ""},
		{"an empty group", `{spec: {check: {nextcloud: {expect: {groups: [""]}}}}}`, "spec.check.nextcloud.expect.groups[0]"},
		{"authorities of an unknown kind", `{spec: {check: {nextcloud: {caRef: {name: ca, kind: Pod}}}}}`, `supported values: "ConfigMap", "Secret"`},
	}.run(t, "tokengrants", grant)
}

func TestClusterTokenIssuersThatAreRefused(t *testing.T) {
	refusals{
		{"the issuer that the others are made from", `{}`, ""},
		{"no URL", `{spec: {url: null}}`, "spec.url: Required value"},
		{"an empty URL", `{spec: {url: ""}}`, "spec.url"},
		{"plain http, which the operator's flag may allow", `{spec: {url: "http://127.0.0.1:8080/realms/x"}}`, ""},
		{"another scheme", `{spec: {url: "ftp://id.example.com/realms/x"}}`, "must be an absolute URL that begins with https:// in lower case"},
		{"a URL without a host", `{spec: {url: "https:///realms/x"}}`, "must name a host"},
		{"a URL with a password", `{spec: {url: "https://me:secret@id.example.com/realms/x"}}`, "no user name"},
		{"a URL with a query", `{spec: {url: "https://id.example.com/realms/x?y=z"}}`, "must have no query and no fragment"},
		{"a URL with a fragment", `{spec: {url: "https://id.example.com/realms/x#y"}}`, "must have no query and no fragment"},
		{"a URL with a space", `{spec: {url: "https://id.example.com/realms/x y"}}`, "spec.url"},
		{"a host of endpoints", `{spec: {endpointHosts: [login.example.com, "id.example.com:8443"]}}`, ""},
		{"a host of endpoints as a URL", `{spec: {endpointHosts: ["https://login.example.com"]}}`, "must be a host name"},
		{"a host of endpoints with a path", `{spec: {endpointHosts: [login.example.com/x]}}`, "must be a host name"},
		{"any host of endpoints", `{spec: {endpointHosts: ["*.example.com"]}}`, "must be a host name"},
		{"a host of endpoints with a user", `{spec: {endpointHosts: ["login.example.com:443@evil.example"]}}`, "must be a host name"},
		{"a host of endpoints in letters that look alike", `{spec: {endpointHosts: [lоgin.example.com]}}`, "must be a host name"},
		{"rules without a service account", `{spec: {serviceAccount: null}}`, "a rule without requestedSubjects is about the issuer's own serviceAccount, and there is none"},
		{"a service account without rules", `{spec: {allow: null}}`, ""},
		{"a rule for nobody", `{spec: {allow: [{audiences: [nextcloud]}]}}`, "set exactly one of namespaces and namespaceSelector"},
		{"a rule with names and labels", `{spec: {allow: [{namespaces: [apps], namespaceSelector: {}, audiences: [nextcloud]}]}}`, "set exactly one of namespaces and namespaceSelector"},
		{"a rule for every namespace", `{spec: {allow: [{namespaceSelector: {}, audiences: ["*"]}]}}`, ""},
		{"a rule for a user", `{spec: {allow: [{namespaces: [apps], audiences: [nextcloud], requestedSubjects: [alice]}]}}`, ""},
		{"a rule for every user", `{spec: {allow: [{namespaces: [apps], audiences: [nextcloud], requestedSubjects: ["*"]}]}}`, "list the users by name"},
		{"a rule without audiences", `{spec: {allow: [{namespaces: [apps], audiences: []}]}}`, "spec.allow[0].audiences"},
		{"a name that no namespace can have", `{spec: {allow: [{namespaces: [Apps], audiences: [nextcloud]}]}}`, "spec.allow[0].namespaces[0]"},
		{"no requests at all", `{spec: {limits: {requestsPerSecond: 0}}}`, "spec.limits.requestsPerSecond"},
		{"too much at once", `{spec: {limits: {concurrency: 2000}}}`, "spec.limits.concurrency"},
	}.run(t, "clustertokenissuers", clusterIssuer)
}

func TestTokenIssuersThatAreRefused(t *testing.T) {
	issuer := strings.NewReplacer("ClusterTokenIssuer", "TokenIssuer", "  allow:\n  - {namespaces: [apps], audiences: [nextcloud]}\n", "").Replace(clusterIssuer)
	refusals{
		{"the issuer that the others are made from", `{}`, ""},
		{"rules: it is for its own namespace only", `{spec: {allow: [{namespaces: [apps], audiences: [nextcloud]}]}}`, "unknown field: spec.allow"},
	}.run(t, "tokenissuers", issuer)
}
