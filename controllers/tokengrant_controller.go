package controllers

import (
	"cmp"
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/cluster"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// GrantReconciler keeps the Secrets of TokenGrants.
type GrantReconciler struct {
	// Client reads grants, issuers and our own Secrets from the cache, and writes.
	client.Client
	// Live reads from the API server.
	Live     client.Reader
	Issuers  *Issuers
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Keys seal what is kept between two mints.
	Keys offline.Keyring
	// Imports decrypt users' refresh tokens from the stores of other software.
	Imports offline.ImportKeys
	// Overlap is how long an app password goes on working after its successor was published; plan.Overlap when 0.
	Overlap time.Duration
	// Metrics and Traces may be nil.
	Metrics *metrics.Recorder
	Traces  trace.TracerProvider
	// APIAudiences are those for which no ServiceAccount token is requested.
	APIAudiences cluster.APIAudiences

	// workers bound how many grants are worked on at once; those that wait for a server do not count.
	workers workers
	// outbound are the slots of those that wait for servers.
	outbound   *limit.Limiter
	memory     memory
	nextclouds nextcloudClients
	queue      queue
	// attempts bound requests to issuers and Nextclouds that do not come at their time, reports the status and its events.
	attempts, reports rates
}

// +kubebuilder:rbac:groups=tokengrant.dev,resources=tokengrants,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=tokengrant.dev,resources=tokengrants/status,verbs=patch
// +kubebuilder:rbac:groups=tokengrant.dev,resources=tokengrants/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=configmaps;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// Reconcile brings one grant to what its spec asks for; see the package's story.
func (r *GrantReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	r.workers.begin()
	defer r.workers.end()
	var grant v1alpha1.TokenGrant
	if err := r.Get(ctx, request.NamespacedName, &grant); err != nil {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ctx, end := r.Issuers.References.begin(ctx, user{kindTokenGrant, request.NamespacedName})
	defer func() { end(!grant.Spec.Suspend) }() // A suspended grant has no use for credentials.
	if !grant.DeletionTimestamp.IsZero() {
		grant.Default()
		return r.finalize(ctx, &grant)
	}
	past := r.memory.of(request.NamespacedName, grant.UID)
	if olderThan(grant.ResourceVersion, past.saved) {
		// The cache has not seen our own last status yet; acting on the former one would repeat what was done.
		if err := r.Live.Get(ctx, request.NamespacedName, &grant); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	unknown, again, err := r.known(ctx, &grant)
	if err != nil {
		return conflicting(err)
	}
	before := grant.DeepCopy()
	if past.unsaved != nil {
		// The cache does not know yet what the last reconcile found out.
		past.unsaved.grant = &grant
		past.unsaved.apply(&grant.Status)
	}
	out, wait, err := r.reconcileOrHold(ctx, &grant, unknown)
	if !out.minted {
		err = cmp.Or(err, ctx.Err()) // What failed while stopping is nobody's fault.
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	first := out.queued && !past.queued
	if past.queued = out.queued; first {
		// It will mostly be called at once: a status that says so would be a third write for each grant of a burst.
		return ctrl.Result{RequeueAfter: sooner(wait, again), Priority: new(out.priority())}, nil
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	pause, err := r.saveStatus(ctx, before, &grant, out)
	if past.unsaved, past.saved = nil, grant.ResourceVersion; err != nil || pause > 0 {
		past.unsaved = &out
	}
	if err != nil {
		return conflicting(err)
	}
	if wait > 0 {
		wait = max(wait-r.Clock.Since(out.now), time.Second) // Writing the status has taken a part of it.
	}
	return ctrl.Result{RequeueAfter: sooner(sooner(wait, pause), again), Priority: new(out.priority())}, nil
}

// forget drops all that is known of a grant that is gone, or another process's now.
func (r *GrantReconciler) forget(key types.NamespacedName) {
	r.memory.forget(key)
	r.Issuers.References.release(user{kindTokenGrant, key})
	r.Issuers.UnknownFields.forget(user{kindTokenGrant, key})
}

// saveStatus writes the status, if it has changed, on the condition that it is the one that was read. A status that changes
// all the time waits for the pause that is returned, but for a new token.
func (r *GrantReconciler) saveStatus(ctx context.Context, before, grant *v1alpha1.TokenGrant, out outcome) (pause time.Duration, err error) {
	out.apply(&grant.Status)
	if equality.Semantic.DeepEqual(before.Status, grant.Status) {
		return 0, nil
	}
	if !out.minted {
		key, objects := client.ObjectKeyFromObject(grant), r.memory.count(grant.Namespace)
		if pause := r.reports.next(key, objects, out.now).Sub(out.now); pause > 0 {
			return pause, nil
		}
		r.reports.spend(key, objects, out.now)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Status().Patch(ctx, grant, patch); err != nil {
		return 0, err
	}
	r.publishEvent(ctx, before, grant)
	return 0, nil
}

// olderThan compares two resourceVersions of one object; false where that cannot be told.
func olderThan(cached, saved string) bool {
	order, err := resourceversion.CompareResourceVersion(cached, saved)
	return err == nil && order < 0
}

// reconcile does everything but the status, and says how long to wait; 0 is until something changes.
func (r *GrantReconciler) reconcile(ctx context.Context, grant *v1alpha1.TokenGrant) (outcome, time.Duration, error) {
	g, err := r.gather(ctx, grant)
	missing, err := asFailure(err)
	if err != nil {
		return outcome{}, 0, err
	}
	if err := r.restore(ctx, g); err != nil {
		return outcome{}, 0, err
	}
	r.restoreSession(ctx, g)
	decision := plan.Decide(r.planInput(g, missing))
	out := outcome{now: g.now, grant: grant, failed: missing, waiting: decision.MintReason != ""}
	defer g.releaseAll() // Also after a panic: a slot that is lost is lost until the next restart.
	switch {
	case missing != nil:
	case (decision.Mint || decision.Check) && !r.admit(g, decision):
		out.queued = true
	case decision.Mint:
		out.failed, err = asFailure(r.observed(ctx, g, &out, decision, r.renew))
	case decision.Check:
		out.failed, err = asFailure(r.observed(ctx, g, &out, decision, r.recheck))
	}
	g.releaseAll()
	if err != nil {
		return outcome{}, 0, err
	}
	if out.failed != nil && out.failed.deferred {
		out.failed, out.queued, out.deferred = nil, true, out.failed.message
	}
	began := g.now
	g.now = r.Clock.Now() // Minting and checking take their time, and a backoff starts at their end.
	out.now = g.now
	r.reconcileRetired(ctx, g, &out, &decision)
	r.remember(g, &out, decision, began)
	if err := r.cleanUp(ctx, g, decision, out); err != nil {
		return outcome{}, 0, err
	}
	g.verdict = out.verdict
	decision = plan.Decide(r.planInput(g, missing))
	out.unnudged = g.past.unnudged
	out.record, out.usable, out.unusableReason, out.refreshAt = g.record, decision.Usable, decision.UnusableReason, decision.RefreshAt
	wait := decision.Delay(g.now)
	if missing != nil && !missing.stalled() && (wait == 0 || wait > unseenRetry) {
		wait = unseenRetry
	}
	switch {
	case out.queued:
		wait = sooner(wait, g.askAgainAfter())
	case decision.Mint: // What has failed need not wait: the issuer has come back meanwhile.
		wait = time.Second
	}
	return out, wait, nil
}

// unseenRetry is the pause after gathering failed for something that no watch tells of: the file of encryption keys.
const unseenRetry = time.Minute

// restore repairs a Secret that was edited or deleted, with the token that it held, before anything else and whatever
// else is wrong: an unreachable issuer is no reason to leave pods without a token that still lives.
func (r *GrantReconciler) restore(ctx context.Context, g *observation) error {
	if g.drift == publish.None && !g.reshaped || g.drift == publish.Foreign || g.grant.Spec.Suspend {
		return nil
	}
	var err error
	if m := g.restorable(); m != nil {
		err = r.publish(ctx, g, m)
	} else if g.drift == publish.Metadata && g.record != nil {
		err = r.writeSecret(ctx, g, g.existing.Data, *g.record)
	}
	if failed, _ := asFailure(err); failed != nil && failed.stalled() {
		return nil // A conflict, or templates that do not work: gathering tells of it next time.
	}
	return err // The workqueue's backoff repeats it.
}

// remember keeps what the next reconcile needs of this one's failures.
func (r *GrantReconciler) remember(g *observation, out *outcome, d plan.Decision, began time.Time) {
	if v := out.verdict; v != nil {
		g.past.unconfirmed = nextFailure(g.past.unconfirmed, g.now, verdictFailure(v))
	}
	switch {
	case out.failed != nil && out.failed.stalled():
		out.count = g.grant.Status.ConsecutiveFailures + 1
		g.past.failure, g.past.tried = nil, ""
	case out.failed != nil:
		previous := g.past.failure
		if previous == nil && g.grant.Status.ConsecutiveFailures > 0 {
			previous = &plan.Failure{Count: g.grant.Status.ConsecutiveFailures}
		}
		g.past.failure, g.past.began = nextFailure(previous, g.now, out.failed), began
		g.past.tried, out.count = g.tried(), g.past.failure.Count
	case out.minted, d.MintReason == "":
		g.past.failure = nil
		if g.sourced() {
			g.past.tried = g.tried()
		}
	}
}

func nextFailure(previous *plan.Failure, now time.Time, f *failure) *plan.Failure {
	if f == nil {
		return nil
	}
	next := &plan.Failure{At: now, Reason: f.reason, Count: 1, RetryAfter: f.retryAfter}
	if previous != nil {
		next.Count = previous.Count + 1
	}
	return next
}

func verdictFailure(v *nextcloud.Verdict) *failure {
	if v.Outcome == nextcloud.Accepted {
		return nil
	}
	return &failure{reason: v.Reason, message: v.Message, retryAfter: v.RetryAfter}
}

// cleanUp removes a Secret whose token has died, where the user wants that, and the one of a former name, once the new
// one is there.
func (r *GrantReconciler) cleanUp(ctx context.Context, g *observation, d plan.Decision, out outcome) error {
	if former := g.grant.Status.SecretName; g.record != nil && former != "" && former != secretName(g.grant) {
		return r.deleteSecret(ctx, g.grant, former)
	}
	if out.minted || d.UnusableReason != v1alpha1.ReasonTokenExpired || g.grant.SecretDelivery().OnExpiry != v1alpha1.OnExpiryDelete {
		return nil
	}
	if err := r.deleteSecret(ctx, g.grant, secretName(g.grant)); err != nil {
		return err
	}
	g.past.minted = nil
	r.memory.setWritten(g.past, "")
	g.existing, g.record, g.drift = nil, nil, publish.Missing
	return nil
}
