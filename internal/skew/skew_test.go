package skew_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/internal/skew"
)

// An older binary knows these; what newer manifests have besides is unknown.
type older struct {
	embedded `json:",inline"`

	Exchange *exchange            `json:"exchange,omitempty"`
	Interval *metav1.Duration     `json:"interval,omitempty"`
	Allow    []rule               `json:"allow,omitempty"`
	Labels   map[string]string    `json:"labels,omitempty"`
	Paths    map[string]*exchange `json:"paths,omitempty"`
}

type embedded struct {
	URL string `json:"url"`
}

type exchange struct {
	Audiences []string `json:"audiences"`
}

type rule struct {
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

func TestUnknownFieldsOfAnObject(t *testing.T) {
	for name, tt := range map[string]struct {
		spec string
		want []string
	}{
		"all known":               {`{url: u, exchange: {audiences: [a]}, interval: 5m, labels: {any: thing}, paths: {p: {audiences: []}}}`, nil},
		"nothing":                 {`{}`, nil},
		"one that narrows":        {`{exchange: {audiences: [a], onlyFor: [b]}}`, []string{"spec.exchange.onlyFor"}},
		"only the topmost":        {`{volume: {a: {b: c}}}`, []string{"spec.volume"}},
		"in an element of a list": {`{allow: [{selector: {matchLabels: {a: b}}}, {except: [a]}]}`, []string{"spec.allow[1].except"}},
		"in a value of a map":     {`{paths: {p: {new: 1}}}`, []string{"spec.paths.p.new"}},
		"in a type of Kubernetes": {`{allow: [{selector: {matchNames: [a]}}]}`, []string{"spec.allow[0].selector.matchNames"}},
		"set to null":             {`{volume: null}`, []string{"spec.volume"}},
		"in another case":         {`{URL: u}`, []string{"spec.URL"}},
		"two, sorted":             {`{z: 1, exchange: {a: 1}}`, []string{"spec.exchange.a", "spec.z"}},
		"a long name":             {`{` + strings.Repeat("n", 200) + `: 1}`, []string{"spec." + strings.Repeat("n", 64) + "…"}},
	} {
		t.Run(name, func(t *testing.T) {
			var spec any
			if err := yaml.Unmarshal([]byte(tt.spec), &spec); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, skew.Of(older{}).InObject(spec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func entry(subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: "m", FieldsType: "FieldsV1", Subresource: subresource, FieldsV1: metav1.NewFieldsV1(fields)}
}

func TestUnknownFieldsOfManagedFields(t *testing.T) {
	for name, tt := range map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    []string
	}{
		"none": {nil, nil},
		"all known": {[]metav1.ManagedFieldsEntry{
			entry("", `{"f:metadata":{"f:annotations":{".":{},"f:a":{}}},"f:spec":{".":{},"f:exchange":{".":{},"f:audiences":{}},"f:labels":{"f:any":{}},"f:url":{}}}`),
		}, nil},
		"one of two managers":      {[]metav1.ManagedFieldsEntry{entry("", `{"f:spec":{"f:url":{}}}`), entry("", `{"f:spec":{"f:exchange":{"f:onlyFor":{}}}}`)}, []string{"spec.exchange.onlyFor"}},
		"of both":                  {[]metav1.ManagedFieldsEntry{entry("", `{"f:spec":{"f:b":{}}}`), entry("", `{"f:spec":{"f:b":{"f:c":{}},"f:a":{}}}`)}, []string{"spec.a", "spec.b"}},
		"in an element of a list":  {[]metav1.ManagedFieldsEntry{entry("", `{"f:spec":{"f:allow":{"k:{\"name\":\"a\"}":{".":{},"f:except":{}}}}}`)}, []string{"spec.allow[].except"}},
		"the status is the server": {[]metav1.ManagedFieldsEntry{entry("status", `{"f:status":{"f:new":{}},"f:spec":{"f:new":{}}}`)}, nil},
		"no JSON":                  {[]metav1.ManagedFieldsEntry{entry("", `"f:spec"`), {Manager: "empty"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := skew.Of(older{})
			if diff := cmp.Diff(tt.want, f.InManagedFields(tt.entries)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			reduced := f.Reduce(f.Reduce(tt.entries)) // A cache may do it again.
			if diff := cmp.Diff(tt.want, f.InManagedFields(reduced)); diff != "" {
				t.Errorf("reduced (-want +got):\n%s", diff)
			}
			if len(tt.want) == 0 && reduced != nil {
				t.Errorf("kept without need: %v", reduced)
			}
		})
	}
}

// TestManagedFieldsOfATenantAreBounded: whoever writes an object may write any managedFields.
func TestManagedFieldsOfATenantAreBounded(t *testing.T) {
	fields := map[string]any{}
	for i := range 20_000 {
		fields["f:"+strings.Repeat("x", 40)+string(rune('a'+i%26))+strings.Repeat("y", i%97)+string(rune(0x4e00+i))] = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"f:spec": fields})
	if err != nil {
		t.Fatal(err)
	}
	f := skew.Of(older{})
	reduced := f.Reduce([]metav1.ManagedFieldsEntry{entry("", string(raw))})
	if size := reduced[0].FieldsV1.Size(); size > 2<<10 {
		t.Errorf("%d bytes are kept", size)
	}
	if paths := f.InManagedFields(reduced); len(paths) != 8 {
		t.Errorf("%d paths are told", len(paths))
	}
}

func TestUnknownFieldsOfASchema(t *testing.T) {
	const schema = `
properties:
  url: {type: string}
  interval: {type: string}
  labels: {additionalProperties: {type: string}}
  exchange: {properties: {audiences: {items: {type: string}}, onlyFor: {items: {type: string}}}}
  volume: {properties: {a: {}}}
  allow: {items: {properties: {except: {}, selector: {properties: {matchLabels: {additionalProperties: true}}}}}}`
	var s skew.Schema
	if err := yaml.Unmarshal([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"spec.allow[].except", "spec.exchange.onlyFor", "spec.volume"}, skew.Of(older{}).InSchema(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTheCRDsOfThisCommitHaveNoUnknownField: with them nothing is held, and nobody is asked.
func TestTheCRDsOfThisCommitHaveNoUnknownField(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != len(skew.Kinds) {
		t.Fatalf("%d CRDs for %d kinds: %v", len(files), len(skew.Kinds), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema skew.Schema `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(raw, &crd); err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
			if spec == nil || len(spec.Properties) == 0 {
				t.Fatalf("%s: no schema", file)
			}
			if unknown := skew.Kinds[crd.Spec.Names.Kind].InSchema(*spec); len(unknown) > 0 {
				t.Errorf("%s: unknown: %v", file, unknown)
			}
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	entries := []metav1.ManagedFieldsEntry{
		entry("", `{"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{".":{},"f:check":{".":{},"f:nextcloud":{".":{},"f:url":{}}},"f:exchange":{".":{},"f:audiences":{}},"f:issuerRef":{".":{},"f:kind":{},"f:name":{}},"f:serviceAccount":{".":{},"f:clientID":{},"f:clientSecret":{".":{},"f:secretRef":{".":{},"f:name":{}}}}}}`),
		entry("status", `{"f:status":{"f:conditions":{}}}`),
	}
	known := skew.Kinds["TokenGrant"]
	b.ReportAllocs()
	for b.Loop() {
		if known.Reduce(entries) != nil {
			b.Fatal("unknown")
		}
	}
}
