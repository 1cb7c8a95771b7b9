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
func (r *GrantReconciler) checkMinted(ctx context.Context, g *observation, m *minted) (*nextcloud.Verdict, error) {
	if g.grant.Spec.NextcloudCheck() == nil {
		return nil, nil
	}
	planned := g.planCheck()
	if g.record != nil && !planned.Unconfirmed && sameIdentity(g.record, &m.record) &&
		g.now.Before(planned.LastAt.Add(planned.Interval)) {
		return nil, nil
	}
	return r.askNextcloud(ctx, g, m)
}

func sameIdentity(a, b *plan.Record) bool {
	return a.Token.Subject == b.Token.Subject && a.Token.Username == b.Token.Username && a.Inputs == b.Inputs &&
		a.KeyID == b.KeyID && a.Name == b.Name && slices.Equal(a.Token.Audiences, b.Token.Audiences)
}

func (r *GrantReconciler) askNextcloud(ctx context.Context, g *observation, m *minted) (v *nextcloud.Verdict, err error) {
	ctx, end := stage.Begin(ctx, stage.Check)
	defer func() { end(verdictError(v, err)) }()
	c := g.grant.Spec.NextcloudCheck()
	hints := hintsFor(g, m)
	var verdict nextcloud.Verdict
	err = r.atNextcloud(ctx, g, string(c.URL), func(ctx context.Context, nc nextcloud.Client) error {
		verdict = nc.Check(ctx, m.token,
			nextcloud.Expect{User: c.Expect.User, Groups: words(c.Expect.Groups), NotInGroups: words(c.Expect.NotInGroups)}, hints)
		if verdict.Outcome == nextcloud.Accepted && len(c.Paths) > 0 {
			identity := verdict.Identity
			verdict = nc.CheckPaths(ctx, m.token, identity.User, pathChecks(c.Paths), hints)
			verdict.Identity = identity
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return &verdict, nil
}

// atNextcloud asks a Nextcloud of the grant, when there is a slot for it. While there is none nobody is asked, and the
// failure is deferred.
func (r *GrantReconciler) atNextcloud(ctx context.Context, g *observation, target string, ask func(context.Context, nextcloud.Client) error) error {
	c, err := r.cloud(ctx, g, target)
	if err != nil {
		return err
	}
	release, ok := c.slots.Acquire(r.waiter(g))
	if !ok {
		return r.deferred(g, c.slots, "Check deferred: too many requests to %s are still in flight", c.host)
	}
	defer release()
	return r.away(ctx, g, func(ctx context.Context) error {
		return ask(ctx, nextcloud.Client{URL: target, HTTP: c.http, UserAgent: r.Issuers.UserAgent})
	})
}

// cloud gives the connection to a Nextcloud of the grant. Where the authorities are gone with the grant, or the spec has
// dropped them, what was made there is ended through the connection that it was made with.
func (r *GrantReconciler) cloud(ctx context.Context, g *observation, target string) (*nextcloudClient, error) {
	c, used := g.grant.Spec.Nextcloud(), g.past.cloud
	var ref *v1alpha1.CARef
	if c != nil {
		ref = c.CARef
	}
	authorities, err := r.Issuers.authorities(ctx, g.grant.Namespace, ref)
	if used != nil && (c == nil || err != nil && !g.grant.DeletionTimestamp.IsZero()) {
		return used, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := r.nextclouds.client(target, authorities, r.Issuers)
	if err != nil {
		return nil, failf(v1alpha1.ReasonInvalidSpec, "%s.caRef cannot be used: %v", nextcloudPath(g.grant), err)
	}
	g.past.cloud = found
	return found, nil
}

// nextcloudPath is the field that says where the grant's Nextcloud is.
func nextcloudPath(grant *v1alpha1.TokenGrant) string {
	if grant.Spec.AppPassword != nil {
		return "spec.appPassword.nextcloud"
	}
	return "spec.check.nextcloud"
}

// hintsFor tells what we know and Nextcloud's uniform 401 does not say.
func hintsFor(g *observation, m *minted) nextcloud.Hints {
	known := g.grant.Status.Check // It keeps the user that Nextcloud named once.
	if m.record.Name != "" {
		return nextcloud.Hints{AppPassword: true, Username: m.record.Token.Username}
	}
	return nextcloud.Hints{
		NewKey:         g.record == nil || g.record.KeyID != m.record.KeyID,
		AcceptedBefore: known != nil && known.User != "",
		Username:       m.record.Token.Username,
		Issuer:         string(g.issuer.spec.URL),
		Audience:       m.record.Token.Audiences,
	}
}

func pathChecks(paths []v1alpha1.NextcloudPath) []nextcloud.PathCheck {
	checks := make([]nextcloud.PathCheck, len(paths))
	for i, p := range paths {
		checks[i] = nextcloud.PathCheck{Path: p.Path, Access: nextcloud.Access(p.Access)}
	}
	return checks
}

// withholds reports whether a token waits until Nextcloud was asked about it: the first one under Enforce, and one of
// another identity. A refresh of what is held does not wait.
func (g *observation) withholds(m *minted) bool {
	if c := g.grant.Spec.Check; c == nil || c.Policy == v1alpha1.PolicyWarn {
		return false
	}
	held := g.record
	return held == nil || held.Inputs != m.record.Inputs || held.Token.Subject != m.record.Token.Subject ||
		held.Token.Username != m.record.Token.Username || !slices.Equal(held.Token.Audiences, m.record.Token.Audiences)
}

// rejects says that a verdict keeps a new token out of the Secret.
func rejects(c *v1alpha1.Check, v *nextcloud.Verdict) bool {
	return v != nil && v.Outcome == nextcloud.Rejected && c.Policy != v1alpha1.PolicyWarn
}

// checkStatus is a verdict as the status of the condition CheckPassed.
func checkStatus(o nextcloud.Outcome) metav1.ConditionStatus {
	switch o {
	case nextcloud.Accepted:
		return metav1.ConditionTrue
	case nextcloud.Rejected:
		return metav1.ConditionFalse
	default:
		return metav1.ConditionUnknown
	}
}

func checkReason(v *nextcloud.Verdict) v1alpha1.Reason {
	if v.Outcome == nextcloud.Accepted {
		return v1alpha1.ReasonNextcloudAccepted
	}
	return v.Reason
}
