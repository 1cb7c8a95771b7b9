// Command dev runs the development stack: a real control plane, a real Keycloak,
// Nextcloud (the stand-in, or the server of $NEXTCLOUD_URL) and the operator.
// Run it inside the checkout:
//
//	go run ./hack/dev demo
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tokengrant/tokengrant/hack/stack"
)

func main() {
	os.Exit(run())
}

// run returns the exit code.
func run() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second Ctrl-C does not wait for the clean-up
	ctx = stack.WithProgress(ctx, stack.NewProgress(os.Stdout))
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\ndev: %v\n", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "dev",
		Short:         "Run the development stack of TokenGrant",
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	root.AddCommand(demoCommand(), upCommand(), downCommand(), statusCommand(), binariesCommand(), helmCommand(), distCommand(), clusterCommand(), consumersCommand())
	return root
}

func upCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "up [part...]",
		Short:     "Start the stack, or some parts of it, and leave it running",
		Long:      "Start the stack, or some parts of it, and leave it running.\nParts: " + strings.Join(parts, ", ") + ".",
		ValidArgs: parts,
		Args:      cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = parts
			}
			s, err := newSetup(true)
			if err != nil {
				return err
			}
			if err := s.start(cmd.Context(), args); err != nil {
				s.abandon(cmd.Context())
				return err
			}
			s.printHandles(cmd.OutOrStdout())
			return nil
		},
	}
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop what up, or demo with KEEP=1, left running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := runDir()
			if err != nil {
				return err
			}
			return stack.Down(cmd.Context(), dir)
		},
	}
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs, with process ids and logs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := runDir()
			if err != nil {
				return err
			}
			processes, err := stack.Processes(dir)
			if err != nil {
				return err
			}
			if len(processes) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing runs")
			}
			for _, p := range processes {
				state := "runs"
				if !p.Alive() {
					state = "ended"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-24s %-6s %-8d %s\n", p.Name, state, p.PID, p.Log)
			}
			return nil
		},
	}
}

func binariesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "binaries",
		Short: "Build the control plane's binaries and Helm into the cache and print the directory of the former",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			assets, err := stack.Binaries(cmd.Context())
			if err != nil {
				return err
			}
			for _, major := range []int{3, 4} {
				if _, err := stack.Helm(cmd.Context(), major); err != nil {
					return err
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), filepath.Dir(assets.APIServer))
			return nil
		},
	}
}

func distCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keycloak-dist [version...]",
		Short: "Fetch and prepare Keycloak, all pinned versions by default, and print the directories",
		RunE: func(cmd *cobra.Command, versions []string) error {
			if len(versions) == 0 {
				versions = stack.KeycloakVersions()
			}
			for _, version := range slices.Compact(versions) {
				dir, err := stack.PrepareKeycloak(cmd.Context(), version)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), dir)
			}
			return nil
		},
	}
}

func consumersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "consumers",
		Short: "Build rclone and fetch Envoy, for the tests of docs/recipes, into the cache and print their paths",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, prepare := range []func(context.Context) (string, error){stack.Rclone, stack.Envoy} {
				path, err := prepare(cmd.Context())
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), path)
			}
			return nil
		},
	}
}
