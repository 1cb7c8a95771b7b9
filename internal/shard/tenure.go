package shard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errLost is the cause that ends work whose shard goes to another process.
var errLost = errors.New("the shard goes to another process")

// tenure is the time for which a process tries for a shard, works on it, and leaves it.
type tenure struct {
	shard  int
	lock   *lock
	cancel context.CancelFunc // ends its elector
	done   chan struct{}      // closed when all is over
	// leaving is guarded by the Holder.
	leaving bool

	mu     sync.Mutex
	since  time.Time // zero until the Lease is ours
	closed bool
	work   map[*work]struct{}
	idle   chan struct{} // closed when no work is left and none can come
}

// work can be stopped, and a moment later cut off.
type work struct{ stop, cut context.CancelCauseFunc }

func newTenure(shard int, l *lock, cancel context.CancelFunc) *tenure {
	return &tenure{shard: shard, lock: l, cancel: cancel, done: make(chan struct{}), work: map[*work]struct{}{}, idle: make(chan struct{})}
}

// open lets work in. Too late, it does nothing.
func (t *tenure) open(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.since = now
	return true
}

// held says since when work is let in; false when none is.
func (t *tenure) held() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since, !t.since.IsZero() && !t.closed
}

// opened says whether work was ever let in.
func (t *tenure) opened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.since.IsZero()
}

type lastingKey struct{}

// enter begins work.
func (t *tenure) enter(ctx context.Context) (context.Context, func(), bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.since.IsZero() {
		return nil, nil, false
	}
	lasting, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancelCause(context.WithValue(ctx, lastingKey{}, lasting))
	w := &work{stop, cut}
	t.work[w] = struct{}{}
	return ctx, func() { t.leave(w) }, true
}

func (t *tenure) leave(w *work) {
	w.stop(nil)
	w.cut(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.work, w)
	if t.closed && len(t.work) == 0 {
		close(t.idle)
	}
}

// close lets no more work in.
func (t *tenure) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	if len(t.work) == 0 {
		close(t.idle)
	}
}

// stop ends what is under way.
func (t *tenure) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.work {
		w.stop(errLost)
	}
}

// cut ends also what has outlived its stop.
func (t *tenure) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.work {
		w.cut(errLost)
	}
}

// Detach gives a context for what must not be left half done: it outlives the end of ctx, but not the Lease under which
// it works.
func Detach(ctx context.Context) (context.Context, context.CancelFunc) {
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	lasting, ok := ctx.Value(lastingKey{}).(context.Context)
	if !ok {
		return detached, func() { cancel(nil) }
	}
	stop := context.AfterFunc(lasting, func() { cancel(context.Cause(lasting)) })
	return detached, func() {
		stop()
		cancel(nil)
	}
}

// Lost says that work was stopped because its shard goes to another process.
func Lost(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errLost) }
