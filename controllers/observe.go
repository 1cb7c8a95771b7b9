package controllers

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/internal/stage"
	"github.com/tokengrant/tokengrant/internal/statuspage"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// observed does what was decided, renew or recheck, and tells of it: its stages to the metrics of the grant's issuer, the
// whole as a trace where there are traces.
func (r *GrantReconciler) observed(ctx context.Context, g *observation, out *outcome, d plan.Decision,
	do func(context.Context, *observation, *outcome) error,
) error {
	if d.Counts {
		r.spend(&r.attempts, g)
	}
	held, name := g.record, metrics.IssuerOf(g.grant)
	ctx = watched(ctx, r.Metrics, name)
	ctx, end := r.trace(ctx, g, d)
	err := do(ctx, g, out)
	end(err)
	if out.minted {
		var refresh *metrics.Refresh
		if d.MintReason == plan.MintDue {
			refresh = &metrics.Refresh{Due: d.RefreshAt, OldExpires: held.Token.ExpiresAt.Time, Published: r.Clock.Now()}
		}
		r.Metrics.Published(name, d.MintReason, refresh)
	}
	return err
}

// watched lets the stages of a context tell of themselves.
func watched(ctx context.Context, m *metrics.Recorder, of metrics.Issuer) context.Context {
	if m == nil {
		return ctx
	}
	return stage.With(ctx, m.For(of))
}

func (v issuerView) label() metrics.Issuer {
	return metrics.Issuer{Kind: v.kind, Namespace: v.object.GetNamespace(), Name: v.object.GetName()}
}

// trace begins the span that the stages of a refresh or a check are parts of.
func (r *GrantReconciler) trace(ctx context.Context, g *observation, d plan.Decision) (context.Context, func(error)) {
	if r.Traces == nil {
		return ctx, func(error) {}
	}
	name, cause := "refresh", d.MintReason
	if !d.Mint {
		name, cause = "recheck", "Interval"
	}
	ctx, span := r.Traces.Tracer(stage.Scope).Start(ctx, name, trace.WithAttributes( //nolint:spancheck // the returned function ends it
		attribute.String("k8s.namespace.name", g.grant.Namespace),
		attribute.String("tokengrant.grant", g.grant.Name),
		attribute.String("tokengrant.issuer.kind", g.grant.Spec.IssuerRef.Kind),
		attribute.String("tokengrant.issuer.name", g.grant.Spec.IssuerRef.Name),
		attribute.String("tokengrant.cause", cause),
	))
	return ctx, func(err error) { stage.End(span, stage.OutcomeOf(err)) } //nolint:spancheck // as said
}

// verdictError is a verdict as the outcome of a stage.
func verdictError(v *nextcloud.Verdict, err error) error {
	if err != nil || v == nil || v.Outcome == nextcloud.Accepted {
		return err
	}
	return verdictFailure(v)
}

// tell lets metrics and the status page look at the state.
func tell(ctx context.Context, mgr ctrl.Manager, issuers *Issuers, o Options) error {
	source := issuers.source(ctx)
	source.Works = func() bool { return closed(mgr.Elected()) }
	o.Metrics.Watch(source)
	if !o.StatusPage {
		return nil
	}
	return mgr.AddMetricsServerExtraHandler(statuspage.Path, &statuspage.Page{Source: source, Clock: issuers.Clock})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// source looks at what the cache holds.
func (i *Issuers) source(ctx context.Context) metrics.Source {
	return metrics.Source{
		Grants: func() ([]v1alpha1.TokenGrant, error) {
			var list v1alpha1.TokenGrantList
			if err := i.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
				return nil, fmt.Errorf("listing TokenGrants: %w", err)
			}
			return list.Items, nil
		},
		Issuers: func() ([]metrics.IssuerState, error) { return i.states(ctx) },
	}
}

func (i *Issuers) states(ctx context.Context) ([]metrics.IssuerState, error) {
	views, err := i.all(ctx)
	if err != nil {
		return nil, err
	}
	connected := i.Registry.States()
	states := make([]metrics.IssuerState, len(views))
	for n, view := range views {
		now := connected[view.key()] // The zero State when there is no connection.
		states[n] = metrics.IssuerState{Issuer: view.label(), Ready: metav1.ConditionUnknown, Breaker: now.Breaker, SubjectTokens: now.SubjectTokens}
		c := meta.FindStatusCondition(view.status.Conditions, v1alpha1.ConditionReady)
		if c != nil {
			states[n].Ready = c.Status
		}
	}
	return states, nil
}

// all lists the issuers of both kinds, to be read only.
func (i *Issuers) all(ctx context.Context) ([]issuerView, error) {
	var own v1alpha1.TokenIssuerList
	if err := i.Reader.List(ctx, &own, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing TokenIssuers: %w", err)
	}
	var shared v1alpha1.ClusterTokenIssuerList
	if i.shared() {
		if err := i.Reader.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing ClusterTokenIssuers: %w", err)
		}
	}
	var views []issuerView
	for n := range own.Items {
		views = append(views, i.view(&own.Items[n]))
	}
	for n := range shared.Items {
		views = append(views, i.view(&shared.Items[n]))
	}
	return views, nil
}
