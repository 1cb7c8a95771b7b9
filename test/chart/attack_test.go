package chart

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/test/attack"
)

// TestWhoTakesOverTheOperatorCanDoWhatIsListed tries everything with the operator's own token. What succeeds is what
// docs/threat-model.md lists, no more and no less.
func TestWhoTakesOverTheOperatorCanDoWhatIsListed(t *testing.T) {
	listed := listedAttempts(t)
	for name, test := range map[string]struct {
		values []string
		want   []string
	}{
		"by default":                     {nil, listed["default install"]},
		"outside of its namespaces only": {[]string{"watchNamespaces={apps}"}, listed["`watchNamespaces`, elsewhere"]},
	} {
		t.Run(name, func(t *testing.T) {
			c := emptyCluster(t)
			args := []string{"install", release, shared.chart, "--set", "operatorPolicy.apiAudiences={" + c.URL + "}"}
			for _, v := range test.values {
				args = append(args, "--set", v)
			}
			c.helm(t, 4, args...)
			config, _, err := c.ServiceAccount(t.Context(), namespace, stack.OperatorServiceAccount)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, succeeded(t, c, config)); diff != "" {
				t.Errorf("docs/threat-model.md (-) and the API server (+) differ:\n%s", diff)
			}
		})
	}
}

// TestKustomizeBoundsTheOperatorAsTheChartDoes, but for the API server's own issuer, which an overlay has to add: it also
// takes the place of an empty list, before a policy sees it.
func TestKustomizeBoundsTheOperatorAsTheChartDoes(t *testing.T) {
	c := emptyCluster(t)
	for _, part := range []string{"config/crd", "config/rbac", "config/operator-policy"} {
		c.kubectl(t, "apply", "--server-side", "--kustomize", part)
		t.Cleanup(func() { c.kubectl(t, "delete", "--kustomize", part) })
	}
	config, _, err := c.ServiceAccount(t.Context(), namespace, stack.OperatorServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	want := listedAttempts(t)["default install"]
	want = append(want, "get one of it for no audience", "get one of it for an audience of the API server that `apiAudiences` names")
	slices.Sort(want)
	if diff := cmp.Diff(want, succeeded(t, c, config)); diff != "" {
		t.Errorf("docs/threat-model.md (-) and the API server (+) differ:\n%s", diff)
	}
}

// succeeded makes all attempts in a new namespace, once the policies work.
func succeeded(t *testing.T, c *cluster, config *rest.Config) []string {
	t.Helper()
	victim := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "victim-"}}
	c.create(victim)
	if err := attack.Prepare(t.Context(), c.Client, victim.Name); err != nil {
		t.Fatal(err)
	}
	attacker, err := attack.New(config, namespace, victim.Name, c.URL)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := client.New(config, client.Options{Scheme: shared.scheme})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: victim.Name, Name: "probe"}}
		return apierrors.IsForbidden(operator.Create(t.Context(), probe, client.DryRunAll))
	})
	var names []string
	results := attacker.Run(t.Context())
	for _, r := range results {
		status := apierrors.APIStatus(nil)
		switch {
		case r.Err == nil:
			names = append(names, r.Name)
		case !errors.As(r.Err, &status):
			t.Errorf("%s: no answer of the API server: %v", r.Name, r.Err)
		case !apierrors.IsForbidden(r.Err):
			t.Errorf("%s: neither let through nor forbidden: %v", r.Name, r.Err)
		default:
			t.Logf("%s: %v", r.Name, r.Err)
		}
	}
	if len(results) < 30 {
		t.Errorf("%d attempts", len(results))
	}
	slices.Sort(names)
	return names
}

// listedAttempts reads the table: the attempts that succeed, by the heading of the column that says yes.
func listedAttempts(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(shared.root, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n## What the operator's credential can do\n")
	if !found {
		t.Fatal("docs/threat-model.md has no table of attempts")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	var heads []string
	succeeds := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || strings.HasPrefix(cells[0], "-") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if heads == nil {
			heads = cells
			continue
		}
		for i, cell := range cells[1:] {
			if cell == "yes" {
				succeeds[heads[i+1]] = append(succeeds[heads[i+1]], cells[0])
			}
		}
	}
	for _, names := range succeeds {
		slices.Sort(names)
	}
	return succeeds
}
