package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// catalogue gives the values of all constants of type Reason in conditions.go.
func catalogue(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", read(t, "api/v1alpha1/conditions.go"), 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil || "Reason"+value != spec.Names[0].Name {
			t.Errorf("constant %s has the value %q: a reason is called what it is", spec.Names[0].Name, value)
		}
		reasons = append(reasons, value)
		return true
	})
	slices.Sort(reasons)
	return reasons
}

// TestEveryReasonIsDocumented: docs/reasons.md has one heading of level 3 for each reason, and no other of that level.
func TestEveryReasonIsDocumented(t *testing.T) {
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(read(t, "docs/reasons.md"), -1) {
		headings = append(headings, m[1])
	}
	slices.Sort(headings)
	if diff := cmp.Diff(catalogue(t), headings); diff != "" {
		t.Errorf("reasons (-conditions.go +docs/reasons.md):\n%s", diff)
	}
}

func TestEveryReasonOfAProtocolIsInTheCatalogue(t *testing.T) {
	known := catalogue(t)
	for name, reasons := range map[string][]string{"keycloak": keycloak.Reasons(), "nextcloud": nextcloud.Reasons()} {
		for _, r := range reasons {
			if !slices.Contains(known, r) {
				t.Errorf("%s can answer %q, which conditions.go does not have", name, r)
			}
		}
	}
}
