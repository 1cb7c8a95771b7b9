package controllers

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Kinds of objects that are referred to.
const (
	kindSecret         = "Secret"
	kindConfigMap      = "ConfigMap"
	kindNamespace      = "Namespace"
	kindServiceAccount = "ServiceAccount"
)

// References reads the Secrets and ConfigMaps that grants and issuers refer to. Of all of them only the metadata are
// cached; the content of the few that are referred to is read when its resourceVersion is new.
type References struct {
	metadata client.Reader
	live     client.Reader
	// namespaces reads the metadata of Namespaces.
	namespaces client.Reader

	mu    sync.Mutex
	known map[reference]content
}

// reference is one key of one object.
type reference struct {
	kind string
	types.NamespacedName
	key string
}

func (r reference) String() string {
	return fmt.Sprintf("key %q of %s %q in namespace %q", r.key, r.kind, r.Name, r.Namespace)
}

type content struct {
	value           sensitive.String
	version         string
	resourceVersion string
}

// NewReferences reads metadata from a cache and content from the API server.
func NewReferences(metadata, live client.Reader) *References {
	return &References{metadata: metadata, live: live, namespaces: metadata, known: map[reference]content{}}
}

// read gives the content of a reference and its version: UID and resourceVersion of the object. A missing object or
// key, or an empty value, is a failure with CredentialMissing.
func (r *References) read(ctx context.Context, ref reference) (content, error) {
	meta, err := r.meta(ctx, ref.kind, ref.NamespacedName)
	if err != nil {
		return content{}, err
	}
	if meta == nil {
		r.forget(ref)
		return content{}, failf(v1alpha1.ReasonCredentialMissing, "%s %q not found in namespace %q: create it with key %q",
			ref.kind, ref.Name, ref.Namespace, ref.key)
	}
	r.mu.Lock()
	c, ok := r.known[ref]
	r.mu.Unlock()
	if ok && c.resourceVersion == meta.ResourceVersion {
		return c, nil
	}
	return r.fetch(ctx, ref)
}

func (r *References) fetch(ctx context.Context, ref reference) (content, error) {
	obj, data, err := r.get(ctx, ref)
	if apierrors.IsNotFound(err) {
		r.forget(ref)
		return content{}, failf(v1alpha1.ReasonCredentialMissing, "%s %q not found in namespace %q: create it with key %q",
			ref.kind, ref.Name, ref.Namespace, ref.key)
	}
	if err != nil {
		return content{}, fmt.Errorf("reading %s %s: %w", ref.kind, ref.NamespacedName, err)
	}
	value, ok := data[ref.key]
	if !ok || len(value) == 0 {
		r.forget(ref)
		return content{}, failf(v1alpha1.ReasonCredentialMissing, "%s is missing or empty: set it", ref)
	}
	c := content{
		value:           sensitive.New(string(value)),
		version:         string(obj.GetUID()) + "/" + obj.GetResourceVersion(),
		resourceVersion: obj.GetResourceVersion(),
	}
	r.mu.Lock()
	r.known[ref] = c
	r.mu.Unlock()
	return c, nil
}

func (r *References) get(ctx context.Context, ref reference) (client.Object, map[string][]byte, error) {
	if ref.kind == kindSecret {
		var s corev1.Secret
		err := r.live.Get(ctx, ref.NamespacedName, &s)
		return &s, s.Data, err
	}
	var c corev1.ConfigMap
	if err := r.live.Get(ctx, ref.NamespacedName, &c); err != nil {
		return nil, nil, err
	}
	data := c.BinaryData
	if data == nil {
		data = make(map[string][]byte, len(c.Data))
	}
	for k, v := range c.Data {
		data[k] = []byte(v)
	}
	return &c, data, nil
}

func (r *References) forget(ref reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, ref)
}

// meta gives the cached metadata of an object; nil when there is none.
func (r *References) meta(ctx context.Context, kind string, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	var m metav1.PartialObjectMetadata
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	reader := r.metadata
	if kind == kindNamespace {
		reader = r.namespaces
	}
	if err := reader.Get(ctx, key, &m); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading metadata of %s %s: %w", kind, key, err)
	}
	return &m, nil
}
