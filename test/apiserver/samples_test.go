//go:build integration

package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// TestApplyingASampleAgainChangesNothing, by each way in which manifests are applied.
func TestApplyingASampleAgainChangesNothing(t *testing.T) {
	for _, ns := range []string{"apps", "tokengrant-system"} {
		must(t, program(t, shared.plane.Assets.Kubectl, "", "create", "namespace", ns))
	}
	for _, file := range samples(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range ways(t, file, string(content)) {
			t.Run(filepath.Base(file)+" "+way.name, func(t *testing.T) {
				objects := objectsIn(t, string(content))
				t.Cleanup(func() { remove(t, objects, way.remove) })
				must(t, way.apply())
				worked(t, objects)
				before := versions(t, objects)
				again := way.apply()
				must(t, again)
				if diff := cmp.Diff(before, versions(t, objects)); diff != "" {
					t.Errorf("applied again (-before +after):\n%s", diff)
				}
				unchanged(t, again.out)
				if way.diff == nil {
					return
				}
				if r := way.diff(); r.err != nil || r.out != "" {
					t.Errorf("kubectl diff: %v\n%s%s", r.err, r.out, r.complaint)
				}
			})
		}
	}
}

// unchanged checks the words of a client-side apply: an object of which the stored form differs for ever from the manifest is
// "configured" each time.
func unchanged(t *testing.T, printed string) {
	t.Helper()
	for line := range strings.Lines(printed) {
		if strings.Contains(line, "."+group+"/") && !strings.HasSuffix(strings.TrimSpace(line), " unchanged") && !strings.HasSuffix(strings.TrimSpace(line), " serverside-applied") {
			t.Errorf("applied again: %s", line)
		}
	}
}

// samples are the files of config/samples, without the kustomization and the namespace that is there already, and a grant with
// all the lists that they lack.
func samples(t *testing.T) []string {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "config", "samples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" && name != "namespace.yaml" {
			found = append(found, file)
		}
	}
	if len(found) < 6 {
		t.Fatalf("only %d samples", len(found))
	}
	return append(found, filepath.Join(root, "test", "apiserver", "testdata", "lists.yaml"))
}

// way is one in which a sample is applied, compared, and removed; the last two may be nil.
type way struct {
	name        string
	apply, diff func() result
	remove      func() result
}

func ways(t *testing.T, file, content string) []way {
	t.Helper()
	kubectl, chart := shared.plane.Assets.Kubectl, chartOf(t, content)
	all := []way{{
		name:  "by kubectl apply",
		apply: func() result { return program(t, kubectl, "", "apply", "--filename", file) },
		diff:  func() result { return program(t, kubectl, "", "diff", "--filename", file) },
	}, {
		name:  "by kubectl apply --server-side",
		apply: func() result { return program(t, kubectl, "", "apply", "--server-side", "--filename", file) },
		diff:  func() result { return program(t, kubectl, "", "diff", "--server-side", "--filename", file) },
	}}
	for major, helm := range shared.helm {
		rendered := func(args ...string) result {
			r := program(t, helm, "", "template", "samples", chart)
			must(t, r)
			return program(t, kubectl, r.out, append(args, "--filename=-")...)
		}
		all = append(all, way{
			name:  fmt.Sprintf("by helm template of Helm %d", major),
			apply: func() result { return rendered("apply") },
			diff:  func() result { return rendered("diff") },
		}, way{
			name:   fmt.Sprintf("by helm upgrade of Helm %d", major),
			apply:  func() result { return program(t, helm, "", "upgrade", "--install", "samples", chart) },
			remove: func() result { return program(t, helm, "", "uninstall", "samples") },
		})
	}
	return all
}

// chartOf makes a chart that holds manifests as they are, templates of Secrets among them.
func chartOf(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":            "{apiVersion: v2, name: samples, version: 1.0.0}",
		"files/sample.yaml":     content,
		"templates/sample.yaml": `{{ .Files.Get "files/sample.yaml" }}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func objectsIn(t *testing.T, content string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, document := range regexp.MustCompile(`(?m)^---\n`).Split(content, -1) {
		objects = append(objects, manifest(t, document))
	}
	return objects
}

// worked writes what an operator would: a finalizer, and a status.
func worked(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, object := range objects {
		if !strings.HasPrefix(object.GetAPIVersion(), group) {
			continue
		}
		change(t, object, alpha, func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"tokengrant.dev/test"}) })
		u := read(t, object, alpha)
		before := u.DeepCopy()
		set(t, u, u.GetGeneration(), "status", "observedGeneration")
		set(t, u, []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Published", "message": "x", "observedGeneration": u.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z",
		}}, "status", "conditions")
		if err := shared.admin.Status().Patch(t.Context(), u, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
}

// versions are the generation and the resourceVersion of each object.
func versions(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, object := range objects {
		now := object.DeepCopy()
		if err := shared.admin.Get(t.Context(), client.ObjectKeyFromObject(object), now); err != nil {
			t.Fatal(err)
		}
		found[object.GetKind()+" "+object.GetName()] = fmt.Sprintf("generation %d, resourceVersion %s", now.GetGeneration(), now.GetResourceVersion())
	}
	return found
}

func remove(t *testing.T, objects []*unstructured.Unstructured, uninstall func() result) {
	t.Helper()
	for _, object := range objects {
		if strings.HasPrefix(object.GetAPIVersion(), group) {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
			if err := shared.admin.Patch(context.Background(), object.DeepCopy(), patch); err != nil {
				t.Error(err)
			}
		}
	}
	if uninstall != nil {
		must(t, uninstall())
	}
	for _, object := range objects {
		if err := shared.admin.Delete(context.Background(), object.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
}

// result is what a program printed and how it ended.
type result struct {
	out, complaint string
	err            error
}

func program(t *testing.T, path, input string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...) // clean-up runs programs, too
	cmd.Env = append(os.Environ(), "KUBECONFIG="+shared.plane.Kubeconfig)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	return result{stdout.String(), stderr.String(), err}
}

func must(t *testing.T, r result) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("%v\n%s%s", r.err, r.out, r.complaint)
	}
}
