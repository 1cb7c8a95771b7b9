// Command bench measures the operator as it is shipped, on a real etcd and kube-apiserver, against a token endpoint that
// signs real JWTs. Each figure stands beside its floor: a bare loop in a process of its own that sends the same requests and
// makes the same writes, in the same run on the same machine. What two machines say can be compared by the ratios only.
//
//	go run ./test/bench [-n 500] [-life 20s] [-json FILE] [-manager-flag=--max-concurrent-reconciles=8] [scenario...]
//
// Without names all run but "writes", which compares forms of writing and no operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// options scale the scenarios.
type options struct {
	n       int
	life    time.Duration
	outage  time.Duration
	foreign int
	json    string
	// profile is a folder for profiles of the manager; none when empty.
	profile string
	// flags of the manager beside its defaults.
	flags []string
}

// scenario is measured in a world of its own.
type scenario struct {
	name string
	run  func(ctx context.Context, w *world, o options, t *table) error
	// onlyNamed scenarios do not run unless they are asked for.
	onlyNamed bool
}

// scenarios in the order in which they run.
var scenarios = []scenario{
	{name: "burst", run: burst},
	{name: "steady", run: steady},
	{name: "memory", run: memory},
	{name: "failover", run: failover},
	{name: "outage", run: outage},
	{name: "overload", run: overload},
	{name: "neighbours", run: neighbours},
	{name: "attackers", run: attacked},
	{name: "keycloak", run: realKeycloak},
	{name: "writes", run: writes, onlyNamed: true},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "floor" {
		return beFloor(ctx, args[1])
	}
	ctrl.SetLogger(logr.Discard()) // The tables are what is to be read.
	o, names, err := parse(args)
	if err != nil {
		return err
	}
	ctx = stack.WithProgress(ctx, stack.NewProgress(os.Stderr))
	var tables []*table
	for _, s := range scenarios {
		if !slices.Contains(names, s.name) && (len(names) > 0 || s.onlyNamed) {
			continue
		}
		t := &table{Scenario: s.name}
		begin := time.Now()
		if err := inWorld(ctx, o, t, s.run); err != nil {
			t.Failed = err.Error()
		}
		t.Took = short(time.Since(begin))
		t.print(os.Stdout)
		tables = append(tables, t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return finish(o, tables)
}

// inWorld gives each scenario an empty API server.
func inWorld(ctx context.Context, o options, t *table, run func(context.Context, *world, options, *table) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return run(ctx, w, o, t)
}

func finish(o options, tables []*table) error {
	if o.json != "" {
		file, err := os.Create(o.json)
		if err != nil {
			return err
		}
		if err := errors.Join(printJSON(file, tables), file.Close()); err != nil {
			return err
		}
	}
	var failed []string
	for _, t := range tables {
		if t.Failed != "" {
			failed = append(failed, t.Scenario)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("could not be measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

func parse(args []string) (options, []string, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 500, "number of grants")
	flags.DurationVar(&o.life, "life", 20*time.Second, "life of the tokens in steady state")
	flags.DurationVar(&o.outage, "outage", 10*time.Second, "how long the issuer is down")
	flags.IntVar(&o.foreign, "foreign", 5000, "unrelated Secrets of 4 KB in the cluster")
	flags.StringVar(&o.json, "json", "", "also write the tables to this file")
	flags.Func("manager-flag", "give the manager this flag, as --max-concurrent-reconciles=8; may be repeated", func(f string) error {
		o.flags = append(o.flags, f)
		return nil
	})
	flags.StringVar(&o.profile, "profile", "", "also write profiles of the manager in steady state to this folder")
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	for _, name := range flags.Args() {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return o, nil, fmt.Errorf("no scenario %q", name)
		}
	}
	return o, flags.Args(), nil
}
