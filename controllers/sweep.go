package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	sweepEvery = 10 * time.Second
	// overdueAfter is how late a refresh may be before the sweep takes it for forgotten.
	overdueAfter = 10 * time.Second
)

var overdueGrants = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "tokengrant_overdue_grants",
	Help: "Grants whose refresh is more than 10 s late. Above zero for minutes: the issuer fails, or the queue has stopped.",
})

func init() { metrics.Registry.MustRegister(overdueGrants) }

// Sweep finds grants whose refresh is overdue, and brings them back to the queue. It needs nothing of the queue's own
// timers: queues of other operators have silently stopped, and their tokens have died.
type Sweep struct {
	Reader  client.Reader
	Clock   clock.WithTicker
	Overdue chan<- event.GenericEvent
}

// Start runs the sweep until the context ends. Only the leader does.
func (s *Sweep) Start(ctx context.Context) error {
	ticker := s.Clock.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			s.sweep(ctx)
		}
	}
}

func (s *Sweep) sweep(ctx context.Context) {
	var list v1alpha1.TokenGrantList
	if err := s.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return
	}
	found := overdue(list.Items, s.Clock.Now())
	overdueGrants.Set(float64(len(found)))
	for _, grant := range found {
		select {
		case s.Overdue <- event.GenericEvent{Object: grant}:
		case <-ctx.Done():
			return
		}
	}
}

// overdue picks the grants whose time for a refresh has passed for a while.
func overdue(grants []v1alpha1.TokenGrant, now time.Time) []*v1alpha1.TokenGrant {
	var found []*v1alpha1.TokenGrant
	for i := range grants {
		at := grants[i].Status.RefreshAt
		if at != nil && !grants[i].Spec.Suspend && now.Sub(at.Time) > overdueAfter {
			found = append(found, &grants[i])
		}
	}
	return found
}
