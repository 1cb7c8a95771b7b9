package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// oneInEachState gives grants of one issuer in all states that count.
func oneInEachState(t *testing.T) (*GrantReconciler, *v1alpha1.TokenIssuer) {
	t.Helper()
	of := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "kc", Generation: 1}}
	objects := []client.Object{of}
	add := func(name string, life, due time.Duration, reason v1alpha1.Reason) {
		g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}}
		g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: kindTokenIssuer, Name: "kc"}
		if life > 0 {
			g.Status.Token = &v1alpha1.TokenStatus{ExpiresAt: metav1.NewTime(noon.Add(life))}
			g.Status.RefreshAt = new(metav1.NewTime(noon.Add(due)))
		}
		if reason != "" {
			g.Status.ConsecutiveFailures = 1
			g.Status.LastAttempt = &v1alpha1.Attempt{Time: metav1.NewTime(earlier), Reason: reason}
		}
		objects = append(objects, g)
	}
	add("well", time.Hour, 30*time.Minute, "")
	add("due", 10*time.Minute, -time.Minute, "")
	add("silent", 5*time.Minute, -time.Minute, v1alpha1.ReasonIssuerUnreachable)
	add("silent-with-more-life", 20*time.Minute, 10*time.Minute, v1alpha1.ReasonIssuerUnreachable)
	add("not-ready", 0, 0, v1alpha1.ReasonIssuerNotReady)
	add("new", 0, 0, "")
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	for _, kind := range []client.Object{&v1alpha1.TokenGrant{}, &v1alpha1.TokenIssuer{}, &v1alpha1.ClusterTokenIssuer{}} {
		c = c.WithIndex(kind, refersTo, references)
	}
	return &GrantReconciler{Client: c.Build(), Clock: clocktesting.NewFakePassiveClock(noon), Issuers: &Issuers{}}, of
}

func named(requests []ctrl.Request) (names []string) {
	for _, r := range requests {
		names = append(names, r.Name)
	}
	return names
}

func TestADoubtfulIssuerIsTriedByTheOneWithTheLeastLifeOfThoseThatFailed(t *testing.T) {
	r, of := oneInEachState(t)
	if diff := cmp.Diff([]string{"silent"}, named(r.grantToTry(t.Context(), of))); diff != "" {
		t.Errorf("tried by (-want +got):\n%s", diff)
	}
}

func TestAnIssuerThatIsBackWakesWhoeverIsDueOrFailedForItsSilence(t *testing.T) {
	r, of := oneInEachState(t)
	want := []string{"new", "not-ready", "silent", "due", "silent-with-more-life"}
	if diff := cmp.Diff(want, named(r.grantsWaitingFor(t.Context(), of))); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

func TestAnIssuerWakesOnlyTheGrantsThatItsChangeMatters(t *testing.T) {
	ready := func(is metav1.ConditionStatus) func(*v1alpha1.TokenIssuer) {
		return func(o *v1alpha1.TokenIssuer) {
			setCondition(&o.Status.Conditions, noon, 1, v1alpha1.ConditionReady, is, v1alpha1.ReasonDiscovered, "")
		}
	}
	everybody := []string{"due", "new", "not-ready", "silent", "silent-with-more-life", "well"}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.TokenIssuer)
		want   []string
	}{
		"another spec":      {func(o *v1alpha1.TokenIssuer) { o.Generation = 2 }, everybody},
		"Ready at last":     {ready(metav1.ConditionTrue), everybody},
		"no longer Ready":   {ready(metav1.ConditionFalse), []string{"new", "not-ready"}},
		"another discovery": {func(o *v1alpha1.TokenIssuer) { o.Status.LastDiscovery = new(metav1.NewTime(noon)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, before := oneInEachState(t)
			after := before.DeepCopy()
			tc.change(after)
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
			defer q.ShutDown()
			r.issuerEvents().Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, q)
			var woken []string
			for q.Len() > 0 {
				request, _ := q.Get()
				woken = append(woken, request.Name)
				q.Done(request)
			}
			if diff := cmp.Diff(tc.want, woken); diff != "" {
				t.Errorf("woken (-want +got):\n%s", diff)
			}
		})
	}
}
