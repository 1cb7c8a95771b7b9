package shard

import (
	"fmt"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/clock"
)

// Options say how a process takes part.
type Options struct {
	// Shards is their number, the same in all processes.
	Shards int
	// Leader is the name of the Lease that all processes hold together; Namespace is where it and all others are.
	Leader, Namespace string
	// These are those of leader election. LeaseDuration counts in whole seconds.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// Clock is the real one when nil. The elections always go by that.
	Clock clock.WithTicker
}

// check wants time between the end of our tries to renew a Lease and the moment when others may take it.
func (o Options) check() error {
	switch {
	case o.Shards < 1:
		return fmt.Errorf("there must be at least 1 shard, not %d", o.Shards)
	case o.RetryPeriod <= 0:
		return fmt.Errorf("the pause between two tries must be longer than 0")
	case o.RenewDeadline <= time.Duration(leaderelection.JitterFactor*float64(o.RetryPeriod)):
		return fmt.Errorf("the tries to renew a Lease must go on for longer than the pause between two, not %s", o.RenewDeadline)
	case o.LeaseDuration < time.Second || o.LeaseDuration%time.Second != 0:
		return fmt.Errorf("the duration of a Lease must be in whole seconds, not %s", o.LeaseDuration)
	case o.RenewDeadline+o.RetryPeriod >= o.LeaseDuration:
		return fmt.Errorf("a Lease must last longer than the tries to renew it and the pause before them: more than %s", o.RenewDeadline+o.RetryPeriod)
	}
	return nil
}
