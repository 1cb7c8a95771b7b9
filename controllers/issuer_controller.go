package controllers

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/granttype"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/keycloak"
)

// rediscovery is how often a sound discovery document is read again: it hardly ever changes, but the status is to say
// soon when the issuer does not answer.
const rediscovery = time.Minute

// IssuerReconciler discovers the issuers of one kind.
type IssuerReconciler struct {
	client.Client
	Issuers *Issuers
	Clock   clock.PassiveClock
	// Metrics may be nil.
	Metrics *metrics.Recorder
	// New makes an empty issuer of the kind.
	New func() client.Object

	discoveries rates
	// slots are those of all discoveries.
	slots *limit.Limiter
}

// discoveryLimits bound the discoveries that are under way. Each has a worker of its own: an issuer that hangs delays those
// of its own namespace at most.
var discoveryLimits = limit.Limits{Slots: 64, Most: 8, Share: true}

// +kubebuilder:rbac:groups=tokengrant.dev,resources=tokenissuers;clustertokenissuers,verbs=list;watch
// +kubebuilder:rbac:groups=tokengrant.dev,resources=tokenissuers/status;clustertokenissuers/status,verbs=patch

// Reconcile reads the discovery document and says in the status what it found.
func (r *IssuerReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object, of := r.New(), user{r.kind(), request.NamespacedName}
	if err := r.Get(ctx, request.NamespacedName, object); err != nil {
		r.Issuers.References.release(of)
		r.Issuers.UnknownFields.forget(of)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	view := r.Issuers.view(object)
	release, ok := r.slots.Acquire(limit.Waiter{Key: view.key(), Namespace: view.namespace, Call: func() { r.Issuers.recovery.discover(view) }})
	if !ok {
		return ctrl.Result{RequeueAfter: queuedRetry}, nil
	}
	defer release()
	if wait := r.pause(ctx, request.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	ctx, end := r.Issuers.References.begin(ctx, of)
	defer end(true)
	before := object.DeepCopyObject().(client.Object) //nolint:errcheck,forcetypeassert // a copy has the type of its original
	now := r.Clock.Now()
	provider, err := r.discover(ctx, view)
	failed, err := asFailure(err)
	if err != nil {
		return ctrl.Result{}, err
	}
	if provider != nil && failed == nil {
		failed = missingGrantTypes(provider)
	}
	if failed == nil {
		failed = invalidRule(view)
	}
	observe(view, now, provider, failed)
	if !equality.Semantic.DeepEqual(r.Issuers.view(before).status, view.status) {
		// The lock keeps the conditions of others: a merge patch replaces the whole list.
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Status().Patch(ctx, object, patch); err != nil {
			return conflicting(client.IgnoreNotFound(err))
		}
	}
	return ctrl.Result{RequeueAfter: next(view, failed)}, nil
}

// pause is how long an issuer waits that is changed, or made again, all the time.
func (r *IssuerReconciler) pause(ctx context.Context, key types.NamespacedName) time.Duration {
	now := r.Clock.Now()
	objects := r.Issuers.count(ctx, key.Namespace)
	if wait := r.discoveries.next(key, objects, now).Sub(now); wait > 0 {
		return wait
	}
	r.discoveries.spend(key, objects, now)
	return 0
}

// discover reads the document. It may be there while the last one who asked for a token got no answer.
func (r *IssuerReconciler) discover(ctx context.Context, view issuerView) (*keycloak.Provider, error) {
	if err := r.Issuers.fields(ctx, view); err != nil {
		return nil, err
	}
	connection, err := r.Issuers.connect(ctx, view)
	if err != nil {
		return nil, err
	}
	provider, err := connection.Discover(watched(ctx, r.Metrics, view.label()), true)
	if doubt := connection.Doubt(); err == nil && doubt != nil {
		return provider, failf(v1alpha1.ReasonIssuerUnreachable, "the issuer gives out its discovery document, but no tokens: %v", doubt)
	}
	return provider, err
}

// missingGrantTypes says that an issuer answers, and has nothing for grants without a user's login.
func missingGrantTypes(p *keycloak.Provider) *failure {
	if says := granttype.Unusable(p.GrantTypes); says != "" {
		return failf(v1alpha1.ReasonGrantTypeUnsupported, "%s", says)
	}
	return nil
}

// observe writes the status. What was discovered before stays: a grant may go on with it.
func observe(view issuerView, now time.Time, provider *keycloak.Provider, failed *failure) {
	s, generation := view.status, view.object.GetGeneration()
	if s.ObservedGeneration != generation {
		// Another URL: what was known of the former one is void.
		s.TokenEndpoint, s.GrantTypes, s.TokenExchange, s.LastDiscovery = "", nil, "", nil
	}
	s.ObservedGeneration = generation
	if provider != nil {
		at := seconds(now)
		s.TokenEndpoint, s.GrantTypes, s.LastDiscovery = provider.TokenEndpoint, provider.GrantTypes, &at
		s.TokenExchange = exchangeSupport(provider)
	}
	if known := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); failed != nil && failed.notAsked &&
		known != nil && known.Reason == failed.reason && known.ObservedGeneration == generation {
		return // It has been said what the last one who asked has met.
	}
	if failed != nil {
		setCondition(&s.Conditions, now, generation, v1alpha1.ConditionReady, metav1.ConditionFalse, failed.reason, failed.message)
		kind := v1alpha1.ConditionStalled
		if plan.HandlingOf(failed.reason) == plan.Retry {
			kind = v1alpha1.ConditionReconciling
		}
		setProgress(&s.Conditions, now, generation, kind, failed.reason, failed.message)
		return
	}
	setProgress(&s.Conditions, now, generation, "", "", "")
	setCondition(&s.Conditions, now, generation, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered,
		fmt.Sprintf("The issuer answers; token exchange: %s.", s.TokenExchange))
}

func exchangeSupport(p *keycloak.Provider) v1alpha1.TokenExchangeSupport {
	switch {
	case len(p.GrantTypes) == 0:
		return v1alpha1.TokenExchangeUnknown
	case slices.Contains(p.GrantTypes, keycloak.GrantTypeTokenExchange):
		return v1alpha1.TokenExchangeStandard
	default:
		return v1alpha1.TokenExchangeUnsupported
	}
}

// next is when to look again: soon at an issuer that does not answer, never at one for which an object is missing here,
// because the watch on that object wakes us.
func next(view issuerView, failed *failure) time.Duration {
	switch {
	case failed == nil:
		return rediscovery - spread(view, rediscovery/10)
	case failed.stalled():
		return 0
	case plan.HandlingOf(failed.reason) == plan.Retry:
		return max(10*time.Second-spread(view, 2*time.Second), failed.retryAfter)
	default:
		return time.Minute - spread(view, 10*time.Second)
	}
}

// spread keeps many issuers from being looked at in the same second, always by the same amount for one.
func spread(view issuerView, by time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(view.key()))
	return time.Duration(h.Sum32()%1000) * by / 1000
}

// SetupWithManager registers the reconciler for its kind, with watches on the Secrets and ConfigMaps of issuers.
func (r *IssuerReconciler) SetupWithManager(mgr ctrl.Manager, metadata cache.Cache) error {
	building := ctrl.NewControllerManagedBy(mgr).
		For(r.New(), builder.WithPredicates(predicate.Or(r.specChanged(), fieldsChanged()))).
		WatchesRawSource(metadataSource(metadata, kindSecret, r.issuersReferringTo)).
		WatchesRawSource(metadataSource(metadata, kindConfigMap, r.issuersReferringTo)).
		WatchesRawSource(source.Channel(r.Issuers.recovery.issuers[r.kind()], &handler.EnqueueRequestForObject{})).
		WatchesRawSource(r.Issuers.UnknownFields.wake(r.kind(), r.all)).
		WithOptions(controller.Options{RateLimiter: backoff(), MaxConcurrentReconciles: discoveryLimits.Slots})
	return building.Complete(r)
}

func (r *IssuerReconciler) kind() string { return r.Issuers.view(r.New()).kind }

// specChanged passes other specs, and issuers that are gone. Their connections, keys and tokens are forgotten here: an issuer
// has no finalizer, so a reconcile finds nothing of it any more, not even the UID that it is known by.
func (r *IssuerReconciler) specChanged() predicate.Predicate {
	return predicate.TypedGenerationChangedPredicate[client.Object]{TypedFuncs: predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.Issuers.Registry.Forget(r.Issuers.view(e.Object).key())
		return true
	}}}
}

func (r *IssuerReconciler) issuersReferringTo(ctx context.Context, kind, namespace, name string) []ctrl.Request {
	var requests []ctrl.Request
	for _, view := range r.Issuers.referringTo(ctx, kind, namespace, name) {
		if view.kind == r.kind() {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(view.object)})
		}
	}
	return requests
}
