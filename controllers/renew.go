package controllers

import (
	"context"
	"time"
)

// renew mints, checks and publishes a token. A token that was minted for the same before, and could not be written,
// is used instead of another mint.
func (r *GrantReconciler) renew(ctx context.Context, g *observation, out *outcome) error {
	m := g.unpublished()
	if m == nil {
		var err error
		err = r.away(ctx, g, func(ctx context.Context) error {
			m, err = r.obtain(ctx, g, out)
			return err
		})
		if err != nil {
			return err
		}
	}
	// A token that was minted is written, also when the operator is being stopped.
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := r.publish(ctx, g, m); err != nil {
		return err
	}
	out.minted = true
	return nil
}

// obtain gives a token that may be published: verified, and not rejected by Nextcloud.
func (r *GrantReconciler) obtain(ctx context.Context, g *observation, out *outcome) (*minted, error) {
	m := g.withheld()
	if m == nil {
		var err error
		if m, err = r.mint(ctx, g); err != nil {
			return nil, err
		}
	}
	verdict, err := r.checkMinted(ctx, g, m)
	switch {
	case isDeferred(err) && !g.withholds(m): // What is held goes on. The check stays due.
	case isDeferred(err):
		g.past.withheld = m
		return nil, err
	case err != nil:
		return nil, err
	}
	g.past.withheld = nil
	rejected := rejects(g.grant.Spec.Check, verdict)
	if !rejected || g.record == nil {
		out.verdict = verdict
	}
	if !rejected {
		return m, nil
	}
	if verdict.StaleKeys {
		g.past.withheld = m // Another token would be signed by the same key: ask again with this one.
	}
	return nil, &failure{reason: verdict.Reason, message: verdict.Message, retryAfter: verdict.RetryAfter}
}

// recheck asks Nextcloud about the token in the Secret.
func (r *GrantReconciler) recheck(ctx context.Context, g *observation, out *outcome) error {
	var err error
	out.verdict, err = r.askNextcloud(ctx, g, g.held())
	return err
}

// detached gives a context that outlives the stop of the operator by a moment.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}
