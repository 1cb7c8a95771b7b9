package shard

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Holder holds shards. A nil Holder holds everything.
type Holder struct {
	o         Options
	id        string // of this process
	leases    coordinationv1client.LeasesGetter
	group     *lock
	member    *coordinationv1.Lease // as it was written last
	sightings sightings
	log       logr.Logger

	mu           sync.Mutex
	leading      bool // the processes with our number of shards are the ones that work
	tenures      map[int]*tenure
	moved        []func(held, of int)
	gained, lost []func(shard int)
}

// New gives a Holder that holds nothing before Start.
func New(config *rest.Config, o Options) (*Holder, error) {
	// One slow answer must not cost a Lease, nor may the traffic of the work delay its renewal.
	config = rest.AddUserAgent(config, "shards")
	config.Timeout, config.QPS = max(o.RenewDeadline/2, time.Second), -1
	leases, err := coordinationv1client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return NewWith(leases, o)
}

// NewWith is New with a client of its caller's.
func NewWith(leases coordinationv1client.LeasesGetter, o Options) (*Holder, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	h := &Holder{
		o: o, id: host + "_" + string(uuid.NewUUID()), leases: leases, tenures: map[int]*tenure{},
		log: ctrl.Log.WithName("shards"),
	}
	h.group = h.newLock(o.Leader, fmt.Sprintf("shards-%d", o.Shards))
	return h, nil
}

// OnMove adds what is told how many of all shards are held: before one is given back, and after one was gained. Like the
// others it is called before Start, and f must not call the Holder.
func (h *Holder) OnMove(f func(held, of int)) { h.moved = append(h.moved, f) }

// OnGain adds what is told of a shard whose work begins here.
func (h *Holder) OnGain(f func(shard int)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gained = append(h.gained, f)
}

// OnLoss adds what is told of a shard whose work here has ended, before anybody else can begin it.
func (h *Holder) OnLoss(f func(shard int)) { h.lost = append(h.lost, f) }

// Of gives the shard of a key; 0 for a nil Holder.
func (h *Holder) Of(key string) int {
	if h == nil {
		return 0
	}
	return Of(key, h.o.Shards)
}

// Enter begins work on a key, if its shard is held. The context ends when the shard goes to another process; the
// function returned ends the work, and the shard goes nowhere before.
func (h *Holder) Enter(ctx context.Context, key string) (work context.Context, leave func(), ok bool) {
	if h == nil {
		return ctx, func() {}, true
	}
	t := h.tenure(h.Of(key))
	// A process that was stopped for a while may find its Leases gone before its electors do.
	if t == nil || !h.o.Clock.Now().Before(h.ends(t)) {
		return nil, nil, false
	}
	return t.enter(ctx)
}

// Holds says whether the shard of a key is held.
func (h *Holder) Holds(key string) bool {
	_, ok := h.Since(key)
	return ok || h == nil
}

// Since says since when the shard of a key is held; false when it is not, and for a nil Holder.
func (h *Holder) Since(key string) (time.Time, bool) {
	if h == nil {
		return time.Time{}, false
	}
	t := h.tenure(h.Of(key))
	if t == nil {
		return time.Time{}, false
	}
	return t.held()
}

// Held says how many of all shards are held; 0, 0 for a nil Holder.
func (h *Holder) Held() (held, of int) {
	if h == nil {
		return 0, 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count(), h.o.Shards
}

func (h *Holder) count() int {
	n := 0
	for _, t := range h.tenures {
		if _, ok := t.held(); ok {
			n++
		}
	}
	return n
}

func (h *Holder) tenure(shard int) *tenure {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tenures[shard]
}

// ends is when others may work on a shard: those with our number of shards, or with another.
func (h *Holder) ends(t *tenure) time.Time {
	ends := t.lock.ends()
	if group := h.group.ends(); group.Before(ends) {
		return group
	}
	return ends
}

// Start takes part until the context ends; then it gives back what it holds.
func (h *Holder) Start(ctx context.Context) error {
	ticker := h.o.Clock.NewTicker(h.o.RetryPeriod)
	defer ticker.Stop()
	// Leases are renewed until the work under them has ended.
	lasting, cancel := context.WithCancel(logr.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	defer cancel()
	var led chan struct{}
	for {
		err := h.beat(ctx)
		if err == nil && led == nil {
			// Not before we are a member: see quit.
			led = make(chan struct{})
			go h.lead(lasting, led)
		}
		if err == nil {
			err = h.look(ctx, lasting)
		}
		if err != nil && ctx.Err() == nil {
			h.log.Error(err, "Cannot look after the shards")
		}
		select {
		case <-ctx.Done():
			h.quit(lasting)
			cancel()
			if led != nil {
				<-led
			}
			return nil
		case <-ticker.C():
		}
	}
}

// look sees who holds what, and tries for a shard or gives one up where that is fair.
func (h *Holder) look(ctx, lasting context.Context) error {
	list, err := h.list(ctx)
	if err != nil {
		return err
	}
	now := h.o.Clock.Now()
	h.sightings.note(now, list)
	h.collect(ctx, now, list)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.leading {
		return nil
	}
	m := h.view(now, list).move()
	for _, t := range h.tenures {
		if !t.opened() && !slices.Contains(m.take, t.shard) {
			t.cancel() // Somebody else has it.
		}
	}
	for _, shard := range m.take {
		if h.tenures[shard] == nil {
			h.contend(lasting, shard)
		}
	}
	if m.leave {
		h.giveUp()
	}
	return nil
}

// view is to be called with the lock. What this process knows of itself counts more than what it was shown.
func (h *Holder) view(now time.Time, list []coordinationv1.Lease) view {
	v := view{me: h.id, holders: make([]string, h.o.Shards)}
	for i := range list {
		if holder := h.sightings.holder(now, list[i].Name); isMember(&list[i]) && holder != "" {
			v.members = append(v.members, holder)
		}
	}
	for shard := range v.holders {
		v.holders[shard] = h.sightings.holder(now, h.shardName(shard))
		t := h.tenures[shard]
		switch {
		case t != nil && t.opened():
			v.holders[shard] = h.id
		case v.holders[shard] == h.id:
			v.holders[shard] = "" // lost, and not given back
		}
	}
	return v
}

// giveUp leaves one shard, unless one is being left. It is to be called with the lock.
func (h *Holder) giveUp() {
	var last *tenure
	for _, t := range h.tenures {
		if t.leaving {
			return
		}
		if _, held := t.held(); held && (last == nil || t.shard > last.shard) {
			last = t
		}
	}
	if last != nil {
		last.leaving = true
		go h.leave(last)
	}
}

// leave ends the work on a shard, while its Lease is still renewed, and then gives it back. What takes its time is given
// some, because half a refresh costs a token.
func (h *Holder) leave(t *tenure) {
	t.close()
	timer := h.o.Clock.NewTimer(h.o.RetryPeriod)
	defer timer.Stop()
	select {
	case <-t.idle:
	case <-timer.C():
		t.stop()
		<-t.idle
	}
	t.cancel()
	<-t.done
}
