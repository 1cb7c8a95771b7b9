package controllers

import (
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

const (
	// pile is how many failing grants one namespace has.
	pile = 10_000
	// amid is how many of them have been looked at when a grant of another namespace is applied.
	amid = pile / 10
	// perFailingGrant bounds the memory of one of them, in bytes, beside the caches.
	perFailingGrant = 4 << 10
)

// working is an operator that works on a queue with eight workers.
type working struct {
	*referring

	queue *fairQueue
	stop  func()

	mu     sync.Mutex
	done   int
	served int // as what number the grant of the other namespace was looked at
}

// TestTenThousandFailingGrantsOfOneNamespace: what each of them takes of the operator's memory is bounded, and a grant of
// another namespace that is applied meanwhile passes those that wait.
func TestTenThousandFailingGrantsOfOneNamespace(t *testing.T) {
	w := &working{referring: newReferring(t)}
	few := &fewObjects{Client: w.Client, secret: secretOf("", 1<<10), grant: w.grant("g", "s")}
	if err := w.Get(t.Context(), types.NamespacedName{Namespace: "apps", Name: "keycloak"}, &few.issuer); err != nil {
		t.Fatal(err)
	}
	w.Client, w.Issuers.Reader, w.Issuers.References = few, few, NewReferences(few, few)
	var ok bool
	if w.queue, ok = newFairQueue(t.Name(), backoff()).(*fairQueue); !ok {
		t.Fatal("not a fairQueue")
	}
	w.stop = sync.OnceFunc(w.queue.ShutDown)
	for i := range pile {
		w.queue.Add(requestFor("apps", i))
	}
	before := heap()
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(w.work)
	}
	workers.Wait()
	each := (heap() - before) / pile
	if each > perFailingGrant {
		t.Errorf("each grant takes %d bytes, want %d at most", each, perFailingGrant)
	}
	if w.served == 0 || w.served > pile/2 { // Without turns it is the last one. How many are served meanwhile depends on the machine.
		t.Errorf("the other namespace's grant came as number %d, and was applied as number %d", w.served, amid)
	}
	t.Logf("%d failing grants: %d bytes of memory for each; another namespace's grant waited for %d of them", pile, each, w.served-amid)
}

// work looks at grants until all have been looked at once.
func (w *working) work() {
	for {
		request, _, stopped := w.queue.GetWithPriority()
		if stopped {
			return
		}
		result, err := w.Reconcile(quiet(w.t), request)
		if err != nil {
			w.t.Error(err)
		}
		if result.RequeueAfter > 0 {
			w.queue.AddWithOpts(priorityqueue.AddOpts{After: result.RequeueAfter, Priority: result.Priority}, request)
		}
		w.queue.Done(request)
		w.count(request.Namespace)
	}
}

func (w *working) count(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	switch {
	case namespace == "other":
		w.served = w.done
	case w.done == amid:
		w.queue.Add(requestFor("other", 0))
	case w.done > pile:
		w.stop()
	}
}
