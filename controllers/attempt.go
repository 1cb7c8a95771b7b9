package controllers

import (
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

// tried names what an attempt is made with. When it has changed, the next attempt need not wait for the backoff.
func (g *observation) tried() string {
	parts := []string{g.inputs.Token, g.inputs.Credential, refreshRequest(g.grant), fmt.Sprint(g.grant.Generation)}
	if g.issuer.object != nil {
		parts = append(parts, g.issuer.key(), fmt.Sprint(g.issuer.object.GetGeneration()))
	}
	return plan.HashInputs(parts...)
}

// sourced says that gathering has come as far as to whom is asked for a token.
func (g *observation) sourced() bool { return g.issuer.object != nil || g.login != nil }

// lastFailure is the failure whose backoff still counts: from memory, or after a restart from the status.
func (g *observation) lastFailure() *plan.Failure {
	if g.refused != nil {
		return &plan.Failure{At: g.now, Reason: g.refused.reason, Count: 1}
	}
	if f := g.past.failure; f != nil {
		if g.sourced() && (g.past.tried != g.tried() || g.outlived(f.Reason, g.past.began)) {
			return nil
		}
		return f
	}
	s := g.grant.Status
	if g.past.tried != "" || s.ConsecutiveFailures == 0 || s.LastAttempt == nil || s.ObservedGeneration != g.grant.Generation {
		return nil
	}
	if plan.HandlingOf(s.LastAttempt.Reason) == plan.Stalled {
		return nil // What was missing is there now, or gathering would have failed.
	}
	return &plan.Failure{At: s.LastAttempt.Time.Time, Reason: s.LastAttempt.Reason, Count: s.ConsecutiveFailures}
}

// maxRequest bounds the refresh request that is kept in memory and in the record of the Secret.
const maxRequest = 256

// refreshRequest is the value by which a user asks for a new token, or its hash where that is very long.
func refreshRequest(grant *v1alpha1.TokenGrant) string {
	value := grant.Annotations[v1alpha1.RefreshRequestedAnnotation]
	if len(value) > maxRequest {
		return plan.HashInputs(value)
	}
	return value
}

// undisturbed says that the record in the Secret is that of the latest mint of this process, after which nothing has failed.
func (g *observation) undisturbed() bool {
	m := g.past.minted
	return m != nil && g.record != nil && m.record.SameMint(*g.record) && g.past.failure == nil && g.grant.Status.ConsecutiveFailures == 0
}

// notBefore is when a grant may do again what counts for some rates.
func (r *GrantReconciler) notBefore(of *rates, g *observation) time.Time {
	return of.next(client.ObjectKeyFromObject(g.grant), r.memory.count(g.grant.Namespace), g.now)
}

func (r *GrantReconciler) spend(of *rates, g *observation) {
	of.spend(client.ObjectKeyFromObject(g.grant), r.memory.count(g.grant.Namespace), g.now)
}
