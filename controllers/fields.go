package controllers

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/skew"
)

// unknownFields finds grants and issuers with fields that this operator does not know. While the CRDs have no such field it
// asks nobody.
type unknownFields struct {
	live   client.Reader
	served *skew.Served
	// changed has an event, for each kind, after the CRDs have.
	changed map[string]chan event.GenericEvent

	mu   sync.Mutex
	seen map[user]seenFields
}

// seenFields are the unknown fields of one generation of an object, by the served schema at that time.
type seenFields struct {
	uid        types.UID
	generation int64
	changes    int
	paths      []string
}

// newUnknownFields wakes all grants and issuers when the CRDs have changed.
func newUnknownFields(live client.Reader, served *skew.Served) *unknownFields {
	u := &unknownFields{live: live, served: served, changed: map[string]chan event.GenericEvent{}, seen: map[user]seenFields{}}
	for kind := range skew.Kinds {
		u.changed[kind] = make(chan event.GenericEvent, 1)
	}
	served.OnChange(func() {
		for _, c := range u.changed {
			send(c, &v1alpha1.TokenGrant{})
		}
	})
	return u
}

// wake queues all objects of a kind when the CRDs have changed.
func (u *unknownFields) wake(kind string, all func(context.Context) []ctrl.Request) source.Source {
	return source.Channel(u.changed[kind], handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []ctrl.Request { return all(ctx) }))
}

// check fails with FieldUnknown where an object has a field that this operator does not know: by its managedFields, and
// while the served schema has such fields, by the object itself. That is read once for each generation.
func (u *unknownFields) check(ctx context.Context, of user, object client.Object) error {
	paths := skew.Kinds[of.kind].InManagedFields(object.GetManagedFields())
	switch {
	case len(paths) > 0:
		return unknownFailure(of, paths, u.dropped(ctx, of, object))
	case u == nil || len(u.served.Unknown(of.kind)) == 0:
		return nil
	}
	paths, err := u.inObject(ctx, of, object)
	if err != nil || len(paths) == 0 {
		return err
	}
	return unknownFailure(of, paths, false)
}

// dropped says that the API server has dropped the unknown fields that managedFields tell of. The served schema is no proof: it
// is published some seconds after the CRD.
func (u *unknownFields) dropped(ctx context.Context, of user, object client.Object) bool {
	if u == nil {
		return false
	}
	paths, err := u.inObject(ctx, of, object)
	return err == nil && len(paths) == 0
}

// inObject returns the unknown fields of an object as it is served, which is read once for each generation and schema.
func (u *unknownFields) inObject(ctx context.Context, of user, object client.Object) ([]string, error) {
	changes := u.served.Changes()
	u.mu.Lock()
	s, known := u.seen[of]
	u.mu.Unlock()
	if known && s.uid == object.GetUID() && s.generation == object.GetGeneration() && s.changes == changes {
		return s.paths, nil
	}
	s, err := u.read(ctx, of, object, changes)
	return s.paths, err
}

// read asks the API server for the object as it is: with a list, for which the operator has the permission for each kind.
func (u *unknownFields) read(ctx context.Context, of user, object client.Object, changes int) (seenFields, error) {
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(of.kind + "List"))
	err := u.live.List(ctx, &list, client.InNamespace(of.Namespace), client.MatchingFields{"metadata.name": of.Name})
	if err != nil {
		return seenFields{}, fmt.Errorf("looking for unknown fields of %s %s: %w", of.kind, of.NamespacedName, err)
	}
	if len(list.Items) != 1 || list.Items[0].GetUID() != object.GetUID() || list.Items[0].GetGeneration() != object.GetGeneration() {
		return seenFields{}, fmt.Errorf("looking for unknown fields of %s %s: it has changed meanwhile", of.kind, of.NamespacedName)
	}
	paths := skew.Kinds[of.kind].InObject(list.Items[0].Object["spec"])
	s := seenFields{uid: object.GetUID(), generation: object.GetGeneration(), changes: changes, paths: paths}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen[of] = s
	return s, nil
}

// forget drops what is known of an object that is gone.
func (u *unknownFields) forget(of user) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.seen, of)
}

// unknownFailure names the fields. Those that the API server drops cannot be taken out of a manifest: the object must forget
// who set them.
func unknownFailure(of user, paths []string, dropped bool) error {
	fields := strings.Join(paths, ", ")
	message := fmt.Sprintf("this operator does not know %s: upgrade the operator, or remove the field", fields)
	if dropped {
		message = fmt.Sprintf("neither this operator nor the CRD knows %s: upgrade both and apply the object again; or, to do without the field, run: %s", fields, forgetting(of))
	}
	if of.kind != kindTokenGrant {
		message = fmt.Sprintf("%s %q: %s", of.kind, of.Name, message)
	}
	return &failure{reason: v1alpha1.ReasonFieldUnknown, message: message}
}

// forgetting is the command by which an object forgets who set which field.
func forgetting(of user) string {
	c := command.New("kubectl patch").Arg(strings.ToLower(of.kind)).Arg(of.Name)
	if of.Namespace != "" {
		c = c.Flag("-n", of.Namespace)
	}
	text, err := c.Words(`--type=merge -p '{"metadata":{"managedFields":[{}]}}'`).Text()
	if err != nil {
		return "kubectl patch" // no name of an object has a character that cannot be written
	}
	return text
}

// fieldsChanged passes objects of which other unknown fields are told. The generation does not move when managedFields do.
func fieldsChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return fieldsDiffer(e.ObjectOld, e.ObjectNew) }}
}

func fieldsDiffer(before, after client.Object) bool {
	return !equality.Semantic.DeepEqual(before.GetManagedFields(), after.GetManagedFields())
}

// fields fails where the spec of an issuer has fields that this operator does not know.
func (i *Issuers) fields(ctx context.Context, view issuerView) error {
	return i.UnknownFields.check(ctx, user{view.kind, client.ObjectKeyFromObject(view.object)}, view.object)
}

// reconcileOrHold is reconcile, unless the spec has unknown fields.
func (r *GrantReconciler) reconcileOrHold(ctx context.Context, grant *v1alpha1.TokenGrant, unknown *failure) (outcome, time.Duration, error) {
	if unknown != nil {
		return r.hold(ctx, grant, unknown)
	}
	return r.reconcile(ctx, grant)
}

// hold reports on a grant of which the spec has unknown fields, and does nothing else: the rest of the spec may mean something
// else than it says here. So no Secret is repaired or moved, and nothing is ended that the spec seems not to ask for.
func (r *GrantReconciler) hold(ctx context.Context, grant *v1alpha1.TokenGrant, unknown *failure) (outcome, time.Duration, error) {
	g := r.ending(grant)
	if _, err := asFailure(r.gatherSecret(ctx, g)); err != nil {
		return outcome{}, 0, err
	}
	g.reshaped = false
	decision := plan.Decide(r.planInput(g, unknown))
	out := outcome{now: g.now, grant: grant, failed: unknown, waiting: decision.MintReason != ""}
	r.remember(g, &out, decision, g.now)
	out.record, out.usable, out.unusableReason, out.refreshAt = g.record, decision.Usable, decision.UnusableReason, decision.RefreshAt
	return out, decision.Delay(g.now), nil
}

// known fills in defaults, and finds out whether this operator knows the whole spec. Where it does not, the grant goes on with
// the Secret that it has, and neither gets nor loses a finalizer. again is when to come again; 0 is not at all.
func (r *GrantReconciler) known(ctx context.Context, grant *v1alpha1.TokenGrant) (unknown *failure, again time.Duration, err error) {
	grant.Default()
	unknown, err = asFailure(r.Issuers.UnknownFields.check(ctx, user{kindTokenGrant, client.ObjectKeyFromObject(grant)}, grant))
	switch {
	case err != nil:
		return nil, 0, err
	case unknown == nil:
		again, err = r.ensureFinalizer(ctx, grant)
		return nil, again, err
	}
	s := grant.Spec.Delivery.Secret
	s.Name = cmp.Or(grant.Status.SecretName, s.Name)
	return unknown, 0, nil
}

// all lists the grants, least life left first.
func (r *GrantReconciler) all(ctx context.Context) []ctrl.Request {
	var list v1alpha1.TokenGrantList
	if err := r.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenGrants")
		return nil
	}
	return leastLifeFirst(list.Items)
}

// all lists the issuers of the kind.
func (r *IssuerReconciler) all(ctx context.Context) []ctrl.Request {
	views, err := r.Issuers.all(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list issuers")
		return nil
	}
	var requests []ctrl.Request
	for _, view := range views {
		if view.kind == r.kind() {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(view.object)})
		}
	}
	return requests
}
