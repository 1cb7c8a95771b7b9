package integration

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestTypedClientOfTheExamples applies the same again and again, and nothing changes. The second time the API server stores the
// default of the status, which it has only shown until then.
func TestTypedClientOfTheExamples(t *testing.T) {
	namespace := newNamespace(t)
	var versions []string
	for range 3 {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "run", "./examples/typed-client", "-namespace", namespace, "-timeout", "0", "-kubeconfig", cluster.kubeconfig)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "is applied") {
			t.Fatalf("%v\n%s", err, out)
		}
		var g v1alpha1.TokenGrant
		if err := cluster.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "notes-sync"}, &g); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, g.ResourceVersion)
	}
	if versions[1] != versions[2] {
		t.Errorf("the resource versions are %v", versions)
	}
}
