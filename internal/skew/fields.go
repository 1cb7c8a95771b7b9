// Package skew finds the fields of an API object that this binary does not know. Where the CRDs are newer than the binary,
// decoding drops such fields silently, and an object that its author has narrowed is taken for one that is not.
//
// Two places show them. The managedFields of an object name each field that somebody has set; they outlive a CRD that is
// rolled back, but do not look into lists that are written as a whole (listType=atomic). The object itself has all fields
// that the served schema has, and costs a request, which is needed only while the served schema has fields that the binary
// does not know.
package skew

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// maxPaths bounds how many unknown fields are told of one object, maxFound how many are collected, and maxName the length
	// of a name: whoever writes an object may write any managedFields.
	maxPaths = 8
	maxFound = 256
	maxName  = 64
)

// Kinds are what this binary knows of the spec of each kind of the API.
var Kinds = map[string]*Fields{
	"TokenGrant":         Of(v1alpha1.TokenGrantSpec{}),
	"TokenIssuer":        Of(v1alpha1.TokenIssuerSpec{}),
	"ClusterTokenIssuer": Of(v1alpha1.ClusterTokenIssuerSpec{}),
}

// Fields are those of a Go type, by the names that encoding/json gives them.
type Fields struct {
	// members are those of a struct, elements those of a slice or a map. A value that decodes itself has neither: all below
	// it is known.
	members  map[string]*Fields
	elements *Fields
}

var opaque = &Fields{}

// Of returns the fields of a value's type. The type must not contain itself.
func Of(value any) *Fields { return fieldsOf(reflect.TypeOf(value)) }

func fieldsOf(t reflect.Type) *Fields {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return opaque
	}
	switch t.Kind() {
	case reflect.Pointer:
		return fieldsOf(t.Elem())
	case reflect.Slice, reflect.Map, reflect.Array:
		return &Fields{elements: fieldsOf(t.Elem())}
	case reflect.Struct:
		f := &Fields{members: map[string]*Fields{}}
		for field := range t.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			below := fieldsOf(field.Type)
			if name == "" && (field.Anonymous || options == "inline") {
				maps.Copy(f.members, below.members)
			} else {
				f.members[name] = below
			}
		}
		return f
	default:
		return opaque
	}
}

// path is a list of names; "[]" is an element of a list.
type path []string

func (p path) String() string {
	return strings.ReplaceAll("spec."+strings.Join(p, "."), ".[", "[")
}

func (p path) with(name string) path {
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[:maxName]) + "…"
	}
	return append(slices.Clone(p), name)
}

// found collects paths of unknown fields, topmost only, sorted: the first maxFound of them.
type found []path

func (f *found) add(p path) {
	i, known := slices.BinarySearchFunc(*f, p, slices.Compare[path])
	if !known {
		all := slices.Insert(*f, i, p)
		*f = all[:min(len(all), maxFound)]
	}
}

// strings returns the first paths.
func (f found) strings() []string {
	var all []string
	for _, p := range f[:min(len(f), maxPaths)] {
		all = append(all, p.String())
	}
	return all
}

// InObject returns the paths in a spec that are unknown, with the positions of list elements: spec.allow[0].except.
func (f *Fields) InObject(spec any) []string {
	var all found
	f.inValue(spec, nil, &all)
	return all.strings()
}

func (f *Fields) inValue(value any, at path, all *found) {
	switch v := value.(type) {
	case map[string]any:
		for name, below := range v {
			switch known := f.member(name); known {
			case nil:
				all.add(at.with(name))
			default:
				known.inValue(below, at.with(name), all)
			}
		}
	case []any:
		if f.elements == nil {
			return
		}
		for i, below := range v {
			f.elements.inValue(below, at.with("["+strconv.Itoa(i)+"]"), all)
		}
	}
}

// member is what is known of a field, or of a key of a map; nil when it is unknown.
func (f *Fields) member(name string) *Fields {
	switch {
	case f.members != nil:
		return f.members[name]
	case f.elements != nil:
		return f.elements
	default:
		return opaque
	}
}

// InSchema returns the paths in the OpenAPI schema of a spec that are unknown: spec.allow[].except.
func (f *Fields) InSchema(spec Schema) []string {
	var all found
	f.inSchema(&spec, nil, &all)
	paths := make([]string, len(all))
	for i, p := range all {
		paths[i] = p.String()
	}
	return paths
}

func (f *Fields) inSchema(s *Schema, at path, all *found) {
	for name, below := range s.Properties {
		if known := f.member(name); known == nil {
			all.add(at.with(name))
		} else {
			known.inSchema(below, at.with(name), all)
		}
	}
	if f.elements != nil && s.Items != nil {
		f.elements.inSchema(s.Items, at.with("[]"), all)
	}
	if f.elements != nil && s.AdditionalProperties != nil {
		f.elements.inSchema(s.AdditionalProperties, at.with("[]"), all)
	}
}

// InManagedFields returns the paths that somebody has set according to an object's managedFields, and that are unknown.
// Elements of lists are not told apart, and those of listType=atomic are not seen.
func (f *Fields) InManagedFields(entries []metav1.ManagedFieldsEntry) []string {
	return f.inManagedFields(entries).strings()
}

// managed is the form of fieldsV1 as far as it matters: a field is "f:name", anything else an element of a list or ".".
type managed map[string]managed

func (f *Fields) inManagedFields(entries []metav1.ManagedFieldsEntry) found {
	var all found
	for i := range entries {
		e := &entries[i]
		if e.FieldsV1 == nil || e.Subresource != "" {
			continue
		}
		raw := e.FieldsV1.GetRawBytes()
		if !bytes.Contains(raw, []byte(`"f:spec"`)) {
			continue
		}
		var fields managed
		if json.Unmarshal(raw, &fields) != nil {
			continue // The API server refuses these.
		}
		f.inFieldSet(fields["f:spec"], nil, &all)
	}
	return all
}

func (f *Fields) inFieldSet(set managed, at path, all *found) {
	for key, below := range set {
		name, isField := strings.CutPrefix(key, "f:")
		switch known := f.member(name); {
		case key == ".":
		case !isField && f.elements != nil:
			f.elements.inFieldSet(below, at.with("[]"), all)
		case !isField:
		case known == nil:
			all.add(at.with(name))
		default:
			known.inFieldSet(below, at.with(name), all)
		}
	}
}

// Reduce returns of managedFields only what InManagedFields finds there, in one entry; nil when that is nothing.
func (f *Fields) Reduce(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	all := f.inManagedFields(entries)
	if len(all) == 0 {
		return nil
	}
	spec := map[string]any{}
	for _, p := range all[:min(len(all), maxPaths)] {
		at := spec
		for _, name := range p {
			key := "f:" + name
			if name == "[]" {
				key = "k:{}"
			}
			below, ok := at[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[key] = below
			}
			at = below
		}
	}
	raw, err := json.Marshal(map[string]any{"f:spec": spec})
	if err != nil {
		panic(err) // maps of maps are always written
	}
	return []metav1.ManagedFieldsEntry{{FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw))}}
}
