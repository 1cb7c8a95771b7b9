package integration

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestObjectsThatNobodyHasTouchedAreInProgress, so that Flux does not go on before the operator has looked at them.
func TestObjectsThatNobodyHasTouchedAreInProgress(t *testing.T) {
	t.Parallel()
	w := &world{Client: cluster.admin, t: t, namespace: newNamespace(t)} // No operator works here.
	named := metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}
	shared := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "untouched-" + w.namespace}}
	shared.Spec.URL = "https://id.example.com"
	for _, object := range []client.Object{
		w.grantFor("g", "kc", "worker"),
		&v1alpha1.TokenIssuer{ObjectMeta: named, Spec: v1alpha1.TokenIssuerSpec{URL: "https://id.example.com"}},
	} {
		w.create(object)
		if observed, ready := observedOf(t, w, object); observed != -1 || ready == nil || ready.Status != metav1.ConditionUnknown || ready.Reason != v1alpha1.ReasonPending {
			t.Errorf("%T: observedGeneration %d, Ready %+v", object, observed, ready)
		}
		w.computes(object, status.InProgressStatus)
	}
	// The operators of the other tests look at every ClusterTokenIssuer, so what the API server answers to its creation counts.
	if err := w.Create(t.Context(), shared, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if shared.Status.ObservedGeneration != -1 || meta.FindStatusCondition(shared.Status.Conditions, v1alpha1.ConditionReady) == nil {
		t.Errorf("ClusterTokenIssuer: %+v", shared.Status)
	}
}

func observedOf(t *testing.T, w *world, object client.Object) (int64, *metav1.Condition) {
	t.Helper()
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
	conditions, _ := conditionsOf(object)
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if g, ok := object.(*v1alpha1.TokenGrant); ok {
		return g.Status.ObservedGeneration, ready
	}
	return object.(*v1alpha1.TokenIssuer).Status.ObservedGeneration, ready
}

// TestKstatusOfAGrant: what Flux, Argo CD and Helm wait for.
func TestKstatusOfAGrant(t *testing.T) {
	w, _, g := simple(t)
	w.computes(g, status.CurrentStatus)
	w.computes(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kc"}}, status.CurrentStatus)

	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	w.computes(g, status.CurrentStatus)

	without := w.grantFor("without", "kc", "worker", func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true })
	w.create(without)
	w.await(without, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	w.await(without, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	w.computes(without, status.FailedStatus)

	change(w, without, func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = false })
	w.await(without, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.computes(without, status.CurrentStatus)
}

// computes waits until kstatus has the wanted word for an object as it is stored.
func (w *world) computes(object client.Object, want status.Status) {
	w.t.Helper()
	kind, err := w.GroupVersionKindFor(object)
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually(fmt.Sprintf("%T %s is %s", object, object.GetName(), want), func() (bool, string) {
		stored := &unstructured.Unstructured{}
		stored.SetGroupVersionKind(kind)
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(object), stored); err != nil {
			w.t.Fatal(err)
		}
		result, err := status.Compute(stored)
		if err != nil {
			w.t.Fatal(err)
		}
		return result.Status == want, fmt.Sprintf("%s: %s", result.Status, result.Message)
	})
}
