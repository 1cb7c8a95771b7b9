package main

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// warm is after how long a standby is warm, and a mint too many would have been seen.
const warm = 10 * time.Second

// failover restarts the manager, and kills the leader beside a warm standby, while all tokens live long: each mint
// that follows is one too many.
func failover(ctx context.Context, w *world, o options, t *table) error {
	first, err := w.manager(ctx)
	if err != nil {
		return err
	}
	if _, err := w.burstOf(ctx, "failover", o.n); err != nil {
		return err
	}
	asked := w.endpoint.counts()
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := pause(ctx, warm); err != nil {
		return err
	}
	taken, err := w.takeover(ctx, first.Stop)
	if err != nil {
		return err
	}
	t.goal("warm standby takes over after SIGTERM", short(taken), "≤ 3 s", taken <= 3*time.Second)
	second := w.managers[1]
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := pause(ctx, warm); err != nil {
		return err
	}
	if taken, err = w.takeover(ctx, second.Kill); err != nil {
		return err
	}
	t.goal("warm standby takes over after SIGKILL", short(taken), "≤ 20 s", taken <= 20*time.Second)
	if err := w.stopManagers(); err != nil {
		return err
	}
	begin := time.Now()
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := w.firstWork(ctx, "cold"); err != nil {
		return err
	}
	cold := time.Since(begin)
	t.goal(fmt.Sprintf("cold start with %d grants until a new grant is Ready", o.n), short(cold), "≤ 15 s", cold <= 15*time.Second)
	if err := pause(ctx, warm); err != nil {
		return err
	}
	extra := w.endpoint.counts().since(asked).exchanges - 3 // the three new grants
	t.goal("mints caused by all that", fmt.Sprint(extra), "0", extra == 0)
	return nil
}

// takeover ends the leader, and says how long it took until another one has made a new grant Ready.
func (w *world) takeover(ctx context.Context, end func() error) (time.Duration, error) {
	begin := time.Now()
	if err := end(); err != nil {
		return 0, err
	}
	err := w.firstWork(ctx, fmt.Sprintf("after-%d", begin.UnixNano()))
	return time.Since(begin), err
}

// firstWork applies a grant in a namespace of its own and waits for it.
func (w *world) firstWork(ctx context.Context, namespace string) error {
	if _, err := w.burstOf(ctx, namespace, 1); err != nil {
		var lease coordinationv1.Lease
		_ = w.client.Get(ctx, client.ObjectKey{Namespace: stack.OperatorNamespace, Name: "leader.tokengrant.dev"}, &lease)
		return fmt.Errorf("%w (the lease is held by %v)", err, lease.Spec.HolderIdentity)
	}
	return nil
}
