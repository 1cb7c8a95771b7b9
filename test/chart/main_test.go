// Package chart tests what people install: the Helm chart, rendered and on a real API server, by Helm 3 and 4; and that
// config/, by kustomize, gives the same.
package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
)

const (
	release   = "tokengrant"
	namespace = "tokengrant-system"
)

// shared is what all tests use: the checkout, both Helms by their major version, and all kinds that are installed.
var shared struct {
	root   string
	chart  string
	helm   map[int]string
	assets stack.Assets
	scheme *runtime.Scheme
	// plane is started by the first test that needs it.
	plane *stack.ControlPlane
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
	code := m.Run()
	if shared.plane != nil {
		_ = shared.plane.Close()
	}
	os.Exit(code)
}

func setUp(ctx context.Context) (err error) {
	if shared.root, err = stack.Root(); err != nil {
		return err
	}
	shared.chart = filepath.Join(shared.root, "charts", "tokengrant")
	shared.helm = map[int]string{}
	for _, major := range []int{3, 4} {
		if shared.helm[major], err = stack.Helm(ctx, major); err != nil {
			return err
		}
	}
	if shared.assets, err = stack.Binaries(ctx); err != nil {
		return err
	}
	shared.scheme = stack.Scheme()
	return monitoringv1.AddToScheme(shared.scheme)
}

// run gives what a program prints, and fails the test when it fails.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, complaint, err := try(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out, complaint)
	}
	return out
}

func try(t *testing.T, program string, args ...string) (out, complaint string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...) // clean-up runs programs, too
	cmd.Dir = shared.root
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// template renders the chart as Helm 4 does, with values in the form of --set.
func template(t *testing.T, values ...string) manifests {
	t.Helper()
	args := []string{"template", release, shared.chart, "--namespace", namespace}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return decode(t, run(t, shared.helm[4], args...))
}

// kustomize renders an overlay, as `kubectl apply -k` does.
func kustomize(t *testing.T, overlay string) manifests {
	t.Helper()
	return decode(t, run(t, shared.assets.Kubectl, "kustomize", overlay))
}

// manifests are objects with their types.
type manifests []client.Object

// decode reads YAML into the types of the API, strictly: an unknown or doubled field fails the test.
func decode(t *testing.T, yaml string) manifests {
	t.Helper()
	decoder := serializer.NewCodecFactory(shared.scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects manifests
	for document := range strings.SplitSeq("\n"+yaml, "\n---") {
		if strings.TrimSpace(withoutComments(document)) == "" {
			continue
		}
		decoded, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		object, ok := decoded.(client.Object)
		if !ok {
			t.Fatalf("%T is no object", decoded)
		}
		objects = append(objects, object)
	}
	return objects
}

func withoutComments(document string) string {
	var lines []string
	for line := range strings.Lines(document) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// all gives the objects of one type.
func all[T client.Object](objects manifests) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// one gives the only object of a type.
func one[T client.Object](t *testing.T, objects manifests) T {
	t.Helper()
	found := all[T](objects)
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}
