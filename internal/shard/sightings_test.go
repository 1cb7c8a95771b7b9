package shard

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
)

func TestALeaseEndsByOurOwnClock(t *testing.T) {
	// Its holder's clock is hours behind: what it says does not count, only that it changes.
	theirs := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ours := theirs.Add(5 * time.Hour)
	lease := func(beats int, holder string) []coordinationv1.Lease {
		return []coordinationv1.Lease{{
			ObjectMeta: metav1.ObjectMeta{Name: "l"},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: &holder, LeaseDurationSeconds: ptr.To[int32](15),
				RenewTime: &metav1.MicroTime{Time: theirs.Add(time.Duration(beats) * 2 * time.Second)},
			},
		}}
	}
	var s sightings
	for _, step := range []struct {
		what      string
		at        time.Duration
		shown     []coordinationv1.Lease
		holder    string
		forgotten bool
	}{
		{"it is seen", 0, lease(0, "a"), "a", false},
		{"it is renewed", 10 * time.Second, lease(1, "a"), "a", false},
		{"it is not renewed any more", 20 * time.Second, lease(1, "a"), "a", false},
		{"nearly over", 24999 * time.Millisecond, lease(1, "a"), "a", false},
		{"over", 25 * time.Second, lease(1, "a"), "", false},
		{"still over", 60 * time.Second, lease(1, "a"), "", false},
		{"long over", 70 * time.Second, lease(1, "a"), "", true},
		{"renewed after all", 71 * time.Second, lease(9, "a"), "a", false},
		{"another's", 72 * time.Second, lease(9, "b"), "b", false},
		{"given back", 73 * time.Second, lease(9, ""), "", false},
		{"gone", 74 * time.Second, nil, "", false},
	} {
		now := ours.Add(step.at)
		s.note(now, step.shown)
		if got := s.holder(now, "l"); got != step.holder {
			t.Errorf("%s: held by %q, want %q", step.what, got, step.holder)
		}
		if got := s.forgotten(now, "l"); got != step.forgotten {
			t.Errorf("%s: forgotten is %t", step.what, got)
		}
		if len(step.shown) == 0 {
			continue
		}
		record := *resourcelock.LeaseSpecToLeaderElectionRecord(&step.shown[0].Spec)
		over := step.holder == "" && record.HolderIdentity != ""
		if got := s.lapsed(now, "l", record); got != over {
			t.Errorf("%s: lapsed is %t", step.what, got)
		}
		// An elector that reads a newer one than was listed must not think that it has lapsed.
		record.RenewTime = metav1.NewTime(record.RenewTime.Add(time.Second))
		if s.lapsed(now, "l", record) {
			t.Errorf("%s: a renewed Lease has lapsed", step.what)
		}
	}
}
