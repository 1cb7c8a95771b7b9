package issuer

import (
	"context"
	"errors"
	"sync"

	"github.com/sony/gobreaker/v2"
)

// An issuer that several tenants share has one breaker for all, and one for each tenant whose requests fail. What a
// tenant sends can make a sound issuer fail; so the shared breaker opens only when the requests of two tenants fail, or
// one that no tenant has a part in: of the discovery document or the keys.

type tenantKey struct{}

// WithTenant names the tenant, a namespace, on whose behalf the requests of a context are sent. It is for issuers that
// tenants share; without it a failure counts as the issuer's own.
func WithTenant(ctx context.Context, namespace string) context.Context {
	return context.WithValue(ctx, tenantKey{}, namespace)
}

func tenantOf(ctx context.Context) string {
	namespace, _ := ctx.Value(tenantKey{}).(string)
	return namespace
}

// maxTenants bounds how many failing tenants are told apart. There are never so many unless all fail, and then the shared
// breaker is open.
const maxTenants = 1000

// tenants tells failing tenants of an issuer apart. A tenant whose requests succeed is not kept.
type tenants struct {
	// onStateChange is called when the breaker of a tenant changes its state.
	onStateChange func(from, to gobreaker.State)

	mu sync.Mutex
	// accused are those whose requests have failed since the last success of anybody; "" is no tenant.
	accused map[string]bool
	failing map[string]*tenant
}

type tenant struct {
	breaker *gobreaker.TwoStepCircuitBreaker[any]

	mu    sync.Mutex
	fault error
}

// agree reports whether the failures since the last success are not those of a single tenant.
func (t *tenants) agree() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accused[""] || len(t.accused) > 1
}

// record counts how a request went.
func (t *tenants) record(of string, fault error) {
	if errors.Is(fault, errNoWord) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fault == nil {
		clear(t.accused)
		return
	}
	if len(t.accused) < maxTenants {
		t.accused[of] = true
	}
	if known := t.failing[of]; known != nil {
		known.note(fault)
	}
}

func (t *tenants) get(of string) *tenant {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failing[of]
}

// heldBack returns the fault that opened the breaker of a tenant; nil while it is not open.
func (t *tenants) heldBack(of string) error {
	if known := t.get(of); known != nil && known.breaker.State() == gobreaker.StateOpen {
		return known.down()
	}
	return nil
}

// allow asks the breaker of a tenant. The returned function says how the request went.
func (t *tenants) allow(of string) (done func(error), err error) {
	if of == "" {
		return func(error) {}, nil
	}
	known := t.get(of)
	if known == nil {
		return func(fault error) {
			if fault != nil && !errors.Is(fault, errNoWord) {
				t.begin(of, fault)
			}
		}, nil
	}
	proceed, err := known.breaker.Allow()
	if err != nil {
		return nil, known.down()
	}
	return func(fault error) {
		proceed(fault)
		if fault == nil {
			t.end(of)
		}
	}, nil
}

// begin keeps a breaker for a tenant whose request was the first to fail.
func (t *tenants) begin(of string, fault error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing[of] != nil || len(t.failing) >= maxTenants {
		return
	}
	known := &tenant{fault: fault}
	known.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       openFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter-1 }, // The first one was before.
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoWord) },
		OnStateChange: func(_ string, from, to gobreaker.State) { t.onStateChange(from, to) },
	})
	t.failing[of] = known
}

// end forgets a tenant whose request has succeeded.
func (t *tenants) end(of string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failing, of)
}

// someHeldBack reports whether the breaker of a tenant is not closed.
func (t *tenants) someHeldBack() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, known := range t.failing {
		if known.breaker.State() != gobreaker.StateClosed {
			return true
		}
	}
	return false
}

func (t *tenant) note(fault error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = fault
}

// down is the error of a request that was not sent.
func (t *tenant) down() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &notAsked{t.fault}
}
