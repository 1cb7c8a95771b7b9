package controllers

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

const sweepEvery = 10 * time.Second

// Sweep finds grants whose refresh is overdue, and brings them back to the queue. It needs nothing of the queue's own
// timers: queues of other operators have silently stopped, and their tokens have died.
type Sweep struct {
	Reader  client.Reader
	Clock   clock.WithTicker
	Overdue chan<- event.GenericEvent
	// Issuers are those whose connections are closed when they are gone.
	Issuers *Issuers
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
			s.Issuers.forgetGone(ctx)
		}
	}
}

func (s *Sweep) sweep(ctx context.Context) {
	var list v1alpha1.TokenGrantList
	if err := s.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return
	}
	for _, grant := range overdue(list.Items, s.Clock.Now()) {
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
		if plan.Overdue(&grants[i], now) {
			found = append(found, &grants[i])
		}
	}
	return found
}
