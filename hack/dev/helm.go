package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tokengrant/tokengrant/hack/stack"
)

func helmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "helm",
		Short: "Build Helm 4 into the cache and print its path",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			helm, err := stack.Helm(cmd.Context(), 4)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), helm)
			return err
		},
	}
}
