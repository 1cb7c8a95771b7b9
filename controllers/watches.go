package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
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
)

// SetupWithManager registers the reconciler and its watches. metadata is the cache of the metadata of all Secrets,
// ConfigMaps and, without relabelled, Namespaces; relabelled brings namespaces with other labels, overdue the grants that
// a sweep found.
func (r *GrantReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, metadata cache.Cache, relabelled, overdue <-chan event.GenericEvent, o controller.Options) error {
	if err := index(ctx, mgr.GetFieldIndexer(), r.Issuers.shared()); err != nil {
		return err
	}
	metadataOf := func(kind string) source.Source {
		return metadataSource(metadata, kind, r.grantsReferringTo, r.metadataTurned(kind))
	}
	namespaces := metadataOf(kindNamespace)
	if relabelled != nil {
		namespaces = source.Channel(relabelled, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []ctrl.Request {
			return r.grantsOfNamespace(ctx, o.GetName())
		}))
	}
	building := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.TokenGrant{}, builder.WithPredicates(specOrRequest())).
		Watches(&corev1.Secret{}, r.secretEvents()).
		Watches(&v1alpha1.TokenIssuer{}, r.issuerEvents()).
		WatchesRawSource(metadataOf(kindSecret)).
		WatchesRawSource(metadataOf(kindConfigMap)).
		WatchesRawSource(namespaces).
		WatchesRawSource(metadataOf(kindServiceAccount)).
		WatchesRawSource(source.Channel(overdue, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(r.Issuers.recovery.grants, handler.EnqueueRequestsFromMapFunc(r.grantsWaitingFor))).
		WatchesRawSource(source.Channel(r.Issuers.recovery.tries, handler.EnqueueRequestsFromMapFunc(r.grantToTry))).
		WatchesRawSource(r.Issuers.UnknownFields.wake(kindTokenGrant, r.all)).
		WatchesRawSource(source.Func(r.keepQueue)).
		WithOptions(o)
	if r.Issuers.shared() {
		building = building.Watches(&v1alpha1.ClusterTokenIssuer{}, r.issuerEvents())
	}
	return building.Complete(r)
}

// metadataSource watches the metadata of one kind, and wakes those who refer to what has changed. At the start all are looked
// at anyway.
func metadataSource(
	metadata cache.Cache, kind string, referring func(ctx context.Context, kind, namespace, name string) []ctrl.Request,
	filters ...predicate.TypedPredicate[*metav1.PartialObjectMetadata],
) source.Source {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	filters = append(filters, predicate.TypedFuncs[*metav1.PartialObjectMetadata]{
		CreateFunc: func(e event.TypedCreateEvent[*metav1.PartialObjectMetadata]) bool { return !e.IsInInitialList },
	})
	return source.Kind(metadata, m, handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, o *metav1.PartialObjectMetadata) []ctrl.Request {
		return referring(ctx, kind, o.Namespace, o.Name)
	}), filters...)
}

// metadataTurned lets through what can matter to a grant: our own Secrets are watched by their content elsewhere, and
// of a Namespace only the labels count.
func (r *GrantReconciler) metadataTurned(kind string) predicate.TypedPredicate[*metav1.PartialObjectMetadata] {
	relevant := func(o *metav1.PartialObjectMetadata) bool {
		return o.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue
	}
	return predicate.TypedFuncs[*metav1.PartialObjectMetadata]{
		CreateFunc: func(e event.TypedCreateEvent[*metav1.PartialObjectMetadata]) bool {
			return relevant(e.Object)
		},
		UpdateFunc: func(e event.TypedUpdateEvent[*metav1.PartialObjectMetadata]) bool {
			if kind == kindNamespace {
				return fmt.Sprint(e.ObjectOld.Labels) != fmt.Sprint(e.ObjectNew.Labels)
			}
			return relevant(e.ObjectNew) && e.ObjectOld.ResourceVersion != e.ObjectNew.ResourceVersion
		},
	}
}

// grantsReferringTo finds the grants of a Secret or ConfigMap, those that name it and those whose issuer does, and those
// of a Namespace.
func (r *GrantReconciler) grantsReferringTo(ctx context.Context, kind, namespace, name string) []ctrl.Request {
	if kind == kindNamespace {
		return r.grantsOfNamespace(ctx, name)
	}
	ref := client.MatchingFields{refersTo: kind + "/" + name}
	requests := r.grants(ctx, client.InNamespace(namespace), ref)
	for _, view := range r.Issuers.referringTo(ctx, kind, namespace, name) {
		requests = append(requests, r.grantsOfIssuer(ctx, view.object)...)
	}
	return requests
}

// secretEvents wakes the grants of the Secrets that the operator writes: the owner when others changed it, and always
// those that wait for it to go, or use the token in it as a subject.
func (r *GrantReconciler) secretEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList { // At the start every grant is looked at anyway.
				r.wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				r.wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			addAll(q, r.grantsOfSecret(ctx, e.Object))
		},
	}
}

type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// wake leaves the owner asleep when the Secret is as this process wrote it.
func (r *GrantReconciler) wake(ctx context.Context, s client.Object, q queue) {
	var own types.NamespacedName
	if owner := metav1.GetControllerOf(s); owner != nil {
		own = types.NamespacedName{Namespace: s.GetNamespace(), Name: owner.Name}
	}
	for _, request := range r.grantsOfSecret(ctx, s) {
		if request.NamespacedName == own {
			r.memory.changed(own, s.GetResourceVersion(), func() { q.Add(request) })
		} else {
			q.Add(request)
		}
	}
}

// grantsOfSecret finds all grants that refer to a Secret: its owner, and others.
func (r *GrantReconciler) grantsOfSecret(ctx context.Context, s client.Object) []ctrl.Request {
	return r.grants(ctx, client.InNamespace(s.GetNamespace()), client.MatchingFields{refersTo: kindSecret + "/" + s.GetName()})
}

func (r *GrantReconciler) grantsOfIssuer(ctx context.Context, issuer client.Object) []ctrl.Request {
	view := r.Issuers.view(issuer)
	return r.grants(ctx, client.InNamespace(issuer.GetNamespace()), client.MatchingFields{refersTo: view.kind + "/" + issuer.GetName()})
}

func (r *GrantReconciler) grantsOfNamespace(ctx context.Context, namespace string) []ctrl.Request {
	return r.grants(ctx, client.InNamespace(namespace))
}

func (r *GrantReconciler) grants(ctx context.Context, namespace client.InNamespace, options ...client.ListOption) []ctrl.Request {
	if !r.Issuers.worksIn(string(namespace)) {
		return nil
	}
	options = append(options, namespace, client.UnsafeDisableDeepCopy)
	var list v1alpha1.TokenGrantList
	if err := r.List(ctx, &list, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return nil
	}
	requests := make([]ctrl.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}
	}
	return requests
}

// specOrRequest passes changes of the spec, of our annotation and of the unknown fields, not those of the status, which are our own.
func specOrRequest() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, fieldsChanged(), predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetAnnotations()[v1alpha1.RefreshRequestedAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.RefreshRequestedAnnotation]
	}})
}

// issuerEvents wakes the grants of an issuer: all when its spec has changed or it has become Ready, because the cache may not
// show yet who waits for that; when it is no longer Ready, or for another reason, only those that have no token or fail, but for
// its silence: of that, recovery tells. Tokens that live need nothing of it.
func (r *GrantReconciler) issuerEvents() handler.EventHandler {
	all := func(ctx context.Context, o client.Object, q queue) { addAll(q, r.grantsOfIssuer(ctx, o)) }
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList { // At the start every grant is looked at anyway.
				all(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, after := r.ready(e.ObjectOld), r.ready(e.ObjectNew)
			switch {
			case e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration(), fieldsDiffer(e.ObjectOld, e.ObjectNew), before != after && after.Status == metav1.ConditionTrue:
				all(ctx, e.ObjectNew, q)
			case before != after:
				addAll(q, leastLifeFirst(r.grantsUsing(ctx, e.ObjectNew, func(s *v1alpha1.TokenGrantStatus) bool {
					return !issuerSilent(s) && (isFailing(*s) || s.RefreshAt == nil)
				})))
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { all(ctx, e.Object, q) },
	}
}

// ready is the condition Ready of an issuer, without its times.
func (r *GrantReconciler) ready(issuer client.Object) metav1.Condition {
	c := meta.FindStatusCondition(r.Issuers.view(issuer).status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return metav1.Condition{}
	}
	return metav1.Condition{Status: c.Status, Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration}
}

func addAll(q queue, requests []ctrl.Request) {
	for _, request := range requests {
		q.Add(request)
	}
}
