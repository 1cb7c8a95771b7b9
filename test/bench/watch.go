package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// watcher sees what a user sees: grants that are Ready, and Secrets that change.
type watcher struct {
	mu      sync.Mutex
	ready   map[types.NamespacedName]time.Time // since when
	secrets map[types.NamespacedName]plan.Record
	uids    map[types.NamespacedName]types.UID
	// published is when the Secret of a grant was first seen, waiting what a grant that was not Ready said last.
	published map[types.NamespacedName]time.Time
	waiting   map[types.NamespacedName]string
	changes   []change // while recorded
}

// change is one refresh as it was seen.
type change struct {
	namespace string
	// at is when it was seen, expires when the old token did.
	at, expires time.Time
	// late is how long after its time the Secret changed.
	late time.Duration
	// left is the share of the life that the old token had left; negative when it had expired.
	left float64
	// expired is for how long the Secret held a dead token.
	expired time.Duration
}

func watch(ctx context.Context, config *rest.Config) (*watcher, error) {
	ours := labels.SelectorFromSet(labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	c, err := cache.New(config, cache.Options{Scheme: stack.Scheme(), ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Label: ours}}})
	if err != nil {
		return nil, err
	}
	w := &watcher{
		ready: map[types.NamespacedName]time.Time{}, secrets: map[types.NamespacedName]plan.Record{}, uids: map[types.NamespacedName]types.UID{},
		published: map[types.NamespacedName]time.Time{}, waiting: map[types.NamespacedName]string{},
	}
	handlers := toolscache.ResourceEventHandlerFuncs{
		AddFunc:    w.see,
		UpdateFunc: func(_, object any) { w.see(object) },
		DeleteFunc: w.forget,
	}
	for _, object := range []client.Object{&v1alpha1.TokenGrant{}, &corev1.Secret{}} {
		informer, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		if _, err := informer.AddEventHandler(handlers); err != nil {
			return nil, err
		}
	}
	go func() { _ = c.Start(ctx) }()
	if !c.WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("watching: %w", context.Cause(ctx))
	}
	return w, nil
}

func (w *watcher) see(object any) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch o := object.(type) {
	case *v1alpha1.TokenGrant:
		key := client.ObjectKeyFromObject(o)
		w.uids[key] = o.UID
		if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != metav1.ConditionTrue {
			delete(w.ready, key)
			if c != nil {
				w.waiting[key] = c.Reason + ": " + c.Message
			}
		} else if _, ok := w.ready[key]; !ok {
			w.ready[key] = now
		}
	case *corev1.Secret:
		var record plan.Record
		if json.Unmarshal([]byte(o.Annotations[v1alpha1.PublishedAnnotation]), &record) != nil {
			return
		}
		key := client.ObjectKeyFromObject(o)
		if before, ok := w.secrets[key]; ok && !before.SameMint(record) {
			w.changes = append(w.changes, observe(key.Namespace, string(w.uids[key]), before, now))
		} else if !ok {
			w.published[key] = now
		}
		w.secrets[key] = record
	}
}

func observe(namespace, uid string, before plan.Record, now time.Time) change {
	issued, expires := before.Token.IssuedAt.Time, before.Token.ExpiresAt.Time
	left := expires.Sub(now)
	return change{
		namespace: namespace, at: now, expires: expires,
		late:    now.Sub(plan.RefreshAt(uid, issued, expires, v1alpha1.Refresh{})),
		left:    float64(left) / float64(expires.Sub(issued)),
		expired: max(0, -left),
	}
}

func (w *watcher) forget(object any) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if o, ok := object.(client.Object); ok {
		key := client.ObjectKeyFromObject(o)
		if _, isGrant := o.(*v1alpha1.TokenGrant); isGrant {
			delete(w.ready, key)
			delete(w.uids, key)
			delete(w.waiting, key)
		} else {
			delete(w.secrets, key)
			delete(w.published, key)
		}
	}
}

// readyIn counts the grants of a namespace that are Ready.
func (w *watcher) readyIn(namespace string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for key := range w.ready {
		if key.Namespace == namespace {
			n++
		}
	}
	return n
}

// stages gives when the Secret of a grant was first seen, zero where it was not, and what the grant said before it was Ready.
func (w *watcher) stages(key types.NamespacedName) (published time.Time, waiting string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.published[key], w.waiting[key]
}

// due counts the Secrets of a namespace that should have been refreshed by a time.
func (w *watcher) due(namespace string, by time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for key, record := range w.secrets {
		if key.Namespace == namespace && record.RefreshAt(string(w.uids[key]), v1alpha1.Refresh{}, 0).Before(by) {
			n++
		}
	}
	return n
}

// record gives the changes since the last call.
func (w *watcher) record() []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := w.changes
	w.changes = nil
	return changes
}

// dead counts the Secrets of a namespace whose token has expired.
func (w *watcher) dead(namespace string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, now := 0, time.Now()
	for key, record := range w.secrets {
		if key.Namespace == namespace && now.After(record.Token.ExpiresAt.Time) {
			n++
		}
	}
	return n
}
