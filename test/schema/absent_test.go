package schema

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// What an empty field means.
const (
	same    = "the same"
	refused = "refused"
)

// absent has the patches that take a field away and that leave it empty, for each row of the tables in docs/api.md.
var absent = map[string]struct{ plural, manifest, absent, empty string }{
	"serviceAccount":                     {"tokengrants", grant, `{spec: {serviceAccount: null}}`, `{spec: {serviceAccount: {clientID: null, clientSecret: null}}}`},
	"scopes":                             {"tokengrants", grant, `{}`, `{spec: {scopes: []}}`},
	"subject":                            {"tokengrants", grant, `{}`, `{spec: {subject: {}}}`},
	"exchange":                           {"tokengrants", grant, `{spec: {exchange: null}}`, `{spec: {exchange: {audiences: null}}}`},
	"exchange.scopes":                    {"tokengrants", grant, `{}`, `{spec: {exchange: {scopes: []}}}`},
	"delivery":                           {"tokengrants", grant, `{}`, `{spec: {delivery: {}}}`},
	"check":                              {"tokengrants", grant, `{spec: {check: null}}`, `{spec: {check: {nextcloud: null}}}`},
	"check.nextcloud.expect.groups":      {"tokengrants", grant, `{}`, `{spec: {check: {nextcloud: {expect: {groups: []}}}}}`},
	"check.nextcloud.expect.notInGroups": {"tokengrants", grant, `{}`, `{spec: {check: {nextcloud: {expect: {notInGroups: []}}}}}`},
	"deletionPolicy":                     {"tokengrants", grant, `{}`, `{spec: {deletionPolicy: ""}}`},
	"allow":                              {"clustertokenissuers", clusterIssuer, `{spec: {allow: null}}`, `{spec: {allow: []}}`},
	"allow[].scopes": {
		"clustertokenissuers", clusterIssuer, `{spec: {allow: [{namespaces: [a], audiences: [b]}]}}`, `{spec: {allow: [{namespaces: [a], audiences: [b], scopes: []}]}}`,
	},
	"allow[].requestedSubjects": {
		"clustertokenissuers", clusterIssuer, `{spec: {allow: [{namespaces: [a], audiences: [b]}]}}`, `{spec: {allow: [{namespaces: [a], audiences: [b], requestedSubjects: []}]}}`,
	},
}

// TestTheTablesOfAbsentFields holds docs/api.md: what an absent field means stands in TestAbsentFields, and here whether an empty
// one means the same.
func TestTheTablesOfAbsentFields(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, table := range strings.Split(string(page), "| field | when it is absent | when it is empty |\n|---|---|---|\n")[1:] {
		table, _, _ = strings.Cut(table, "\n\n")
		for line := range strings.Lines(table) {
			cells := strings.Split(line, " | ")
			name, meaning := strings.Trim(cells[0], "|` "), strings.Trim(cells[2], "| \n")
			t.Run(name, func(t *testing.T) { emptyMeans(t, name, meaning) })
			rows++
		}
	}
	if rows != len(absent) {
		t.Errorf("docs/api.md has %d rows, want %d", rows, len(absent))
	}
}

func emptyMeans(t *testing.T, name, meaning string) {
	t.Helper()
	row, ok := absent[name]
	if !ok {
		t.Fatal("there is no test of it")
	}
	s := load(t, row.plural)
	without, answer := s.admit(t, row.manifest, row.absent)
	if answer != "" {
		t.Fatalf("absent, it is refused: %s", answer)
	}
	empty, answer := s.admit(t, row.manifest, row.empty)
	switch {
	case (answer != "") != (meaning == refused):
		t.Errorf("empty, it is answered %q, and the page says: %s", answer, meaning)
	case answer == "" && equal(t, row.plural, without, empty) != (meaning == same):
		t.Errorf("the page says: %s", meaning)
	}
}

// equal says whether two specs mean the same to the operator.
func equal(t *testing.T, plural string, a, b map[string]any) bool {
	t.Helper()
	return cmp.Equal(read(t, plural, a), read(t, plural, b), cmp.FilterPath(func(p cmp.Path) bool {
		return !strings.HasSuffix(p.String(), "NotInGroups") // Here an empty list is none.
	}, cmpopts.EquateEmpty()))
}

func read(t *testing.T, plural string, object map[string]any) any {
	t.Helper()
	if plural == "tokengrants" {
		var g v1alpha1.TokenGrant
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &g); err != nil {
			t.Fatal(err)
		}
		g.Default()
		return g.Spec
	}
	var i v1alpha1.ClusterTokenIssuer
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &i); err != nil {
		t.Fatal(err)
	}
	return i.Spec
}
