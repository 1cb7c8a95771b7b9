package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tokengrant/tokengrant/hack/stack"
)

func demoCommand() *cobra.Command {
	keep := os.Getenv("KEEP") == "1"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start the stack, show a grant become Ready and its token refreshed, stop the stack",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", keep, "leave the stack running (also: KEEP=1)")
	return cmd
}

// demo removes the logs only when all went well: after a failure they are what
// one wants to read.
func demo(ctx context.Context, out io.Writer, keep bool) error {
	s, err := newSetup(keep)
	if err != nil {
		return err
	}
	err = s.start(ctx, parts)
	if err == nil {
		err = (&walk{setup: s, out: out}).run(ctx)
	}
	switch {
	case ctx.Err() != nil:
		stack.Sayf(ctx, "interrupted: stopping everything")
		return errors.Join(errors.New("interrupted"), s.stop())
	case err != nil:
		fmt.Fprint(out, s.postMortem(ctx))
		s.abandon(ctx)
		return err
	case keep:
		s.printHandles(out)
		return nil
	}
	if err := s.stop(); err != nil {
		return err
	}
	stack.Sayf(ctx, "everything is stopped and removed")
	return nil
}

// postMortem is what the cluster and the operator say after a failure. A part
// that failed to start has shown the end of its log already.
func (s *setup) postMortem(ctx context.Context) string {
	if s.operator == nil {
		return ""
	}
	const why = `{range .items[*]}{.metadata.name}: {.status.conditions[?(@.type=="Ready")].reason}: ` +
		`{.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}`
	grants, err := s.plane.Kubectl(ctx, nil, "get", "tokengrants", "--namespace", grantNamespace, "--output=jsonpath="+why)
	if err != nil {
		grants = err.Error()
	}
	log := s.operator.Logs()[0]
	return fmt.Sprintf("\n%s\nthe end of %s:\n%s\n", grants, log, stack.Tail(log, 20))
}
