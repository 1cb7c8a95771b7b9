package controllers

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/stage"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// checkMinted asks Nextcloud about a new token, when that is due: always for the first token, a changed spec, another
// identity, a key that Nextcloud may not know yet, and while the last answer was no acceptance; else at the interval.
func (r *GrantReconciler) checkMinted(ctx context.Context, g *gathered, m *minted) (*nextcloud.Verdict, error) {
	c := g.grant.Spec.Nextcloud
	if c == nil {
		return nil, nil
	}
	planned := g.planCheck()
	if g.record != nil && !planned.Unsettled && sameIdentity(g.record, &m.record) &&
		g.now.Before(planned.LastAt.Add(planned.Interval)) {
		return nil, nil
	}
	return r.askNextcloud(ctx, g, m)
}

func sameIdentity(a, b *plan.Record) bool {
	return a.Token.Subject == b.Token.Subject && a.Token.Username == b.Token.Username && a.Inputs == b.Inputs &&
		a.KeyID == b.KeyID && slices.Equal(a.Token.Audience, b.Token.Audience)
}

func (r *GrantReconciler) askNextcloud(ctx context.Context, g *gathered, m *minted) (v *nextcloud.Verdict, err error) {
	ctx, end := stage.Begin(ctx, stage.Check)
	defer func() { end(verdictError(v, err)) }()
	c := g.grant.Spec.Nextcloud
	authorities, err := r.Issuers.authorities(ctx, g.grant.Namespace, c.CARef)
	if err != nil {
		return nil, err
	}
	hc, err := r.nextclouds.client(string(c.URL), authorities, r.Issuers)
	if err != nil {
		return nil, failf(v1alpha1.ReasonInvalidSpec, "spec.nextcloud.caRef cannot be used: %v", err)
	}
	nc := nextcloud.Client{URL: string(c.URL), HTTP: hc, UserAgent: r.Issuers.UserAgent}
	hints := hintsFor(g, m)
	verdict := nc.Check(ctx, m.token,
		nextcloud.Expect{User: c.Expect.User, Groups: words(c.Expect.Groups), NotInGroups: words(c.Expect.NotInGroups)}, hints)
	if verdict.Outcome == nextcloud.Accepted && len(c.Paths) > 0 {
		identity := verdict.Identity
		verdict = nc.CheckPaths(ctx, m.token, identity.User, pathChecks(c.Paths), hints)
		verdict.Identity = identity
	}
	return &verdict, ctx.Err()
}

// hintsFor tells what we know and Nextcloud's uniform 401 does not say.
func hintsFor(g *gathered, m *minted) nextcloud.Hints {
	known := g.grant.Status.Nextcloud // It keeps the user that Nextcloud named once.
	return nextcloud.Hints{
		NewKey:         g.record == nil || g.record.KeyID != m.record.KeyID,
		AcceptedBefore: known != nil && known.User != "",
		Username:       m.record.Token.Username,
		Issuer:         string(g.issuer.spec.URL),
		Audience:       m.record.Token.Audience,
	}
}

func pathChecks(paths []v1alpha1.NextcloudPath) []nextcloud.PathCheck {
	checks := make([]nextcloud.PathCheck, len(paths))
	for i, p := range paths {
		checks[i] = nextcloud.PathCheck{Path: p.Path, Access: nextcloud.Access(p.Access)}
	}
	return checks
}

// rejects says that a verdict keeps a new token out of the Secret.
func rejects(c *v1alpha1.NextcloudCheck, v *nextcloud.Verdict) bool {
	return v != nil && v.Outcome == nextcloud.Rejected && c.Policy != v1alpha1.PolicyWarn
}

// acceptedStatus is a verdict as the status of the condition Accepted.
func acceptedStatus(o nextcloud.Outcome) metav1.ConditionStatus {
	switch o {
	case nextcloud.Accepted:
		return metav1.ConditionTrue
	case nextcloud.Rejected:
		return metav1.ConditionFalse
	default:
		return metav1.ConditionUnknown
	}
}

func acceptedReason(v *nextcloud.Verdict) v1alpha1.Reason {
	if v.Outcome == nextcloud.Accepted {
		return v1alpha1.ReasonNextcloudAccepted
	}
	return v.Reason
}
