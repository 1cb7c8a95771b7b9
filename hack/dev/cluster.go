package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// clusterCommand is about a cluster that runs pods.
func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Run a cluster with one node that runs pods: root on Linux"}
	cmd.AddCommand(clusterUpCommand(), clusterDownCommand(), clusterBinariesCommand(), keepNodeCommand(), initNodeCommand())
	return cmd
}

// clusterDir is where the cluster of this checkout lives while it runs.
func clusterDir() (string, error) {
	root, err := stack.Root()
	return filepath.Join(root, ".cluster"), err
}

func clusterUpCommand() *cobra.Command {
	var o stack.ClusterOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster and leave it running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := clusterDir()
			if err != nil {
				return err
			}
			running, err := stack.Processes(dir)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(running, stack.Process.Alive) {
				return fmt.Errorf("a cluster of this checkout runs already; `go run ./hack/dev cluster down` stops it")
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			o.Dir, o.Detached = dir, true
			cluster, err := stack.StartCluster(cmd.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "\nexport KUBECONFIG=%s\n# logs       %s\n# stop with  go run ./hack/dev cluster down\n", cluster.Kubeconfig, dir)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&o.Archives, "image", nil, "archive of an image that pods may use (docker save)")
	cmd.Flags().DurationVar(&o.SyncFrequency, "sync-frequency", 0, "how often the kubelet looks at each pod; its own default, a minute, when 0")
	return cmd
}

func clusterDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop what cluster up left running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := clusterDir()
			if err != nil {
				return err
			}
			return stack.Down(cmd.Context(), dir)
		},
	}
}

func clusterBinariesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "binaries",
		Short: "Build the node's programs into the cache and print their directory",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if why := stack.NodeUnsupported(cmd.Context()); why != "" {
				stack.Sayf(cmd.Context(), "not building the node's programs: %s", why)
				return nil
			}
			start := time.Now()
			tools, err := stack.NodeBinaries(cmd.Context())
			if err != nil {
				return err
			}
			stack.Sayf(cmd.Context(), "the node's programs are there (%s)", time.Since(start).Round(100*time.Millisecond))
			fmt.Fprintln(cmd.OutOrStdout(), tools.Dir)
			return nil
		},
	}
}

// keepNodeCommand is what stack.StartCluster runs beside the cluster.
func keepNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "keep-node dir",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			return stack.KeepNode(cmd.Context(), args[0], program, "cluster", "init-node")
		},
	}
}

// initNodeCommand is the first process in the node.
func initNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "init-node",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stack.InitNode(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
}
