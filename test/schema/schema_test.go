package schema

import (
	"math"
	"os"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// schema is what the API server makes of one of our CRDs: it runs the server's own code, without the server.
type schema struct {
	openAPI    validation.SchemaValidator
	structural *structuralschema.Structural
	rules      *cel.Validator
}

func load(t testing.TB, plural string) schema {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	file, err := os.ReadFile("../../config/crd/bases/tokengrant.dev_" + plural + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(file, &crd); err != nil {
		t.Fatal(err)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		t.Fatal(err)
	}
	openAPI, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		t.Fatal(err)
	}
	return schema{openAPI, structural, cel.NewValidator(structural, true, math.MaxInt64)}
}

// admit gives an object as it would be stored, or the sentences with which it would be refused.
func (s schema) admit(t *testing.T, manifest, patch string) (map[string]any, string) {
	t.Helper()
	object := patched(t, manifest, patch)
	return object, s.judge(t, object)
}

// change gives the sentences with which a change from one stored object to another would be refused.
func (s schema) change(t *testing.T, from, to map[string]any) string {
	t.Helper()
	errs, _ := s.rules.Validate(t.Context(), nil, s.structural, to, from, math.MaxInt64)
	if len(errs) == 0 {
		return ""
	}
	return errs.ToAggregate().Error()
}

// judge gives the sentences with which an object would be refused, and writes the defaults into it.
func (s schema) judge(t *testing.T, object map[string]any) string {
	t.Helper()
	if pruned := pruning.PruneWithOptions(object, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}); len(pruned) > 0 {
		return "unknown field: " + strings.Join(pruned, ", ")
	}
	defaulting.Default(object, s.structural)
	errs := validation.ValidateCustomResource(nil, object, s.openAPI)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if len(errs) == 0 { // The server runs CEL only on what the schema takes.
		var ruled field.ErrorList
		ruled, _ = s.rules.Validate(t.Context(), nil, s.structural, object, nil, math.MaxInt64)
		errs = append(errs, ruled...)
	}
	sentences := make([]string, len(errs))
	for i, e := range errs {
		sentences[i] = e.Error()
	}
	return strings.Join(sentences, "\n")
}

// patched is a manifest with a JSON merge patch (RFC 7396), both in YAML.
func patched(t testing.TB, manifest, patch string) map[string]any {
	t.Helper()
	base, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	change, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := jsonpatch.MergePatch(base, change)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := yaml.Unmarshal(merged, &object); err != nil {
		t.Fatal(err)
	}
	return integers(object).(map[string]any)
}

// integers turns whole numbers into the int64 that the API server decodes.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		if v == math.Trunc(v) {
			return int64(v)
		}
	}
	return v
}
