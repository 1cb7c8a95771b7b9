package shard

import (
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// sightings know since when each Lease has not changed. Only our own clock counts: that of its holder may be wrong.
type sightings struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	record resourcelock.LeaderElectionRecord
	since  time.Time
}

// note takes in what a list of Leases has shown; now is a time after its answer.
func (s *sightings) note(now time.Time, leases []coordinationv1.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[string]sighting, len(leases))
	for i := range leases {
		name := leases[i].Name
		is := sighting{record: *resourcelock.LeaseSpecToLeaderElectionRecord(&leases[i].Spec), since: now}
		if was, ok := s.seen[name]; ok && is.same(was.record) {
			is.since = was.since
		}
		seen[name] = is
	}
	s.seen = seen
}

func (s sighting) same(r resourcelock.LeaderElectionRecord) bool {
	return s.record.HolderIdentity == r.HolderIdentity && s.record.RenewTime.Time.Equal(r.RenewTime.Time)
}

// holder gives who holds a Lease; "" when nobody does, or has not renewed it for its duration.
func (s *sightings) holder(now time.Time, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, ok := s.seen[name]
	if !ok || now.Sub(is.since) >= is.duration() {
		return ""
	}
	return is.record.HolderIdentity
}

// lapsed says that a Lease, as it was read now, has not been renewed for its duration.
func (s *sightings) lapsed(now time.Time, name string, r resourcelock.LeaderElectionRecord) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, ok := s.seen[name]
	return ok && is.same(r) && now.Sub(is.since) >= is.duration()
}

// forgotten says that a Lease has not been renewed for several times its duration.
func (s *sightings) forgotten(now time.Time, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, ok := s.seen[name]
	return ok && now.Sub(is.since) >= 4*is.duration()
}

func (s sighting) duration() time.Duration {
	return time.Duration(s.record.LeaseDurationSeconds) * time.Second
}
