package issuer

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneTenantDoesNotCloseAnIssuerForOthers: what one tenant sends makes a sound issuer fail, again and again.
func TestOneTenantDoesNotCloseAnIssuerForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{})
		evil, good := WithTenant(t.Context(), "mallory"), WithTenant(t.Context(), "apps")
		w.refuses()
		for range 20 {
			_ = ask(evil, g)
		}
		if n := w.requests.Load(); n != tripAfter {
			t.Errorf("%d requests of a tenant whose requests fail, want %d", n, tripAfter)
		}
		w.gives(http.StatusOK)
		if err := ask(good, g); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		if err := ask(evil, g); !NotAsked(err) {
			t.Errorf("the tenant itself: %v, want not asked", err)
		}
		time.Sleep(openFor + time.Millisecond)
		if err := ask(evil, g); err != nil || len(g.tenants.failing) != 0 {
			t.Errorf("after the pause: %v, and %d tenants are kept", err, len(g.tenants.failing))
		}
	})
}

// TestTwoTenantsTellThatAnIssuerIsDown, and so does a request that no tenant has a part in.
func TestTwoTenantsTellThatAnIssuerIsDown(t *testing.T) {
	for name, confirm := range map[string]func(context.Context, roundTripper) error{
		"another tenant":         func(ctx context.Context, g roundTripper) error { return ask(WithTenant(ctx, "apps"), g) },
		"the discovery document": func(ctx context.Context, g roundTripper) error { return send(ctx, g, http.MethodGet) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, g := newWire(Config{})
				w.refuses()
				for range tripAfter {
					_ = ask(WithTenant(t.Context(), "mallory"), g)
				}
				if err := confirm(t.Context(), g); NotAsked(err) {
					t.Fatalf("who confirms was not asked: %v", err)
				}
				if err := ask(WithTenant(t.Context(), "third"), g); !NotAsked(err) {
					t.Errorf("a third tenant: %v, want not asked", err)
				}
			})
		})
	}
}

// TestASuccessClearsATenant: failures that are not in a row accuse nobody.
func TestASuccessClearsATenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, g := newWire(Config{})
		for range 3 {
			for _, namespace := range []string{"a", "b"} {
				w.refuses()
				_ = ask(WithTenant(t.Context(), namespace), g)
			}
			w.gives(http.StatusOK)
			if err := ask(WithTenant(t.Context(), "c"), g); err != nil {
				t.Fatal(err)
			}
		}
	})
}
