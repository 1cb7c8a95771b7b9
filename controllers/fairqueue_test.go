package controllers

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

func requestFor(namespace string, i int) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(i)}}
}

func newQueue(t *testing.T) *fairQueue {
	t.Helper()
	q, ok := newFairQueue(t.Name(), backoff()).(*fairQueue)
	if !ok {
		t.Fatal("not a fairQueue")
	}
	t.Cleanup(q.ShutDown)
	return q
}

// take works on so many requests, and says of which namespaces they are.
func take(q *fairQueue, n int) (namespaces []string) {
	for range n {
		request, _ := q.Get()
		q.Done(request)
		namespaces = append(namespaces, request.Namespace)
	}
	return namespaces
}

func TestACrowdLetsOthersPass(t *testing.T) {
	q := newQueue(t)
	for i := range 3 * namespaceBurst {
		q.Add(requestFor("many", i))
	}
	q.Add(requestFor("few", 0))
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priorityCalled)}, requestFor("called", 0))
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(priorityWaiting)}, requestFor("waits", 0))
	got := take(q, 3*namespaceBurst+3)
	want := []string{"called"}
	for range namespaceBurst {
		want = append(want, "many")
	}
	want = append(want, "few")
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Error(diff)
	}
	if len(q.ready) != 0 || len(q.of) != 0 {
		t.Errorf("counted after all is done: %v, %v", q.ready, q.of)
	}
}

func TestARequestCountsOnce(t *testing.T) {
	q := newQueue(t)
	for range 3 * namespaceBurst {
		q.Add(requestFor("one", 0))
	}
	q.AddAfter(requestFor("one", 1), time.Hour)
	if q.of["one"] != 1 {
		t.Errorf("counted %d", q.of["one"])
	}
	if _, priority, _ := q.GetWithPriority(); priority != 0 {
		t.Errorf("priority %d", priority)
	}
}

func TestPrioritiesAreBounded(t *testing.T) {
	q := newQueue(t)
	for i := range 100 * namespaceBurst {
		q.Add(requestFor("many", i))
	}
	last := 0
	for range 100 * namespaceBurst {
		_, priority, _ := q.GetWithPriority()
		last = min(last, priority)
	}
	if last != lastPriority {
		t.Errorf("the last has %d", last)
	}
}
