package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// TestTheAPIServerTakesTheRecipes: every manifest of docs/recipes, and the pod that each workload would make, in a namespace
// where Pod Security is restricted. What the programs do with them is tested in test/recipes.
func TestTheAPIServerTakesTheRecipes(t *testing.T) {
	namespace := newNamespace(t)
	restricted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := cluster.admin.Get(t.Context(), client.ObjectKeyFromObject(restricted), restricted); err != nil {
		t.Fatal(err)
	}
	restricted.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if err := cluster.admin.Update(t.Context(), restricted); err != nil {
		t.Fatal(err)
	}
	// Pods need it, and the controller that makes it may be slow.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
	if err := cluster.admin.Create(t.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/recipes/*.md")
	if err != nil || len(pages) < 2 {
		t.Fatalf("pages %v: %v", pages, err)
	}
	kinds := map[string]int{}
	for _, page := range pages {
		for _, object := range manifestsOn(t, page) {
			for _, o := range append(podOf(object), object) {
				o.SetNamespace(namespace)
				kinds[o.GetKind()]++
				if err := cluster.admin.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
					t.Errorf("%s: %s %s: %v", filepath.Base(page), o.GetKind(), o.GetName(), err)
				}
			}
		}
	}
	if kinds["TokenGrant"] == 0 || kinds["TokenGrant"] != kinds["Pod"] {
		t.Errorf("not one pod for each grant: %v", kinds)
	}
}

func manifestsOn(t *testing.T, page string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, block := range regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```").FindAllStringSubmatch(string(content), -1) {
		for manifest := range strings.SplitSeq(block[1], "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
				t.Fatalf("%s: %v\n%s", page, err, manifest)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// podOf is the pod of a workload: Pod Security only warns of a workload, and refuses the pod.
func podOf(workload *unstructured.Unstructured) []*unstructured.Unstructured {
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if spec, found, err := unstructured.NestedMap(workload.Object, path...); found && err == nil {
			return []*unstructured.Unstructured{{Object: map[string]any{
				"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": workload.GetName()}, "spec": spec,
			}}}
		}
	}
	return nil
}
