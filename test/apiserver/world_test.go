//go:build integration

package apiserver

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// Versions of the API: the real one, and one that a later release may bring.
const (
	group = "tokengrant.dev"
	alpha = "v1alpha1"
	beta  = "v1beta1"
)

// plurals are the resources of the API.
var plurals = []string{"tokengrants", "tokenissuers", "clustertokenissuers"}

func namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := shared.admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// manifest parses one object.
func manifest(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = object.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// as is the empty object of the same kind and name in another version.
func as(object client.Object, version string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(group + "/" + version)
	u.SetKind(object.GetObjectKind().GroupVersionKind().Kind)
	u.SetNamespace(object.GetNamespace())
	u.SetName(object.GetName())
	return u
}

// read gets an object in a version.
func read(t *testing.T, object client.Object, version string) *unstructured.Unstructured {
	t.Helper()
	u := as(object, version)
	if err := shared.admin.Get(t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
		t.Fatal(err)
	}
	return u
}

// change updates an object in a version, and again on a conflict.
func change(t *testing.T, object client.Object, version string, f func(*unstructured.Unstructured)) {
	t.Helper()
	for {
		u := read(t, object, version)
		f(u)
		err := shared.admin.Update(t.Context(), u)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
	}
}

func set(t *testing.T, object *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what the API server or the operator learns from its watches.
func eventually(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	var seen string
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		var ok bool
		ok, seen = done()
		return ok, nil
	})
	if err != nil {
		t.Fatalf("not within a minute: %s; instead: %s", what, seen)
	}
}

// crd reads a CRD as it is shipped.
func crd(t *testing.T, plural string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "config", "crd", "bases", group+"_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// install puts a CRD in the place of the one that is there, and waits until the API server works by it, of which a probe tells.
func install(t *testing.T, c *apiextensionsv1.CustomResourceDefinition, probe func() (bool, string)) {
	t.Helper()
	if err := replace(t, c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the changed CRD "+c.Name+" is in effect", probe)
}

// shipped brings back the CRDs of this checkout when the test ends, after the objects of its namespaces are gone.
func shipped(t *testing.T, namespaces ...string) {
	t.Helper()
	t.Cleanup(func() {
		for _, ns := range namespaces {
			if _, err := shared.plane.Kubectl(context.Background(), nil, "delete", "tokengrants,tokenissuers", "--all", "--namespace", ns); err != nil {
				t.Error(err)
			}
		}
		for _, plural := range plurals {
			c := crd(t, plural)
			if err := storedOnly(c.Name, alpha); err != nil {
				t.Error(err)
			}
			if err := replace(t, c); err != nil {
				t.Error(err)
			}
		}
	})
}

func replace(t *testing.T, c *apiextensionsv1.CustomResourceDefinition, options ...client.UpdateOption) error {
	t.Helper()
	for {
		var now apiextensionsv1.CustomResourceDefinition
		if err := shared.admin.Get(context.Background(), client.ObjectKeyFromObject(c), &now); err != nil {
			return err
		}
		now.Spec = *c.Spec.DeepCopy()
		err := shared.admin.Update(context.Background(), &now, options...)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// storedOnly tells the API server that all objects are stored in one version.
func storedOnly(name, version string) error {
	var c apiextensionsv1.CustomResourceDefinition
	if err := shared.admin.Get(context.Background(), client.ObjectKey{Name: name}, &c); err != nil {
		return err
	}
	before := c.DeepCopy()
	c.Status.StoredVersions = []string{version}
	return shared.admin.Status().Patch(context.Background(), &c, client.MergeFrom(before))
}
