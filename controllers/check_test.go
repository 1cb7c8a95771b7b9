package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// TestCheckThatWasJustMade: the status is written after the next wake-up is planned, so the plan must know what
// Nextcloud has just said, or nobody wakes for the next check.
func TestCheckThatWasJustMade(t *testing.T) {
	observation := func(v *nextcloud.Verdict) *observation {
		g := checked()
		g.Spec.Check.Interval = &metav1.Duration{Duration: 10 * time.Minute}
		old := metav1.NewTime(earlier)
		g.Status.Check = &v1alpha1.CheckStatus{CheckedAt: &old}
		m := &minted{record: *recordOf(time.Hour)}
		return &observation{now: noon, grant: g, past: &remembered{minted: m}, record: &m.record, verdict: v}
	}
	for _, tc := range []struct {
		name    string
		verdict *nextcloud.Verdict
		want    *plan.Check
	}{
		{"not now", nil, &plan.Check{Interval: 10 * time.Minute, LastAt: earlier, Unconfirmed: true}},
		{"accepted", verdict(nextcloud.Accepted, ""), &plan.Check{Interval: 10 * time.Minute, LastAt: noon}},
		{"rejected", verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudRejected), &plan.Check{Interval: 10 * time.Minute, LastAt: noon, Unconfirmed: true}},
		{"no answer", verdict(nextcloud.Unknown, v1alpha1.ReasonNextcloudUnreachable), &plan.Check{Interval: 10 * time.Minute, LastAt: noon, Unconfirmed: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, observation(tc.verdict).planCheck()); diff != "" {
				t.Errorf("check (-want +got):\n%s", diff)
			}
		})
	}
}
