package diagnose

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// stepNextcloud asks Nextcloud about the token that would be published.
func (w *walk) stepNextcloud(ctx context.Context) Step {
	if w.grant == nil || w.grant.Spec.NextcloudCheck() == nil {
		return skip("there is no Nextcloud to ask")
	}
	if w.own == nil && w.password.IsZero() {
		return skip("there is no token")
	}
	nc, missing := w.nextcloudClient(ctx)
	if missing != nil {
		return *missing
	}
	c := w.grant.Spec.NextcloudCheck()
	expect := nextcloud.Expect{User: c.Expect.User, Groups: words(c.Expect.Groups), NotInGroups: words(c.Expect.NotInGroups)}
	v := nc.Check(ctx, w.final(), expect, w.hints(ctx))
	if v.Outcome == nextcloud.Accepted {
		w.user = v.Identity.User
		return ok("%s accepts the %s as user %q", c.URL, w.thing(), v.Identity.User)
	}
	if v.Reason == nextcloud.ReasonRejected && !v.StaleKeys && w.acceptsWithoutAudience(ctx, nc) {
		// Then the provider, its keys and the user are in order; only aud is left.
		return broken(v.Reason, w.cureNextcloudAudience(), "%s: Nextcloud refuses this token and accepts one without aud: the client ID of its provider is none of [%s]",
			v.Reason, strings.Join(w.finalClaims.Audience, " "))
	}
	s := broken(v.Reason, w.cureNextcloud(v, expect), "%s: %s", v.Reason, v.Message)
	if v.Reason == nextcloud.ReasonUnreachable && w.grant.Status.Check != nil && w.grant.Status.Check.CheckedAt != nil {
		s.Result = Unknown
		s.Message += ". It answered the operator " + w.ago(w.grant.Status.Check.CheckedAt.Time) + ": this machine may be outside of its network"
	}
	return s
}

// stepPaths asks for the permissions that the grant needs; nothing is written.
func (w *walk) stepPaths(ctx context.Context) Step {
	if w.grant == nil || w.grant.Spec.NextcloudCheck() == nil || len(w.grant.Spec.Check.Nextcloud.Paths) == 0 {
		return skip("no spec.check.nextcloud.paths")
	}
	if w.own == nil && w.password.IsZero() {
		return skip("there is no token")
	}
	nc, missing := w.nextcloudClient(ctx)
	if missing != nil {
		return *missing
	}
	paths := w.grant.Spec.Check.Nextcloud.Paths
	checks := make([]nextcloud.PathCheck, len(paths))
	for i, p := range paths {
		checks[i] = nextcloud.PathCheck{Path: p.Path, Access: nextcloud.Access(p.Access)}
	}
	if v := nc.CheckPaths(ctx, w.final(), w.user, checks, w.hints(ctx)); v.Outcome != nextcloud.Accepted {
		return broken(v.Reason, script{
			command.Comment("where the path is there and Nextcloud does not know it yet"),
			w.withUser(command.New("occ files:scan"), w.user),
		}, "%s: %s", v.Reason, v.Message)
	}
	return ok("user %q has the access that the paths ask for", w.user)
}

func (w *walk) nextcloudClient(ctx context.Context) (nextcloud.Client, *Step) {
	n := w.grant.Spec.Nextcloud()
	o, missing := w.connect(ctx, n.CARef, w.grant.Namespace)
	if missing != nil {
		return nextcloud.Client{}, missing
	}
	hc, err := httpclient.New(o)
	if err != nil {
		s := broken(v1alpha1.ReasonInvalidSpec, nil, "spec.check.nextcloud.caRef cannot be used: %v", err)
		return nextcloud.Client{}, &s
	}
	return nextcloud.Client{URL: string(n.URL), HTTP: hc, UserAgent: w.UserAgent}, nil
}

// hints are as the operator gives them. The key of the published token is known where the Secret can be read.
func (w *walk) hints(ctx context.Context) nextcloud.Hints {
	if w.asksNextcloud() {
		return nextcloud.Hints{AppPassword: true, Username: w.accountName}
	}
	h := nextcloud.Hints{
		NewKey: true, Username: w.finalClaims.Username, Issuer: string(w.issuer.spec.URL), Audience: w.finalClaims.Audience,
		AcceptedBefore: w.grant.Status.Check != nil && w.grant.Status.Check.User != "",
	}
	var s corev1.Secret
	name := w.grant.SecretDelivery().Name
	if w.Client.Get(ctx, client.ObjectKey{Namespace: w.grant.Namespace, Name: name}, &s) != nil {
		h.NewKey = !h.AcceptedBefore
		return h
	}
	if record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation]); err == nil {
		h.NewKey = record.KeyID != w.finalClaims.KeyID
	}
	return h
}

// stepNoAudience finds out whether the audience protects anything at Nextcloud. Only a token without any audience is
// sent there: one for somebody else would give Nextcloud what is not meant for it.
func (w *walk) stepNoAudience(ctx context.Context) Step {
	switch {
	case w.grant == nil || w.grant.Spec.NextcloudCheck() == nil:
		return skip("there is no Nextcloud to ask")
	case !w.hasTokenWithoutAudience():
		return skip("not tried: there is no token without an audience at hand. user_oidc 8.10.1 was measured to accept tokens without aud; " +
			"what protects is that the operator publishes none")
	case w.exchanged == nil:
		return warn("Nextcloud has just accepted a token without aud, and without spec.exchange that is what is published: any service that forgets to look at aud takes it, too")
	}
	nc, missing := w.nextcloudClient(ctx)
	if missing != nil {
		return *missing
	}
	if !w.acceptsWithoutAudience(ctx, nc) {
		return ok("Nextcloud refuses a token without aud")
	}
	return warn("Nextcloud accepts a token without aud, so its own check protects nobody: what protects is that the operator publishes only tokens for [%s]",
		strings.Join(w.audience(), " "))
}

func (w *walk) hasTokenWithoutAudience() bool {
	return w.subject() == nil && w.requestedSubject() == "" && w.ownClaims != nil && len(w.ownClaims.Audience) == 0
}

func (w *walk) acceptsWithoutAudience(ctx context.Context, nc nextcloud.Client) bool {
	return w.exchanged != nil && w.hasTokenWithoutAudience() &&
		nc.Check(ctx, w.own.AccessToken, nextcloud.Expect{}, nextcloud.Hints{}).Outcome == nextcloud.Accepted
}
