package shard

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/internal/shard/shardtest"
)

const testShards = 7

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// ledger fails the test when two processes work on one key at once.
type ledger struct {
	t    *testing.T
	mu   sync.Mutex
	work map[string]*process // under way, by key
	last map[string]*process
}

// process is one Holder, and workers that do all they are let do.
type process struct {
	*Holder

	name   string
	client *shardtest.Client
	ledger *ledger
	stop   func()
	shares []string
}

func start(t *testing.T, s *shardtest.Server, l *ledger, name string, shards int) *process {
	t.Helper()
	p := &process{name: name, client: s.Client(), ledger: l}
	var err error
	p.Holder, err = NewWith(p.client, Options{
		Shards: shards, Leader: "leader", Namespace: "ns",
		LeaseDuration: 2 * time.Second, RenewDeadline: 1200 * time.Millisecond, RetryPeriod: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.OnMove(func(held, of int) { p.shares = append(p.shares, fmt.Sprintf("%d/%d", held, of)) }) // called with a lock
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = p.Start(ctx) })
	for key := range 40 {
		all.Go(func() { p.workOn(ctx, fmt.Sprint("key-", key)) })
	}
	p.stop = func() { cancel(); all.Wait() }
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *process) workOn(ctx context.Context, key string) {
	for ctx.Err() == nil {
		if work, leave, ok := p.Enter(ctx, key); ok {
			p.ledger.begin(p, key)
			select { // Some work is quick, and some goes on until it is stopped.
			case <-work.Done():
			case <-time.After(time.Duration(len(key)%3) * 40 * time.Millisecond):
			}
			p.ledger.end(p, key)
			leave()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *ledger) begin(p *process, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.work[key]; other != nil {
		l.t.Errorf("%s works on %s while %s does", p.name, key, other.name)
	}
	l.work[key], l.last[key] = p, p
}

func (l *ledger) end(p *process, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work[key] == p {
		l.work[key] = nil
	}
}

// await waits until the processes hold as many shards as is said, and every key is worked on. Who of them has the odd one is
// left to chance; below 0 stands for any number.
func (l *ledger) await(what string, want map[*process]int) {
	l.t.Helper()
	l.mu.Lock()
	clear(l.last)
	l.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		seen := ""
		right := true
		var wanted, found []int
		for p, n := range want {
			held, _ := p.Held()
			seen += fmt.Sprintf(" %s:%d", p.name, held)
			if n > 0 {
				wanted, found = append(wanted, n), append(found, held)
			}
			right = right && (n != 0 || held == 0)
		}
		slices.Sort(wanted)
		slices.Sort(found)
		right = right && slices.Equal(wanted, found)
		l.mu.Lock()
		keys := len(l.last)
		l.mu.Unlock()
		if right && keys == 40 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not in a minute:%s, and %d of 40 keys", what, seen, keys)
		}
	}
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, work: map[string]*process{}, last: map[string]*process{}}
}

func TestProcessesComeAndGo(t *testing.T) {
	t.Parallel()
	s, l := shardtest.NewServer(), newLedger(t)
	a := start(t, s, l, "a", testShards)
	l.await("alone", map[*process]int{a: 7})
	b := start(t, s, l, "b", testShards)
	l.await("b joins", map[*process]int{a: 4, b: 3})
	c := start(t, s, l, "c", testShards)
	l.await("c joins", map[*process]int{a: 3, b: 2, c: 2})
	b.stop()
	if held, _ := b.Held(); held != 0 {
		t.Errorf("b has stopped, and holds %d shards", held)
	}
	l.await("b stops", map[*process]int{a: 4, c: 3})
	if s.Holders()[b.memberName()] != "" {
		t.Error("b has left its membership behind")
	}

	a.client.Cut(true)
	l.await("a is cut off", map[*process]int{a: 0, c: 7})
	a.client.Cut(false)
	l.await("a is back", map[*process]int{a: 3, c: 4})
	a.stop()
	c.stop()
	if last := c.shares[len(c.shares)-1]; last != "0/7" {
		t.Errorf("the last share that was told is %s", last)
	}
	for name, holder := range s.Holders() {
		if holder != "" {
			t.Errorf("%s holds %s after all have stopped", holder, name)
		}
	}
}

func TestProcessesWithAnotherNumberWait(t *testing.T) {
	t.Parallel()
	s, l := shardtest.NewServer(), newLedger(t)
	olds := []*process{start(t, s, l, "old-1", 3), start(t, s, l, "old-2", 3)}
	l.await("the old ones share", map[*process]int{olds[0]: -1, olds[1]: -1})
	one := start(t, s, l, "new", 5)
	for range 3 { // The old ones come and go; the new one gets nothing.
		olds[0].stop()
		olds = append(olds[1:], start(t, s, l, "old", 3))
		l.await("an old one goes on", map[*process]int{olds[0]: -1, one: 0})
	}
	for _, p := range olds {
		p.stop()
	}
	l.await("the old ones are gone", map[*process]int{one: 5})
}

func TestALeaderIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, l := shardtest.NewServer(), newLedger(t)
	renew := func() {
		now := metav1.NowMicro()
		s.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "leader"}, Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("a leader"), LeaseDurationSeconds: new(int32(2)), RenewTime: &now, AcquireTime: &now,
		}})
	}
	renew()
	p := start(t, s, l, "a", 3)
	for range 30 {
		renew()
		time.Sleep(100 * time.Millisecond)
		if held, _ := p.Held(); held > 0 {
			t.Fatalf("%d shards are held beside a leader", held)
		}
	}
	l.await("the leader is gone", map[*process]int{p: 3})
}

func TestWhoWasKilledIsForgotten(t *testing.T) {
	t.Parallel()
	s, l := shardtest.NewServer(), newLedger(t)
	killed := start(t, s, l, "killed", 2)
	l.await("it works", map[*process]int{killed: 2})
	killed.client.Cut(true)
	a := start(t, s, l, "a", 2)
	l.await("the other one takes over", map[*process]int{a: 2})
	killed.stop()
	for deadline := time.Now().Add(time.Minute); s.Holders()[killed.memberName()] != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the membership of the killed one stays")
		}
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	good := Options{Shards: 3, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}
	if err := good.check(); err != nil {
		t.Errorf("the defaults of leader election: %v", err)
	}
	for want, change := range map[string]func(*Options){
		"at least 1 shard":      func(o *Options) { o.Shards = 0 },
		"longer than 0":         func(o *Options) { o.RetryPeriod = 0 },
		"longer than the pause": func(o *Options) { o.RenewDeadline = 2 * time.Second },
		"whole seconds":         func(o *Options) { o.LeaseDuration += time.Millisecond },
		"more than 12s":         func(o *Options) { o.LeaseDuration = 12 * time.Second },
	} {
		o := good
		change(&o)
		if o.check() == nil || !strings.Contains(o.check().Error(), want) {
			t.Errorf("%v, want %q", o.check(), want)
		}
	}
}
