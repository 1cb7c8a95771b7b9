package controllers

import (
	"context"
	"fmt"
	"slices"
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
// cached. The content of a key is read when its resourceVersion is new, and kept as long as an object uses it: the memory
// that a tenant can take ends with the tenant's objects.
type References struct {
	metadata client.Reader
	live     client.Reader
	// namespaces reads the metadata of Namespaces.
	namespaces client.Reader

	mu    sync.Mutex
	known map[reference]*kept
	// used lists what each object used in its last reconcile.
	used map[user][]reference
}

// user is a grant or an issuer.
type user struct {
	kind string
	types.NamespacedName
}

// kept is content that some users share.
type kept struct {
	content

	users int
}

// uses are the references of one reconcile.
type uses struct{ references []reference }

type usesKey struct{}

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
	return &References{metadata: metadata, live: live, namespaces: metadata, known: map[reference]*kept{}, used: map[user][]reference{}}
}

// begin opens a reconcile of an object, of which only one runs at a time. What is read with the context is kept for the
// object; end gives up what it used before and not now, and with keep=false all of it.
func (r *References) begin(ctx context.Context, u user) (_ context.Context, end func(keep bool)) {
	now := &uses{}
	return context.WithValue(ctx, usesKey{}, now), func(keep bool) {
		r.replace(u, now.references)
		if !keep {
			r.release(u)
		}
	}
}

// release gives up what an object used that is gone.
func (r *References) release(u user) { r.replace(u, nil) }

func (r *References) replace(u user, now []reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.used[u]
	r.used[u] = now
	if len(now) == 0 {
		delete(r.used, u)
	}
	for _, ref := range before {
		r.giveUp(ref)
	}
}

func (r *References) giveUp(ref reference) {
	k := r.known[ref]
	k.users--
	if k.users == 0 {
		delete(r.known, ref)
	}
}

// keep notes that the reconcile of a context uses a reference, and its new content, if there is one. Without a reconcile
// nothing is kept.
func (r *References) keep(ctx context.Context, ref reference, c *content) {
	now, _ := ctx.Value(usesKey{}).(*uses)
	if now == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[ref]
	if k == nil {
		k = &kept{}
		r.known[ref] = k
	}
	if !slices.Contains(now.references, ref) {
		now.references = append(now.references, ref)
		k.users++
	}
	if c != nil {
		k.content = *c
	}
}

// read gives the content of a reference and its version: UID and resourceVersion of the object. A missing object or key,
// an empty value, or one that is larger than 64 KiB, is a failure with CredentialMissing.
func (r *References) read(ctx context.Context, ref reference) (content, error) {
	return r.readUpTo(ctx, ref, sensitive.MaxSize)
}

func (r *References) readUpTo(ctx context.Context, ref reference, limit int) (content, error) {
	meta, err := r.meta(ctx, ref.kind, ref.NamespacedName)
	if err != nil {
		return content{}, err
	}
	if meta == nil {
		r.forget(ref)
		return content{}, notFound(ref)
	}
	r.mu.Lock()
	var c content
	if k := r.known[ref]; k != nil {
		c = k.content
	}
	r.mu.Unlock()
	if c.resourceVersion == "" || c.resourceVersion != meta.ResourceVersion {
		return r.fetch(ctx, ref, limit)
	}
	if err := unusable(ref, len(c.value.Reveal()), limit); err != nil {
		return content{}, err
	}
	r.keep(ctx, ref, nil)
	return c, nil
}

func (r *References) fetch(ctx context.Context, ref reference, limit int) (content, error) {
	obj, data, err := r.get(ctx, ref)
	if apierrors.IsNotFound(err) {
		r.forget(ref)
		return content{}, notFound(ref)
	}
	if err != nil {
		return content{}, fmt.Errorf("reading %s %s: %w", ref.kind, ref.NamespacedName, err)
	}
	value := data[ref.key]
	if err := unusable(ref, len(value), limit); err != nil {
		r.forget(ref)
		return content{}, err
	}
	c := content{
		value:           sensitive.New(string(value)),
		version:         string(obj.GetUID()) + "/" + obj.GetResourceVersion(),
		resourceVersion: obj.GetResourceVersion(),
	}
	r.keep(ctx, ref, &c)
	return c, nil
}

func notFound(ref reference) error {
	return failf(v1alpha1.ReasonCredentialMissing, "%s %q not found in namespace %q: create it with key %q", ref.kind, ref.Name, ref.Namespace, ref.key)
}

// unusable says why a value of some size is not kept, and not sent anywhere.
func unusable(ref reference, size, limit int) error {
	if says := sensitive.Unusable(size, limit); says != "" {
		return failf(v1alpha1.ReasonCredentialMissing, "%s %s", ref, says)
	}
	return nil
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

// forget drops content that is gone or has become unusable. Those who used it may still be counted.
func (r *References) forget(ref reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[ref]; k != nil {
		k.content = content{}
	}
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
