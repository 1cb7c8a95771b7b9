package audit

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

// As kube-apiserver 1.37 writes them, but for what is not read; the last line is not yet complete.
const written = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","verb":"get","requestURI":"/apis"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"secrets","namespace":"apps","apiVersion":"v1"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"secrets","namespace":"apps","apiVersion":"v1"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"tokengrants","namespace":"apps","name":"notes","apiGroup":"tokengrant.dev","apiVersion":"v1alpha1","subresource":"status"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","verb":"get","objectRef":{"resource":"leases","namespace":"system","name":"ours","apiGroup":"coordination.k8s.io"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","verb":"list","objectRef":{"resource":"pods","namespace":"apps"},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"kind":"Event","api`

func TestSurplusIsWhatNobodyUsed(t *testing.T) {
	requests, err := parse(strings.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	if len(requests) != 4 {
		t.Errorf("%d kinds of requests, want 4: %v", len(requests), requests)
	}
	rule := func(group, resources, verbs string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs), ResourceNames: names}
	}
	for name, c := range map[string]struct {
		rule rbacv1.PolicyRule
		want []string
	}{
		"a verb that was used":                                {rule("", "secrets", "watch"), nil},
		"verbs and resources that were not":                   {rule("", "secrets configmaps", "watch list"), []string{"configmaps list", "configmaps watch", "secrets list"}},
		"a subresource is not the resource":                   {rule("tokengrant.dev", "tokengrants tokengrants/status", "patch"), []string{"tokengrant.dev/tokengrants patch"}},
		"the same resource of another group":                  {rule("tokengrant.dev", "secrets", "watch"), []string{"tokengrant.dev/secrets watch"}},
		"an object by its name":                               {rule("coordination.k8s.io", "leases", "get", "theirs", "ours"), nil},
		"another object":                                      {rule("coordination.k8s.io", "leases", "get", "theirs"), []string{"coordination.k8s.io/leases get"}},
		"what was refused, before it was given, was not used": {rule("", "pods", "list"), []string{"pods list"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Surplus([]rbacv1.PolicyRule{c.rule}, requests)); diff != "" {
				t.Errorf("surplus (-want +got):\n%s", diff)
			}
		})
	}
	if refused := Refused(requests); len(refused) != 1 || refused[0].String() != `pods list, named "" in namespace "apps"` {
		t.Errorf("refused: %v", refused)
	}
}

func TestEveryPermissionIsUsedOrExplained(t *testing.T) {
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "delete"}}}
	used := []Request{{Resource: "secrets", Verb: "get", Allowed: true}}
	for name, c := range map[string]struct {
		used    []Request
		reasons map[string]string
		want    string
	}{
		"all explained":         {used, map[string]string{"secrets delete": "x"}, ""},
		"not explained":         {used, nil, `the operator may "secrets delete" and never did`},
		"a reason for nothing":  {used, map[string]string{"secrets delete": "x", "pods get": "x"}, `"pods get" is explained`},
		"a log of someone else": {nil, map[string]string{"secrets delete": "x", "secrets get": "x"}, "no request"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Unexplained(rules, c.used, c.reasons)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
