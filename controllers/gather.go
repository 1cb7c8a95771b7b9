package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/granttype"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// observation is all that a reconcile works with.
type observation struct {
	now   time.Time
	grant *v1alpha1.TokenGrant
	past  *remembered

	// existing is the Secret of that name; nil when there is none.
	existing *corev1.Secret
	record   *plan.Record
	drift    publish.Drift
	// reshaped says that the Secret was rendered from other templates than the spec has now.
	reshaped bool

	issuer   issuerView
	conn     *issuer.Issuer
	clientID string
	auth     keycloak.ClientAuth
	// certificate is presented with the connection, where the client authenticates so.
	certificate *issuer.Certificate
	subject     subject
	inputs      plan.Inputs

	// login is that of a grant of an app password, and refused what Nextcloud said when it refused it.
	login   *accountLogin
	refused *failure

	// left gives back the slot of the issuer, release the outbound one. queuedAt is where there was none, and away says
	// that no worker is held.
	left, release func()
	queuedAt      queuedAt
	away          bool

	// verdict is what Nextcloud has said in this reconcile about the token in the Secret; the status does not know yet.
	verdict *nextcloud.Verdict
}

// gather does all the reading. On failure the observation is partial but valid, so the status of the current token can still be
// reported.
func (r *GrantReconciler) gather(ctx context.Context, grant *v1alpha1.TokenGrant) (*observation, error) {
	key := types.NamespacedName{Namespace: grant.Namespace, Name: grant.Name}
	g := &observation{now: r.Clock.Now(), grant: grant, past: r.memory.of(key, grant.UID)}
	if err := r.gatherSecret(ctx, g); err != nil {
		return g, err
	}
	if err := g.validTemplates(); err != nil {
		return g, failf(v1alpha1.ReasonInvalidSpec, "spec.delivery.secret.data: %v", err)
	}
	if n := grant.Spec.Nextcloud(); n != nil {
		if err := r.Issuers.checkURL(nextcloudPath(grant)+".url", string(n.URL)); err != nil {
			return g, err
		}
	}
	return g, r.gatherSource(ctx, g)
}

// validTemplates judges the templates of each generation once: a trial costs a tenth of a millisecond.
func (g *observation) validTemplates() error {
	if g.past.templatesGeneration != g.grant.Generation {
		g.past.templatesGeneration, g.past.templatesErr = g.grant.Generation, publish.Validate(templates(g.grant))
	}
	return g.past.templatesErr
}

// gatherSource finds out where the token comes from.
func (r *GrantReconciler) gatherSource(ctx context.Context, g *observation) error {
	if g.grant.Spec.AppPassword != nil {
		return r.gatherAppPassword(ctx, g)
	}
	g.past.login = nil // The spec has no use for it any more.
	if err := r.gatherIssuer(ctx, g); err != nil {
		return err
	}
	return r.gatherClient(ctx, g)
}

// gatherSecret reads the Secret and its record. A Secret that is not ours is a conflict. Where the cache does not show
// what we wrote last, or shows nothing where the metadata do, the API server is asked: a stale cache must not lead to
// a second mint, and a Secret whose labels were removed is still ours.
func (r *GrantReconciler) gatherSecret(ctx context.Context, g *observation) error {
	key := types.NamespacedName{Namespace: g.grant.Namespace, Name: secretName(g.grant)}
	var s corev1.Secret
	err := r.Get(ctx, key, &s)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Secret %s: %w", key, err)
	}
	found := err == nil
	suspect := g.past.written != "" && (!found || s.ResourceVersion != g.past.written) ||
		isTrimmed(&s) && publish.Owned(&s, g.grant.UID)
	if !found && !suspect {
		m, err := r.Issuers.References.meta(ctx, kindSecret, key)
		if err != nil {
			return err
		}
		suspect = m != nil
	}
	if suspect {
		s = corev1.Secret{}
		err := r.Live.Get(ctx, key, &s)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading Secret %s: %w", key, err)
		}
		found = err == nil
	}
	if !found {
		g.drift = publish.Missing
		return nil
	}
	if !publish.Owned(&s, g.grant.UID) {
		g.drift = publish.Foreign
		return conflict(&s)
	}
	g.existing = &s
	return g.judgeSecret()
}

// judgeSecret finds the record in our Secret, and what was changed in it behind our back.
func (g *observation) judgeSecret() error {
	record, err := plan.ParseRecord(g.existing.Annotations[v1alpha1.PublishedAnnotation])
	if err != nil {
		// Without a sound record nobody knows what the data are.
		g.drift = publish.Data
		return nil //nolint:nilerr // a finding, which the next token mends, and no failure
	}
	desired, err := desiredSecret(g.grant, nil, *record)
	if err != nil {
		return err
	}
	g.record, g.reshaped = record, record.Shape != shape(g.grant)
	g.drift = publish.Compare(g.existing, desired)
	return nil
}

func conflict(s *corev1.Secret) error {
	if owner := metav1.GetControllerOf(s); owner != nil {
		return failf(v1alpha1.ReasonSecretConflict, "Secret %q belongs to %s %q and is left untouched: choose another spec.delivery.secret.name", s.Name, owner.Kind, owner.Name)
	}
	return failf(v1alpha1.ReasonSecretConflict, "Secret %q exists, was not made by this TokenGrant and is left untouched: choose another spec.delivery.secret.name, or delete that Secret", s.Name)
}

func (r *GrantReconciler) gatherIssuer(ctx context.Context, g *observation) error {
	var err error
	if g.issuer, err = r.Issuers.resolve(ctx, g.grant.Namespace, g.grant.Spec.IssuerRef); err != nil {
		return err
	}
	if err = r.Issuers.fields(ctx, g.issuer); err != nil {
		return err
	}
	if err = g.issuer.ready(); err != nil {
		return err
	}
	if says := granttype.Missing(g.issuer.status.GrantTypes, g.grant.Spec); says != "" {
		return failf(v1alpha1.ReasonGrantTypeUnsupported, "%s: %s", g.issuer, says)
	}
	g.conn, err = r.Issuers.connect(ctx, g.issuer)
	return err
}

// gatherClient finds out as which client to authenticate, and whether the grant may.
func (r *GrantReconciler) gatherClient(ctx context.Context, g *observation) error {
	account, _, err := g.account()
	if err != nil {
		return err
	}
	g.clientID = account.ClientID
	g.inputs.Token = tokenInputs(g)
	if err := r.Issuers.allows(ctx, g.issuer, g.grant); err != nil {
		return err
	}
	if err := r.gatherCredential(ctx, g); err != nil {
		return err
	}
	return r.gatherSubject(ctx, g)
}

// account is the client that a grant authenticates as, and the namespace of what that refers to.
func (g *observation) account() (*v1alpha1.ServiceAccount, string, error) {
	if own := g.grant.Spec.ServiceAccount; own != nil {
		return own, g.grant.Namespace, nil
	}
	if g.issuer.spec.ServiceAccount == nil {
		return nil, "", failf(v1alpha1.ReasonInvalidSpec, "%s has no serviceAccount of its own: set spec.serviceAccount", g.issuer)
	}
	return g.issuer.spec.ServiceAccount, g.issuer.namespace, nil
}

func tokenInputs(g *observation) string {
	spec := g.grant.Spec
	parts := []string{string(g.issuer.spec.URL), g.clientID, plan.Words(spec.Scopes)}
	parts = append(parts, subjectInputs(spec.Subject)...)
	if spec.Exchange != nil {
		parts = append(parts, plan.Words(spec.Exchange.Audiences), plan.Words(spec.Exchange.Scopes))
	}
	if user := requestedSubject(g.grant); user != "" {
		parts = append(parts, "requestedSubject", user)
	}
	return plan.HashInputs(parts...)
}

// planInput is what the decision depends on. Inputs that gathering did not come to know are taken for unchanged.
func (r *GrantReconciler) planInput(g *observation, gatherFailure *failure) plan.Input {
	in := plan.Input{
		Now:       g.now,
		UID:       string(g.grant.UID),
		Refresh:   g.grant.Spec.Refresh,
		Suspended: g.grant.Spec.Suspend,
		Inputs:    g.inputs,
		Request:   refreshRequest(g.grant),
		Held:      g.record,
		Lost:      g.lost(),
		Failure:   g.lastFailure(),

		RotateAfter: rotateAfter(g.grant),
		RetireAt:    g.retireAt(),
		Rejected:    g.rejected(),
		Undisturbed: g.undisturbed(),
		NotBefore:   r.notBefore(&r.attempts, g),
	}
	if gatherFailure != nil {
		in.Failure = &plan.Failure{At: g.now, Reason: gatherFailure.reason, Count: 1}
		if g.record != nil {
			in.Inputs = plan.Inputs{Token: cmp.Or(g.inputs.Token, g.record.Inputs), Credential: g.record.Credential}
		}
		return in
	}
	in.Check = g.planCheck()
	return in
}

// lost says that the Secret cannot be what the spec asks for with the token that it held.
func (g *observation) lost() bool {
	return (g.drift == publish.Data || g.drift == publish.Missing || g.reshaped) && g.held() == nil
}

func (g *observation) planCheck() *plan.Check {
	c := g.grant.Spec.Check
	if c == nil || g.held() == nil {
		return nil
	}
	check := &plan.Check{Interval: c.Interval.Duration, Failure: g.past.unconfirmed}
	if g.verdict != nil {
		check.LastAt, check.Unconfirmed = g.now, g.verdict.Outcome != nextcloud.Accepted
		return check
	}
	if n := g.grant.Status.Check; n != nil && n.CheckedAt != nil {
		check.LastAt = n.CheckedAt.Time
	}
	accepted := meta.FindStatusCondition(g.grant.Status.Conditions, v1alpha1.ConditionCheckPassed)
	check.Unconfirmed = accepted == nil || accepted.Status != metav1.ConditionTrue || accepted.ObservedGeneration != g.grant.Generation
	return check
}

func secretName(grant *v1alpha1.TokenGrant) string {
	return grant.SecretDelivery().Name
}

func templates(grant *v1alpha1.TokenGrant) map[string]string {
	t := make(map[string]string, len(grant.SecretDelivery().Data))
	for k, v := range grant.SecretDelivery().Data {
		t[k] = string(v)
	}
	return t
}
