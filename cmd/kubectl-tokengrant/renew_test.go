package main

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// operator answers each request as soon as the annotation is there.
func operator(t *testing.T, answer func(*v1alpha1.TokenGrant)) interceptor.Funcs {
	t.Helper()
	return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
		if err := c.Patch(ctx, o, p, options...); err != nil {
			return err
		}
		g := o.(*v1alpha1.TokenGrant).DeepCopy()
		if got, want := g.Annotations[v1alpha1.RefreshRequestedAnnotation], now.Format(time.RFC3339Nano); got != want {
			t.Errorf("the annotation is %q, want %q", got, want)
		}
		answer(g)
		return c.Status().Update(ctx, g)
	}}
}

func TestRenewTellsWhatBecameOfTheRequest(t *testing.T) {
	mint := func(g *v1alpha1.TokenGrant) {
		g.Status.Token.IssuedAt, g.Status.Token.ExpiresAt = at(0), at(5*time.Minute)
	}
	for name, test := range map[string]struct {
		before func(*v1alpha1.TokenGrant)
		answer func(*v1alpha1.TokenGrant)
		code   int
		args   []string
	}{
		"renew":      {answer: mint},
		"renew-json": {answer: mint, args: []string{"-o", "json"}},
		"renew-all":  {answer: mint, args: []string{"--all"}},
		"renew-failed": {code: exitBroken, answer: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonThrottled, "429")
		}},
		"renew-silent":  {code: exitBroken, answer: func(*v1alpha1.TokenGrant) {}, args: []string{"--wait=10ms"}},
		"renew-no-wait": {answer: func(*v1alpha1.TokenGrant) {}, args: []string{"--wait=0s"}},
		"renew-suspended": {
			code: exitBroken, answer: func(*v1alpha1.TokenGrant) {},
			before: func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true },
		},
		"renew-stalled": {
			code: exitBroken, answer: func(*v1alpha1.TokenGrant) {},
			before: func(g *v1alpha1.TokenGrant) {
				failing(g, v1alpha1.ReasonCredentialMissing, `Secret "notes-client" not found`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := readyGrant()
			if test.before != nil {
				test.before(g)
			}
			args := []string{"renew", "-n", "apps"}
			if name != "renew-all" {
				args = append(args, "notes-sync")
			}
			newBench(t, operator(t, test.answer), g).golden(t, name, test.code, append(args, test.args...)...)
		})
	}
}

// TestAFailureOfBeforeIsNoAnswer: what the status said when the request was made is not about the request.
func TestAFailureOfBeforeIsNoAnswer(t *testing.T) {
	g := readyGrant()
	failing(g, v1alpha1.ReasonThrottled, "429")
	r := &renewal{before: *g.Status.DeepCopy()}
	if r.answered(g, now) {
		t.Errorf("got %+v", r)
	}
	g.Status.LastAttempt.Time = at(0)
	if !r.answered(g, now) || r.Outcome != renewFailed {
		t.Errorf("got %+v", r)
	}
}
