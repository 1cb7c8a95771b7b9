package shard

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// lock is a Lease as leader election uses it. It knows for how long it is ours, and tells an elector that starts late
// what has been seen before it came: a Lease that has not been renewed for its duration is free at once.
type lock struct {
	resourcelock.Interface

	name     string
	clock    clock.PassiveClock
	duration time.Duration
	// lapsed is nil where the elector runs all the time.
	lapsed func(name string, r resourcelock.LeaderElectionRecord) bool

	mu      sync.Mutex
	renewed time.Time
}

// Get implements resourcelock.Interface.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && l.lapsed != nil && l.lapsed(l.name, *record) {
		record.HolderIdentity = "" // Whoever renews it meanwhile wins: the write that follows names the version read here.
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	sent := l.clock.Now()
	return l.note(sent, l.Interface.Create(ctx, r))
}

// Update implements resourcelock.Interface.
func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	sent := l.clock.Now()
	return l.note(sent, l.Interface.Update(ctx, r))
}

func (l *lock) note(sent time.Time, err error) error {
	if err == nil {
		l.mu.Lock()
		l.renewed = sent
		l.mu.Unlock()
	}
	return err
}

// ends is when others may take the Lease, if it is not renewed again: at the earliest, because they count from when they
// have seen it.
func (l *lock) ends() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed.Add(l.duration)
}

// release gives the Lease back, if it is ours.
func (l *lock) release(ctx context.Context) error {
	record, _, err := l.Interface.Get(ctx)
	if err != nil {
		return fmt.Errorf("reading Lease %s: %w", l.name, err)
	}
	if record.HolderIdentity != l.Identity() {
		return nil
	}
	return l.giveBack(ctx, record)
}

// giveBack writes what was read as nobody's.
func (l *lock) giveBack(ctx context.Context, record *resourcelock.LeaderElectionRecord) error {
	now := metav1.NewTime(l.clock.Now())
	free := resourcelock.LeaderElectionRecord{
		LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now, LeaderTransitions: record.LeaderTransitions,
	}
	if err := l.Interface.Update(ctx, free); err != nil {
		return fmt.Errorf("releasing Lease %s: %w", l.name, err)
	}
	return nil
}
