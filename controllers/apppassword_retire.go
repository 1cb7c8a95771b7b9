package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/nextcloud"
)

const (
	// retireRetry is the pause after an app password could not be deleted at Nextcloud.
	retireRetry = 5 * time.Minute
	// keepRetry is the pause after the API server did not take what is kept.
	keepRetry = 10 * time.Second
)

// reconcileRetired deletes the app passwords whose time has come, and notes what this reconcile has found out about the others.
func (r *GrantReconciler) reconcileRetired(ctx context.Context, g *observation, out *outcome, d *plan.Decision) {
	if d.Retire {
		r.retire(ctx, g)
	}
	r.updateAppPasswords(ctx, g, out.verdict)
	if d.MintReason == plan.MintRejected && !g.rejected() {
		d.MintReason, out.waiting = "", false // Nextcloud takes it again, or it was replaced.
	}
	if out.failed == nil && out.waiting {
		out.failed = g.refused
	}
}

// updateAppPasswords keeps what became of the app passwords. A write that is refused is no failure of the grant: memory has it, and it is
// repeated.
func (r *GrantReconciler) updateAppPasswords(ctx context.Context, g *observation, v *nextcloud.Verdict) {
	s := g.past.session
	if s == nil || len(s.AppPasswords) == 0 {
		return
	}
	list := pruned(s.AppPasswords, g.record, v, g.now, cmp.Or(r.Overlap, g.overlap()))
	if slices.EqualFunc(list, s.AppPasswords, offline.AppPassword.Equal) && !s.unsaved {
		return
	}
	s.AppPasswords = list
	r.tryToKeep(ctx, g)
}

func (r *GrantReconciler) tryToKeep(ctx context.Context, g *observation) {
	if err := r.keepAppPasswords(ctx, g); err != nil {
		ctrl.LoggerFrom(ctx).Info("Cannot keep the app passwords yet", "failure", err.Error())
		g.past.retireAfter = g.now.Add(keepRetry)
	}
}

// overlap is how long a replaced app password goes on working.
func (g *observation) overlap() time.Duration {
	if a := g.grant.Spec.AppPassword; a != nil {
		return a.Rotation.Overlap.Duration
	}
	return v1alpha1.DefaultOverlap
}

// pruned is pure. published describes what the Secret holds, and v is Nextcloud's word about it; either may be nil.
//
// What was published ends when something else has been published instead, and then not at once: pods still have it. What
// never was published and has a successor ends at once.
func pruned(list []offline.AppPassword, published *plan.Record, v *nextcloud.Verdict, now time.Time, overlap time.Duration) []offline.AppPassword {
	list = slices.Clone(list)
	current := -1
	if published != nil {
		current = slices.IndexFunc(list, func(p offline.AppPassword) bool { return p.Name == published.Name })
	}
	for i := range list {
		p := &list[i]
		switch {
		case i == current:
			p.Published, p.EndAt = true, time.Time{}
			recordVerdict(p, v)
		case !p.EndAt.IsZero():
		case published != nil && published.Name == "", i < current:
			p.EndAt = now
			if p.Published {
				p.EndAt = now.Add(overlap)
			}
		case !p.Published && i < len(list)-1:
			p.EndAt = now
		}
	}
	return list
}

// recordVerdict notes Nextcloud's word. A user or a group that is not as expected was let in nevertheless.
func recordVerdict(p *offline.AppPassword, v *nextcloud.Verdict) {
	if v == nil || v.Outcome == nextcloud.Unknown {
		return
	}
	p.Rejected = v.Reason == nextcloud.ReasonRejected
	p.Worked = p.Worked || !p.Rejected
}

// retireAt is when there is something to do about app passwords that are not in use any more; zero for never. One that
// was published waits until its successor has been seen to work.
func (g *observation) retireAt() time.Time {
	var next time.Time
	if g.past.session == nil {
		return next
	}
	for _, p := range g.past.session.AppPasswords {
		if g.replaced(&p) && (next.IsZero() || p.EndAt.Before(next)) {
			next = p.EndAt
		}
	}
	if g.past.retireAfter.After(g.now) && (g.past.session.unsaved || !next.IsZero()) {
		return g.past.retireAfter
	}
	return next
}

// replaced says that nobody needs it any more.
func (g *observation) replaced(p *offline.AppPassword) bool {
	if p.EndAt.IsZero() {
		return false
	}
	if !p.Published || p.Rejected || g.record == nil || g.record.Name == "" {
		return true
	}
	successor := g.appPassword(g.record.Name)
	return successor == nil || successor.Worked && !successor.Rejected
}

// retire deletes at Nextcloud what is due.
func (r *GrantReconciler) retire(ctx context.Context, g *observation) {
	s := g.past.session
	var left []offline.AppPassword
	for _, p := range s.AppPasswords {
		if !g.replaced(&p) || p.EndAt.After(g.now) {
			left = append(left, p)
			continue
		}
		if err := r.deleteAppPassword(ctx, g, &p); err != nil {
			ctrl.LoggerFrom(ctx).Info("Cannot delete an app password at Nextcloud yet", "failure", err.Error())
			g.past.retireAfter = g.now.Add(retireRetry)
			left = append(left, p)
		}
	}
	if len(left) < len(s.AppPasswords) {
		s.AppPasswords = left
		r.tryToKeep(ctx, g)
	}
}

// deleteAppPassword ends one at the Nextcloud that made it. One that does not let it in has ended it already.
func (r *GrantReconciler) deleteAppPassword(ctx context.Context, g *observation, p *offline.AppPassword) error {
	err := r.atNextcloud(ctx, g, p.URL, func(ctx context.Context, nc nextcloud.Client) error {
		return nc.Delete(ctx, nextcloud.AppPassword{User: p.User, Name: p.Name, Password: p.Password})
	})
	failed, ok := errors.AsType[*nextcloud.Error](err)
	switch {
	case ok && failed.Reason == nextcloud.ReasonRejected:
		return nil
	case ok:
		err = &failure{reason: failed.Reason, message: failed.Message}
	}
	return annotate(err, fmt.Sprintf("app password %q of user %q at %s (it works until it is deleted there, see occ user:auth-tokens:list)", p.Name, p.User, p.URL))
}

// rejected says that Nextcloud does not take the published app password any more.
func (g *observation) rejected() bool {
	if g.record == nil {
		return false
	}
	p := g.appPassword(g.record.Name)
	return p != nil && p.Worked && p.Rejected
}
