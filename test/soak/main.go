// Command soak lets the operator work at a steady load for a while, as a process on a real API server, and tells whether it
// grows: memory, heap, goroutines and open files, each with the slope of a line through its samples.
//
//	go run ./test/soak [-duration 15m] [-n 200] [-life 20s]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/hack/stack"
)

type options struct {
	duration time.Duration
	n        int
	life     time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.DurationVar(&o.duration, "duration", 15*time.Minute, "how long to look, after a warm-up of a fifth of it")
	flag.IntVar(&o.n, "n", 200, "number of grants")
	flag.DurationVar(&o.life, "life", 20*time.Second, "life of the tokens; each is refreshed after about 60 % of it")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if err := run(stack.WithProgress(ctx, stack.NewProgress(os.Stderr)), o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

func run(ctx context.Context, o options) (err error) {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.grants(ctx, o.n); err != nil {
		return err
	}
	stack.Sayf(ctx, "%d grants; warming up for %s", o.n, o.duration/5)
	if err := pause(ctx, o.duration/5); err != nil {
		return err
	}
	minted := w.minted()
	stack.Sayf(ctx, "looking for %s", o.duration)
	samples, expired, err := w.watch(ctx, o.duration)
	if err != nil {
		return err
	}
	fmt.Printf("%d grants, tokens of %s, %s: %.1f refreshes a second, %d looks at an expired token\n\n",
		o.n, o.life, o.duration, float64(w.minted()-minted)/o.duration.Seconds(), expired)
	return errors.Join(report(os.Stdout, samples), expiredError(expired))
}

func expiredError(looks int) error {
	if looks > 0 {
		return fmt.Errorf("%d times a Secret held an expired token", looks)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
