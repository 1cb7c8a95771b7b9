package controllers

import (
	"context"
	"slices"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// recovery tells who waits for an issuer that it has turned: gone, so that it is asked by one and not by all, or back, so
// that nobody sits out the rest of a backoff. What does not fit into a channel is found by the timers.
type recovery struct {
	issuers map[string]chan event.GenericEvent // by kind
	grants  chan event.GenericEvent
}

func newRecovery() *recovery {
	const room = 256
	return &recovery{
		issuers: map[string]chan event.GenericEvent{
			kindTokenIssuer: make(chan event.GenericEvent, room), kindClusterTokenIssuer: make(chan event.GenericEvent, room),
		},
		grants: make(chan event.GenericEvent, room),
	}
}

func (r *recovery) turned(view issuerView, answers bool) {
	send(r.issuers[view.kind], view.object)
	if answers {
		send(r.grants, view.object)
	}
}

func send(to chan<- event.GenericEvent, object client.Object) {
	select {
	case to <- event.GenericEvent{Object: object}:
	default:
	}
}

// grantsWaitingFor finds the grants of an issuer that failed because it did not answer, or may have: what is due may have
// failed a moment ago, and the cache does not show it yet. Least life left first.
func (r *GrantReconciler) grantsWaitingFor(ctx context.Context, issuer client.Object) []ctrl.Request {
	var list v1alpha1.TokenGrantList
	ref := client.MatchingFields{refersTo: r.Issuers.view(issuer).kind + "/" + issuer.GetName()}
	if err := r.List(ctx, &list, client.InNamespace(issuer.GetNamespace()), ref, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return nil
	}
	now := r.Clock.Now()
	waiting := slices.DeleteFunc(slices.Clone(list.Items), func(g v1alpha1.TokenGrant) bool {
		failed := isFailing(g.Status) && g.Status.LastAttempt.Reason == v1alpha1.ReasonIssuerUnreachable
		due := g.Status.RefreshAt == nil || !now.Before(g.Status.RefreshAt.Time)
		return !failed && !due || !r.Issuers.worksIn(g.Namespace)
	})
	return leastLifeFirst(waiting)
}

// expiry orders grants by the life they have left; those without a token have none.
func expiry(g v1alpha1.TokenGrant) int64 {
	if g.Status.Token == nil {
		return 0
	}
	return g.Status.Token.ExpiresAt.Unix()
}

// outlived says that a failure was the issuer's silence, and that it has answered since the attempt began.
func (g *gathered) outlived(reason v1alpha1.Reason, began time.Time) bool {
	return reason == v1alpha1.ReasonIssuerUnreachable && g.conn != nil && g.conn.RecoveredAt().After(began)
}
