package controllers

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
)

// recovery requeues grants and issuers when the state of an issuer changes. When it is down, one discovery asks it instead of all
// grants; when it is suspect, one grant tries; when it is back, no grant waits out its backoff. The timers find what does not fit
// into a channel.
type recovery struct {
	issuers map[string]chan event.GenericEvent // by kind
	// grants get the issuers that are back, tries those that are suspect.
	grants, tries chan event.GenericEvent
}

func newRecovery() *recovery {
	const room = 256
	return &recovery{
		issuers: map[string]chan event.GenericEvent{
			kindTokenIssuer: make(chan event.GenericEvent, room), kindClusterTokenIssuer: make(chan event.GenericEvent, room),
		},
		grants: make(chan event.GenericEvent, room),
		tries:  make(chan event.GenericEvent, room),
	}
}

func (r *recovery) changed(view issuerView, news issuer.StateChange) {
	switch news {
	case issuer.Down:
		r.discover(view)
	case issuer.Suspect:
		send(r.tries, view.object)
	case issuer.Back:
		r.discover(view)
		send(r.grants, view.object)
	}
}

// discover has an issuer looked at.
func (r *recovery) discover(view issuerView) { send(r.issuers[view.kind], view.object) }

func send(to chan<- event.GenericEvent, object client.Object) {
	select {
	case to <- event.GenericEvent{Object: object}:
	default:
	}
}

// grantsWaitingFor finds the grants of an issuer that failed because it did not answer, or may have: what is due may have
// failed a moment ago, and the cache does not show it yet. Least life left first.
func (r *GrantReconciler) grantsWaitingFor(ctx context.Context, of client.Object) []ctrl.Request {
	now := r.Clock.Now()
	return leastLifeFirst(r.grantsUsing(ctx, of, func(s *v1alpha1.TokenGrantStatus) bool {
		return issuerSilent(s) || s.RefreshAt == nil || !now.Before(s.RefreshAt.Time)
	}))
}

// grantToTry finds the grant that asks an issuer of which it is not known whether it still signs tokens.
func (r *GrantReconciler) grantToTry(ctx context.Context, of client.Object) []ctrl.Request {
	failed := leastLifeFirst(r.grantsUsing(ctx, of, issuerSilent))
	return failed[:min(1, len(failed))]
}

// grantsUsing lists the grants of an issuer with a status of some kind, to be read only.
func (r *GrantReconciler) grantsUsing(ctx context.Context, of client.Object, is func(*v1alpha1.TokenGrantStatus) bool) []v1alpha1.TokenGrant {
	var list v1alpha1.TokenGrantList
	ref := client.MatchingFields{refersTo: r.Issuers.view(of).kind + "/" + of.GetName()}
	if err := r.List(ctx, &list, client.InNamespace(of.GetNamespace()), ref, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return nil
	}
	return slices.DeleteFunc(list.Items, func(g v1alpha1.TokenGrant) bool { return !r.Issuers.worksIn(g.Namespace) || !is(&g.Status) })
}

// issuerSilent says that a grant failed because its issuer did not answer.
func issuerSilent(s *v1alpha1.TokenGrantStatus) bool {
	return isFailing(*s) && s.LastAttempt.Reason == v1alpha1.ReasonIssuerUnreachable
}

// expiry orders grants by the life they have left; those without a token have none.
func expiry(g v1alpha1.TokenGrant) int64 {
	if g.Status.Token == nil {
		return 0
	}
	return g.Status.Token.ExpiresAt.Unix()
}

// outlived says that a failure was the issuer's silence, and that there has been a reason to ask again since the attempt
// began.
func (g *observation) outlived(reason v1alpha1.Reason, began time.Time) bool {
	return reason == v1alpha1.ReasonIssuerUnreachable && g.conn != nil && g.conn.RecoveredAt().After(began)
}

// leastLifeFirst gives requests for grants, those whose token ends first before the others.
func leastLifeFirst(grants []v1alpha1.TokenGrant) []ctrl.Request {
	slices.SortStableFunc(grants, func(a, b v1alpha1.TokenGrant) int { return cmp.Compare(expiry(a), expiry(b)) })
	requests := make([]ctrl.Request, len(grants))
	for i := range grants {
		requests[i].NamespacedName = types.NamespacedName{Namespace: grants[i].Namespace, Name: grants[i].Name}
	}
	return requests
}
