package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/test/canary"
)

// follow collects the values in the cluster's Secrets, and what statuses and events say.
func (s *setup) follow(ctx context.Context, leaks *canary.Watch) (stop func(), err error) {
	c, err := client.NewWithWatch(s.plane.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		return nil, err
	}
	return leaks.Follow(ctx, c)
}

// searchLeaks looks for the collected secrets in what was said, and in all logs of the stack.
func (s *setup) searchLeaks(ctx context.Context, leaks *canary.Watch) error {
	logs, err := filepath.Glob(filepath.Join(s.dir, "*", "*.log"))
	if err != nil {
		return err
	}
	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		leaks.Said(filepath.Base(file), string(text))
	}
	if err := leaks.Found(); err != nil {
		return fmt.Errorf("a secret was told: %w", err)
	}
	stack.Sayf(ctx, "no token and no secret is in a log, a status or an event: %s", leaks.Planted())
	return nil
}
