package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// revokeWithin is how long a deleted grant waits for its revocations. Whatever they meet, nobody waits longer: not
	// the user, and not the namespace.
	revokeWithin = time.Minute
	// revokeRetry is the pause between two tries.
	revokeRetry = 5 * time.Second
)

// finalizes says whether something outside the cluster must end with the grant. Most grants have nothing of the kind,
// and no finalizer: their tokens end by themselves.
func finalizes(grant *v1alpha1.TokenGrant) bool {
	return grant.Spec.AppPassword != nil || grant.Spec.RevokeOnDelete || requestedSubject(grant) != ""
}

func requestedSubject(grant *v1alpha1.TokenGrant) string {
	if grant.Spec.Exchange == nil {
		return ""
	}
	return grant.Spec.Exchange.RequestedSubject
}

// ensureFinalizer gives the finalizer to a grant that needs it, before anything is made that must end with it.
func (r *GrantReconciler) ensureFinalizer(ctx context.Context, grant *v1alpha1.TokenGrant) error {
	if !finalizes(grant) || controllerutil.ContainsFinalizer(grant, v1alpha1.RevokeFinalizer) {
		return nil
	}
	return r.patchFinalizer(ctx, grant, controllerutil.AddFinalizer)
}

// finalize ends what must end with a deleted grant, and then lets it go. A revocation that fails is tried again for a
// minute; then the grant goes all the same, with an event that says what is left.
func (r *GrantReconciler) finalize(ctx context.Context, grant *v1alpha1.TokenGrant) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(grant, v1alpha1.RevokeFinalizer) {
		return ctrl.Result{}, nil // The owner reference takes the Secret away.
	}
	err := r.end(ctx, grant)
	if failed, other := asFailure(err); err != nil {
		left := revokeWithin - r.Clock.Now().Sub(grant.DeletionTimestamp.Time)
		if left > 0 && (failed == nil || !failed.stalled()) {
			ctrl.LoggerFrom(ctx).Info("Cannot revoke yet", "failure", failed, "error", other)
			return ctrl.Result{RequeueAfter: min(revokeRetry, max(left, time.Second))}, nil
		}
		message := "the API server does not answer"
		if failed != nil {
			message = failed.message
		}
		r.tell(ctx, grant, corev1.EventTypeWarning, v1alpha1.ReasonNotRevoked, "Deleted without revoking everything: "+message)
	}
	key := types.NamespacedName{Namespace: grant.Namespace, Name: grant.Name}
	if err := r.patchFinalizer(ctx, grant, controllerutil.RemoveFinalizer); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.memory.forget(key)
	return ctrl.Result{}, nil
}

// end revokes what a grant has outside the cluster: the closed list.
func (r *GrantReconciler) end(ctx context.Context, grant *v1alpha1.TokenGrant) error {
	ctx, cancel := context.WithTimeout(ctx, revokeWithin/2)
	defer cancel()
	g, err := r.gather(ctx, grant)
	if err != nil {
		return err
	}
	if grant.Spec.RevokeOnDelete {
		return r.revoke(ctx, g)
	}
	return nil
}

func (r *GrantReconciler) patchFinalizer(ctx context.Context, grant *v1alpha1.TokenGrant, change func(client.Object, string) bool) error {
	before := grant.DeepCopy()
	change(grant, v1alpha1.RevokeFinalizer)
	return r.Patch(ctx, grant, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
