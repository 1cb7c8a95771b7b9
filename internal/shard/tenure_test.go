package shard

import (
	"context"
	"testing"
	"time"
)

type traceKey struct{}

func TestWorkIsStoppedAndThenCutOff(t *testing.T) {
	tenure := newTenure(0, nil, func() {})
	if _, _, ok := tenure.enter(t.Context()); ok {
		t.Fatal("work began before the Lease was ours")
	}
	tenure.open(time.Now())
	work, leave, ok := tenure.enter(t.Context())
	if !ok {
		t.Fatal("no work is let in")
	}
	write, done := Detach(context.WithValue(work, traceKey{}, "trace"))
	defer done()
	if write.Value(traceKey{}) != "trace" {
		t.Error("the detached context has not the values of the work's")
	}
	tenure.close()
	if _, _, ok := tenure.enter(t.Context()); ok {
		t.Error("work is let in after the end")
	}
	if work.Err() != nil {
		t.Error("work under way is given no time")
	}
	tenure.stop()
	if work.Err() == nil || !Lost(work) {
		t.Errorf("the work goes on: %v", context.Cause(work))
	}
	if write.Err() != nil {
		t.Errorf("a write is cut off with the stop: %v", context.Cause(write))
	}
	select {
	case <-tenure.idle:
		t.Error("idle with work under way")
	default:
	}
	tenure.cut()
	select {
	case <-write.Done():
	case <-time.After(time.Minute):
		t.Error("a write outlives the Lease")
	}
	leave()
	<-tenure.idle
	if tenure.open(time.Now()) {
		t.Error("opened after the end")
	}
}

func TestWithoutShardsNothingIsCutOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var none *Holder
	work, leave, ok := none.Enter(ctx, "apps/g")
	if !ok || !none.Holds("apps/g") {
		t.Fatal("a nil Holder does not hold everything")
	}
	write, done := Detach(work)
	cancel()
	leave()
	if write.Err() != nil || Lost(work) {
		t.Error("cut off")
	}
	done()
	if write.Err() == nil {
		t.Error("the context is not released")
	}
}
