package controllers

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

const namespaceLabelsEvery = 15 * time.Second

// NamespaceLabels notices that the labels of a namespace have changed, for an operator of some namespaces. Whether it may
// watch Namespaces can only be said for the whole cluster, but whether it may get one, in that namespace.
type NamespaceLabels struct {
	Live       client.Reader
	Namespaces []string
	Clock      clock.WithTicker
	// Changed gets the metadata of a namespace with other labels than before.
	Changed chan<- event.GenericEvent
}

// Start looks until the context ends. Only the leader does.
func (r *NamespaceLabels) Start(ctx context.Context) error {
	ticker := r.Clock.NewTicker(namespaceLabelsEvery)
	defer ticker.Stop()
	known := map[string]*metav1.PartialObjectMetadata{}
	for {
		for _, name := range r.Namespaces {
			now := namespaceMetadata()
			if err := r.Live.Get(ctx, client.ObjectKey{Name: name}, now); err != nil {
				if client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
					ctrl.LoggerFrom(ctx).Error(err, "Cannot read the labels of a namespace", "namespace", name)
				}
				continue
			}
			before := known[name]
			known[name] = now
			if before == nil || maps.Equal(before.Labels, now.Labels) {
				continue
			}
			select {
			case r.Changed <- event.GenericEvent{Object: now}:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

func namespaceMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kindNamespace))
	return m
}
