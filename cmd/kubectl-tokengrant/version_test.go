package main

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func newer(b *bench, fields ...string) *bench {
	b.unknownFields = func(context.Context) ([]string, error) { return fields, nil }
	return b
}

func TestVersionSaysWhetherTheCRDsAreNewer(t *testing.T) {
	release = "v1.2.3"
	t.Cleanup(func() { release = "" })
	fields := []string{"TokenGrant spec.check.http", "TokenGrant spec.delivery.volume", "TokenGrant spec.exchange.onlyFor", "TokenIssuer spec.caRef.pin"}
	newBench(t, interceptor.Funcs{}).golden(t, "version", exitGood, "version")
	newer(newBench(t, interceptor.Funcs{}), fields...).golden(t, "version-older", exitGood, "version")
	newer(newBench(t, interceptor.Funcs{}), fields...).golden(t, "version-older-json", exitGood, "version", "-o", "json")
	b := newBench(t, interceptor.Funcs{})
	b.unknownFields = func(context.Context) ([]string, error) { return nil, errors.New("the connection is refused") }
	b.golden(t, "version-no-cluster", exitGood, "version")
}

func TestAnOlderPluginSaysSo(t *testing.T) {
	fields := []string{"TokenGrant spec.check.http", "TokenGrant spec.delivery.volume", "TokenGrant spec.exchange.onlyFor", "TokenIssuer spec.caRef.pin"}
	objects := append(clusterObjects(), readyGrant())
	newer(newBench(t, interceptor.Funcs{}, objects...), fields...).golden(t, "status-older", exitGood, "status", "notes-sync", "-n", "apps")
	newer(newBench(t, interceptor.Funcs{}, objects...), fields[:1]...).golden(t, "table-older", exitGood, "status", "-n", "apps")
	newer(install(t).bench(t), fields...).golden(t, "doctor-older", exitGood, "doctor", "notes-sync", "-n", "apps")
}

// TestJSONOfAnOlderPluginIsStillJSON: the warning is on the other stream.
func TestJSONOfAnOlderPluginIsStillJSON(t *testing.T) {
	b := newer(newBench(t, interceptor.Funcs{}, append(clusterObjects(), readyGrant())...), "TokenGrant spec.check.http")
	b.run(t.Context(), []string{"status", "notes-sync", "-n", "apps", "-o", "json"})
	if !strings.HasPrefix(b.out.String(), "{") || !strings.Contains(b.errOut.String(), "older than the CRD") {
		t.Errorf("out %q, err %q", b.out.String(), b.errOut.String())
	}
}

// TestEveryReasonOfTheCatalogueIsKnown: otherwise a reason of this very version would be called unknown.
func TestEveryReasonOfTheCatalogueIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if _, known := stageOfReason[reason]; err != nil || !known {
			t.Errorf("stages.go does not know %s", spec.Names[0].Name)
		}
		reasons++
		return true
	})
	if reasons < 30 {
		t.Errorf("only %d reasons were found", reasons)
	}
}
