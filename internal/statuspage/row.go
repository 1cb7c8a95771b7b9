package statuspage

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/metrics"
)

// row is a grant as the page shows it.
type row struct {
	Namespace, Name string
	Issuer, User    string
	Tone            tone
	Reason, Message string
	// HasToken says that the fields below it mean something. Percent of its life is left; Due is the share of its life at
	// which it is refreshed, counted the same way.
	HasToken     bool
	Percent, Due int
	Left         string
	Expires      string
	// Refresh is when the token is replaced, in words.
	Refresh string

	left time.Duration
}

func rowOf(g *v1alpha1.TokenGrant, now time.Time) row {
	s := g.Status
	r := row{
		Namespace: g.Namespace, Name: g.Name, Issuer: g.Spec.IssuerRef.Name, Refresh: "—",
		Reason: v1alpha1.ReasonPending, Message: "Nothing has been tried yet.", Tone: calm,
	}
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	if ready != nil {
		r.Reason, r.Message = ready.Reason, ready.Message
	}
	if t := s.Token; t != nil {
		r.showLife(t, s.RefreshAt, now)
		r.User = t.Username
		if r.User == "" {
			r.User = t.Subject
		}
	}
	switch {
	case ready == nil || ready.Status != metav1.ConditionTrue && ready.Reason == v1alpha1.ReasonPending:
	case g.Spec.Suspend:
		r.Refresh = "suspended"
	case ready.Status != metav1.ConditionTrue:
		r.Tone = bad
	case failing(g):
		r.Tone, r.Reason, r.Message = warn, s.LastAttempt.Reason, s.LastAttempt.Message
	case plan.Overdue(g, now):
		r.Tone = warn
	default:
		r.Tone = good
	}
	return r
}

func (r *row) showLife(t *v1alpha1.TokenStatus, refreshAt *metav1.Time, now time.Time) {
	life := t.ExpiresAt.Sub(t.IssuedAt.Time)
	r.HasToken, r.left = true, t.ExpiresAt.Sub(now)
	r.Percent = percent(r.left, life)
	r.Expires = t.ExpiresAt.UTC().Format("2006-01-02 15:04:05 UTC")
	r.Left = words(r.left) + " left"
	if r.left <= 0 {
		r.Left = "expired " + words(-r.left) + " ago"
	}
	if refreshAt == nil {
		return
	}
	r.Due = percent(t.ExpiresAt.Sub(refreshAt.Time), life)
	if wait := refreshAt.Sub(now); wait > 0 {
		r.Refresh = "in " + words(wait)
	} else {
		r.Refresh = words(-wait) + " late"
	}
}

func percent(part, whole time.Duration) int {
	if whole <= 0 {
		return 0
	}
	return max(0, min(100, int(100*part/whole)))
}

// words are a duration in the two largest units that matter.
func words(d time.Duration) string {
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%d s", d/time.Second)
	}
}

// issuerRow is an issuer as the page shows it.
type issuerRow struct {
	Kind, Namespace, Name, State string
	Tone                         tone
}

func issuerRowOf(i metrics.IssuerState) issuerRow {
	r := issuerRow{Kind: i.Kind, Namespace: i.Namespace, Name: i.Name}
	switch {
	case i.Ready == metav1.ConditionUnknown:
		r.State, r.Tone = "being discovered", calm
	case i.Ready != metav1.ConditionTrue:
		r.State, r.Tone = "down", bad
	case i.Breaker == "open", i.Breaker == "half-open":
		r.State, r.Tone = "failing: its circuit breaker is "+i.Breaker, bad
	default:
		r.State, r.Tone = "serves", good
	}
	return r
}
