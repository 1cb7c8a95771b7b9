package controllers

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

const (
	// revokeWithin is how long a deleted grant waits for its revocations. Whatever they meet, nobody waits longer: not
	// the user, and not the namespace.
	revokeWithin = time.Minute
	// revokeTry is how long one try may take, and revokeRetry the pause between two.
	revokeTry, revokeRetry = 15 * time.Second, 5 * time.Second
	// formerRetry is that pause where the grant lives on.
	formerRetry = 30 * time.Second
)

// finalizes says whether something outside the cluster must end with the grant. Most grants have nothing of the kind,
// and no finalizer: their tokens end by themselves.
func finalizes(grant *v1alpha1.TokenGrant) bool {
	return grant.Spec.AppPassword != nil || grant.Spec.DeletionPolicy == v1alpha1.DeletionRevoke || requestedSubject(grant) != ""
}

// end ends what a deleted grant has outside the cluster: the closed list. Each is tried, whatever the others meet, and
// finds what it needs by itself: nothing that the grant cannot do any more keeps it from ending what it did.
func (r *GrantReconciler) end(ctx context.Context, g *observation) []error {
	return tryAll(ctx, g, r.endAppPasswords, r.revokePublished, r.endSession)
}

// endFormer ends what a living grant has outside the cluster and does not ask for any more: the closed list.
func (r *GrantReconciler) endFormer(ctx context.Context, g *observation) []error {
	return tryAll(ctx, g, r.endFormerSession, r.endFormerAppPasswords)
}

func tryAll(ctx context.Context, g *observation, all ...func(context.Context, *observation) error) []error {
	var failed []error
	for _, try := range all {
		if err := try(ctx, g); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// ensureFinalizer gives the finalizer to a grant that needs it, before anything is made that must end with it. When the
// spec has changed it ends what was made for the former one, and takes the finalizer away where nothing is left that
// needs it. It says when to come again; 0 is not at all.
func (r *GrantReconciler) ensureFinalizer(ctx context.Context, grant *v1alpha1.TokenGrant) (time.Duration, error) {
	if !controllerutil.ContainsFinalizer(grant, v1alpha1.RevokeFinalizer) {
		if !finalizes(grant) {
			return 0, nil
		}
		return 0, r.patchFinalizer(ctx, grant, controllerutil.AddFinalizer)
	}
	g := r.ending(grant)
	failed := r.endFormer(ctx, g)
	if slices.ContainsFunc(failed, passing) {
		ctrl.LoggerFrom(ctx).Info("Cannot end yet what the spec does not ask for any more", "cause", describe(failed))
		return formerRetry, nil
	}
	if len(failed) > 0 {
		r.recordEvent(ctx, grant, corev1.EventTypeWarning, v1alpha1.ReasonNotRevoked, "The spec has changed, and what was made for the former one was not ended: "+describe(failed))
	}
	if finalizes(grant) || g.hasAppPasswords() {
		return 0, nil
	}
	return 0, r.patchFinalizer(ctx, grant, controllerutil.RemoveFinalizer)
}

// finalize ends what must end with a deleted grant, and then lets it go. What may pass is tried again for a minute; then
// the grant goes all the same, with an event that says what is left.
func (r *GrantReconciler) finalize(ctx context.Context, grant *v1alpha1.TokenGrant) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(grant, v1alpha1.RevokeFinalizer) {
		return ctrl.Result{}, nil // The owner reference takes the Secret away.
	}
	trying, cancel := context.WithTimeout(ctx, revokeTry)
	defer cancel()
	failed := r.end(trying, r.ending(grant))
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err() // The next process tries again.
	}
	if wait := revokeAgain(failed, r.Clock.Now().Sub(grant.DeletionTimestamp.Time)); wait > 0 {
		ctrl.LoggerFrom(ctx).Info("Cannot revoke yet", "cause", describe(failed))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.patchFinalizer(ctx, grant, controllerutil.RemoveFinalizer); err != nil {
		return conflicting(err)
	}
	if len(failed) > 0 {
		r.recordEvent(ctx, grant, corev1.EventTypeWarning, v1alpha1.ReasonNotRevoked, "Deleted without revoking everything: "+describe(failed))
	} else {
		ctrl.LoggerFrom(ctx).Info("Ended what the TokenGrant had outside of the cluster")
	}
	r.memory.forget(client.ObjectKeyFromObject(grant))
	return ctrl.Result{}, nil
}

// revokeAgain is the pause before the next try; 0 ends the trying: when nothing failed, when what failed will fail
// again, and when the grant was deleted a minute ago.
func revokeAgain(failed []error, deletedFor time.Duration) time.Duration {
	left := revokeWithin - deletedFor
	if left <= 0 || !slices.ContainsFunc(failed, passing) {
		return 0
	}
	return max(min(revokeRetry, left), time.Second)
}

// passing says whether another try may help soon: where nobody answered. What was refused will be refused again, and
// what is missing in the cluster does not come back while its namespace goes.
func passing(err error) bool {
	f, other := asFailure(err)
	return other != nil || plan.HandlingOf(f.reason) == plan.Retry
}

// describe puts failures into one sentence. What the API server says may quote an object, and is left to the log.
func describe(failed []error) string {
	words := make([]string, len(failed))
	for i, err := range failed {
		words[i] = "the API server does not answer"
		if f, other := asFailure(err); other == nil {
			words[i] = f.message
		}
	}
	return strings.Join(words, "; ")
}

// sooner is the shorter one of two waits, of which 0 has no end.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// ending is what there is to work with before anything is read.
func (r *GrantReconciler) ending(grant *v1alpha1.TokenGrant) *observation {
	key := types.NamespacedName{Namespace: grant.Namespace, Name: grant.Name}
	return &observation{now: r.Clock.Now(), grant: grant, past: r.memory.of(key, grant.UID)}
}

func (r *GrantReconciler) patchFinalizer(ctx context.Context, grant *v1alpha1.TokenGrant, change func(client.Object, string) bool) error {
	before := grant.DeepCopy()
	change(grant, v1alpha1.RevokeFinalizer)
	if err := r.Patch(ctx, grant, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	grant.Default() // The answer has none.
	return nil
}
