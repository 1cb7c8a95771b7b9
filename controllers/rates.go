package controllers

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/controllers/plan"
)

// rates bound what a tenant can have done as often as they like. They are kept by name: deleting an object and making it again
// gains nothing. What has not been used for a while takes no memory.
type rates struct {
	// of is that of one object; plan.GrantRate when zero.
	of plan.Rate

	mu         sync.Mutex
	named      map[types.NamespacedName]*plan.Budget
	namespaces map[string]*plan.Budget
	swept      time.Time
}

// sweepRatesEvery is the pause between two looks for budgets that are unspent.
const sweepRatesEvery = time.Minute

func (r *rates) rate() plan.Rate { return cmp.Or(r.of, plan.GrantRate) }

// next is when an object may act again, in a namespace with so many of the kind.
func (r *rates) next(key types.NamespacedName, objects int, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	if b := r.named[key]; b != nil {
		next = b.Next(now, r.rate())
	}
	if b := r.namespaces[key.Namespace]; b != nil {
		if all := b.Next(now, plan.NamespaceRate(objects)); all.After(next) {
			next = all
		}
	}
	return next
}

// spend counts what an object does.
func (r *rates) spend(key types.NamespacedName, objects int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	if r.named == nil {
		r.named, r.namespaces = map[types.NamespacedName]*plan.Budget{}, map[string]*plan.Budget{}
	}
	budgetOf(r.named, key).Spend(now, r.rate())
	budgetOf(r.namespaces, key.Namespace).Spend(now, plan.NamespaceRate(objects))
}

func budgetOf[K comparable](budgets map[K]*plan.Budget, key K) *plan.Budget {
	b := budgets[key]
	if b == nil {
		b = &plan.Budget{}
		budgets[key] = b
	}
	return b
}

func (r *rates) sweep(now time.Time) {
	if now.Sub(r.swept) < sweepRatesEvery {
		return
	}
	r.swept = now
	for key, b := range r.named {
		if b.Unspent(now, r.rate()) {
			delete(r.named, key)
		}
	}
	for namespace, b := range r.namespaces {
		if b.Unspent(now, plan.NamespaceRate(0)) {
			delete(r.namespaces, namespace)
		}
	}
}
