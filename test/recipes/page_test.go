package recipes

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

const folder = "../../docs/recipes"

// page is one recipe: a grant, and what uses its Secret.
type page struct {
	name    string
	text    string
	grant   *v1alpha1.TokenGrant
	pod     *corev1.PodSpec
	configs map[string]*corev1.ConfigMap
}

// pages lists the recipes by name.
func pages(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(folder + "/*.md")
	if err != nil || len(paths) < 2 {
		t.Fatalf("%s has the pages %v: %v", folder, paths, err)
	}
	var names []string
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), ".md"); name != "index" {
			names = append(names, name)
		}
	}
	return names
}

// open reads a page whose addresses are replaced: nothing in it but the addresses is another in a test.
func open(t *testing.T, name string, replace ...string) page {
	t.Helper()
	p := page{name: name, text: strings.NewReplacer(replace...).Replace(text(t, name)), configs: map[string]*corev1.ConfigMap{}}
	for manifest := range strings.SplitSeq(p.fenced(t, "yaml"), "\n---\n") {
		switch object := decode(t, name, manifest).(type) {
		case *v1alpha1.TokenGrant:
			p.grant = object
		case *corev1.ConfigMap:
			p.configs[object.Name] = object
		case *batchv1.Job:
			p.pod = &object.Spec.Template.Spec
		case *batchv1.CronJob:
			p.pod = &object.Spec.JobTemplate.Spec.Template.Spec
		case *appsv1.Deployment:
			p.pod = &object.Spec.Template.Spec
		default:
			t.Fatalf("%s: a %T belongs into no recipe", name, object)
		}
	}
	if p.grant == nil || p.pod == nil {
		t.Fatalf("%s has a grant: %t, something that uses it: %t", name, p.grant != nil, p.pod != nil)
	}
	return p
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// fenced is the first block of a language on the page.
func (p page) fenced(t *testing.T, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)\n```").FindStringSubmatch(p.text)
	if m == nil {
		t.Fatalf("%s has no %s", p.name, language)
	}
	return m[1]
}

// decode refuses fields that no such object has. The rules of a grant, and those of pods, are checked by the API server
// in test/integration.
func decode(t *testing.T, name, manifest string) runtime.Object {
	t.Helper()
	object, _, err := serializer.NewCodecFactory(stack.Scheme(), serializer.EnableStrict).UniversalDeserializer().Decode([]byte(manifest), nil, nil)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, manifest)
	}
	return object
}

// templates are those of the page's grant.
func (p page) templates() map[string]string {
	templates := map[string]string{}
	for key, template := range p.grant.SecretDelivery().Data {
		templates[key] = string(template)
	}
	return templates
}

// containers are all of the pod, sidecars first.
func (p page) containers() []corev1.Container {
	return append(append([]corev1.Container{}, p.pod.InitContainers...), p.pod.Containers...)
}

// volume finds what a container mounts.
func (p page) volume(t *testing.T, mount corev1.VolumeMount) corev1.VolumeSource {
	t.Helper()
	for _, v := range p.pod.Volumes {
		if v.Name == mount.Name {
			return v.VolumeSource
		}
	}
	t.Fatalf("%s: no volume is called %s", p.name, mount.Name)
	return corev1.VolumeSource{}
}
