package controllers

import (
	"fmt"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

// tried names what an attempt is made with. When it has changed, the next attempt need not wait for the backoff.
func (g *gathered) tried() string {
	parts := []string{g.inputs.Token, g.inputs.Credential, g.grant.Annotations[v1alpha1.RefreshRequestedAnnotation], fmt.Sprint(g.grant.Generation)}
	if g.issuer.object != nil {
		parts = append(parts, g.issuer.key(), fmt.Sprint(g.issuer.object.GetGeneration()))
	}
	return plan.HashInputs(parts...)
}

// sourced says that gathering has come as far as to whom is asked for a token.
func (g *gathered) sourced() bool { return g.issuer.object != nil || g.login != nil }

// lastFailure is the failure whose backoff still counts: from memory, or after a restart from the status.
func (g *gathered) lastFailure() *plan.Failure {
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
