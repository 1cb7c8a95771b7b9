package shard

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func (h *Holder) newLock(name, identity string) *lock {
	return &lock{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: h.o.Namespace, Name: name},
			Client:     h.leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		name: name, clock: h.o.Clock, duration: h.o.LeaseDuration,
	}
}

// newShardLock is that of a Lease with labels, by which it is listed.
func (h *Holder) newShardLock(shard int) *lock {
	l := h.newLock(h.shardName(shard), h.id)
	l.Interface.(*resourcelock.LeaseLock).Labels = h.labels(roleShard) //nolint:errcheck,forcetypeassert // made above
	l.lapsed = func(name string, r resourcelock.LeaderElectionRecord) bool {
		return h.sightings.lapsed(h.o.Clock.Now(), name, r)
	}
	return l
}

// elect takes part in one election until the Lease is lost or ctx ends; won is called from another goroutine, and
// possibly after elect has returned: its context has ended then.
func (h *Holder) elect(ctx context.Context, l *lock, won func(context.Context)) {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, Name: l.name,
		LeaseDuration: h.o.LeaseDuration, RenewDeadline: h.o.RenewDeadline, RetryPeriod: h.o.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: won, OnStoppedLeading: func() {}},
	})
	if err != nil {
		h.log.Error(err, "Cannot take part in an election", "lease", l.name)
		return
	}
	elector.Run(ctx)
}

// lead keeps the Lease that all processes with our number of shards hold together, under one identity. Each of them
// renews it; who belongs to others finds it taken.
func (h *Holder) lead(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	for ctx.Err() == nil {
		h.elect(ctx, h.group, func(leading context.Context) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.leading = leading.Err() == nil
		})
		h.mu.Lock()
		h.leading = false
		var all []*tenure
		for _, t := range h.tenures {
			all = append(all, t)
		}
		h.mu.Unlock()
		if ctx.Err() == nil && len(all) > 0 {
			h.log.Info("Lost the Lease that the processes with this number of shards hold together; all shards are left", "lease", h.group.name)
		}
		for _, t := range all {
			t.cancel()
		}
		for _, t := range all {
			<-t.done
		}
	}
}

// contend tries for a shard, and works on it from when its Lease is ours until it is not. It is to be called with the
// lock.
func (h *Holder) contend(ctx context.Context, shard int) {
	contending, cancel := context.WithCancel(ctx)
	t := newTenure(shard, h.newShardLock(shard), cancel)
	h.tenures[shard] = t
	go func() {
		h.elect(contending, t.lock, func(leading context.Context) { h.begin(leading, t) })
		h.end(ctx, t)
	}()
}

func (h *Holder) begin(leading context.Context, t *tenure) {
	h.mu.Lock()
	begins := leading.Err() == nil && t.open(h.o.Clock.Now())
	if begins {
		h.tell()
	}
	gained := h.gained
	h.mu.Unlock()
	if !begins {
		return
	}
	h.log.Info("Works on a shard", "shard", t.shard, "of", h.o.Shards)
	for _, f := range gained {
		f(t.shard)
	}
}

// end comes when the Lease of a shard is lost, or not wanted any more. Work that does not end by its stop is cut off
// shortly before others may begin.
func (h *Holder) end(ctx context.Context, t *tenure) {
	t.cancel()
	t.close()
	t.stop()
	last := h.ends(t).Add(-h.o.RetryPeriod / 2)
	timer := h.o.Clock.NewTimer(last.Sub(h.o.Clock.Now()))
	defer timer.Stop()
	select {
	case <-t.idle:
	case <-timer.C():
		t.cut()
		<-t.idle
	}
	if t.opened() {
		h.mu.Lock()
		h.tell()
		h.mu.Unlock()
		for _, f := range h.lost {
			f(t.shard)
		}
		h.log.Info("Left a shard", "shard", t.shard, "of", h.o.Shards)
	}
	ctx, cancel := context.WithTimeout(ctx, h.o.RenewDeadline)
	defer cancel()
	if err := t.lock.release(ctx); err != nil {
		h.log.V(1).Info("Cannot give a Lease back; it ends by itself", "lease", t.lock.name, "cause", err.Error())
	}
	h.mu.Lock()
	delete(h.tenures, t.shard)
	h.mu.Unlock()
	close(t.done)
}

// tell is to be called with the lock.
func (h *Holder) tell() {
	for _, f := range h.moved {
		f(h.count(), h.o.Shards)
	}
}
