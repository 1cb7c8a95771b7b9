package skew

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// Schema is the part of an OpenAPI schema that names fields.
type Schema struct {
	Properties           map[string]*Schema        `json:"properties,omitempty"`
	Items                *Schema                   `json:"items,omitempty"`
	AdditionalProperties *Schema                   `json:"additionalProperties,omitempty"`
	Kinds                []schema.GroupVersionKind `json:"x-kubernetes-group-version-kind,omitempty"`
}

// UnmarshalJSON reads a schema, or the boolean that JSON Schema allows in the place of one.
func (s *Schema) UnmarshalJSON(raw []byte) error {
	type plain Schema
	if text := string(raw); text == "true" || text == "false" {
		return nil
	}
	return json.Unmarshal(raw, (*plain)(s))
}

// Served compares the schema that an API server serves with what this binary knows. It reads the OpenAPI document of the
// group, which every authenticated user may (system:discovery).
type Served struct {
	documents openapi.ClientWithContext
	clock     clock.WithTicker
	onChange  []func()

	mu sync.Mutex
	// url has the hash of the document that was read last.
	url     string
	unknown map[string][]string
	changes int
}

// NewServed asks an API server nothing yet.
func NewServed(config *rest.Config, c clock.WithTicker) (*Served, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Served{documents: openapi.NewClientWithContext(client.RESTClient()), clock: c}, nil
}

// Compared reports whether a schema was served and compared.
func (s *Served) Compared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url != ""
}

// Unknown returns the paths of the served schema of a kind that this binary does not know, sorted.
func (s *Served) Unknown(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unknown[kind]
}

// All returns the paths of all kinds, sorted, each behind its kind: "TokenGrant spec.exchange.onlyFor".
func (s *Served) All() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(s.unknown)) {
		for _, p := range s.unknown[kind] {
			all = append(all, kind+" "+p)
		}
	}
	return all
}

// Changes counts how often the answers of Unknown have changed.
func (s *Served) Changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// OnChange registers what is called when the answers of Unknown have changed. It must not block, and is to be registered
// before Start.
func (s *Served) OnChange(f func()) { s.onChange = append(s.onChange, f) }

// Refresh reads the document if it is another one than the last. Where there is none, the answers stay as they are: there
// are no objects then.
func (s *Served) Refresh(ctx context.Context) error {
	paths, err := s.documents.PathsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("reading the list of served schemas: %w", err)
	}
	document := paths["apis/"+v1alpha1.GroupVersion.String()]
	if document == nil {
		return nil
	}
	url := document.ServerRelativeURL()
	s.mu.Lock()
	same := url == s.url
	s.mu.Unlock()
	if same {
		return nil
	}
	raw, err := document.SchemaWithContext(ctx, runtime.ContentTypeJSON)
	if err != nil {
		return fmt.Errorf("reading the served schema: %w", err)
	}
	unknown, err := compare(raw)
	if err != nil {
		return fmt.Errorf("reading the served schema: %w", err)
	}
	s.update(ctx, url, unknown)
	return nil
}

// Unreadable reports whether an error of Refresh says that the schema may not be read, or is not served.
func Unreadable(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err)
}

func (s *Served) update(ctx context.Context, url string, unknown map[string][]string) {
	s.mu.Lock()
	changed := !maps.EqualFunc(unknown, s.unknown, slices.Equal[[]string])
	s.url = url
	if changed {
		s.unknown = unknown
		s.changes++
	}
	s.mu.Unlock()
	if !changed {
		return
	}
	log.FromContext(ctx).Info("The CRDs have other fields than this binary knows: objects that use them are held", "unknown", s.All())
	for _, f := range s.onChange {
		f()
	}
}

// compare returns the unknown paths of each kind in an OpenAPI document.
func compare(document []byte) (map[string][]string, error) {
	var d struct {
		Components struct {
			Schemas map[string]Schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, err
	}
	unknown := map[string][]string{}
	for _, s := range d.Components.Schemas {
		for _, gvk := range s.Kinds {
			known := Kinds[gvk.Kind]
			if known == nil || gvk.GroupVersion() != v1alpha1.GroupVersion {
				continue
			}
			spec := s.Properties["spec"]
			if spec == nil || len(spec.Properties) == 0 {
				return nil, fmt.Errorf("%s has no fields of spec there", gvk.Kind)
			}
			if paths := known.InSchema(*spec); len(paths) > 0 {
				unknown[gvk.Kind] = paths
			}
		}
	}
	return unknown, nil
}

// pollEvery is how long a change of the CRDs stays unseen at most. The list of schemas has 5 KB.
const pollEvery = 10 * time.Second

// Start compares again and again until the context ends.
func (s *Served) Start(ctx context.Context) error {
	ticker := s.clock.NewTicker(pollEvery)
	defer ticker.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		cause := ""
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			cause = err.Error()
		}
		if cause != "" && cause != told {
			log.FromContext(ctx).Info("Cannot compare the served schema", "cause", cause)
		}
		told = cause
	}
}

// NeedLeaderElection is false: a process that becomes the leader must know at once.
func (s *Served) NeedLeaderElection() bool { return false }
