//go:build integration && linux

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// errNotHere says that a row cannot be measured on this machine.
var errNotHere = errors.New("needs root and control groups")

// growth is what a process may take in its group. What it had before belongs to another one.
const growth = 4 << 20

// limitGroup puts the process into a control group that may hold little more memory, as a container's does: the kernel kills
// it when it takes more.
func limitGroup(t *testing.T, p *process) (died func() error, err error) {
	t.Helper()
	g, err := newMemoryGroup(t)
	if err != nil {
		return nil, err
	}
	for _, pid := range p.PIDs() {
		if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
			return nil, err
		}
	}
	return func() error {
		state, err := os.ReadFile(filepath.Join(g.dir, g.events))
		if _, kills, found := strings.Cut(string(state), "oom_kill "); err == nil && (!found || strings.HasPrefix(kills, "0")) {
			err = fmt.Errorf("the kernel has not killed it: %s", state)
		}
		return err
	}, nil
}

// memoryGroup is a control group with a limit; events is the file that counts the kills.
type memoryGroup struct{ dir, events string }

// newMemoryGroup makes one of version 2 of control groups, or of version 1.
func newMemoryGroup(t *testing.T) (*memoryGroup, error) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	g, bounds := &memoryGroup{root, "memory.events"}, map[string]string{"memory.max": fmt.Sprint(growth), "memory.swap.max": "0"}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		g, bounds = &memoryGroup{filepath.Join(root, "memory"), "memory.oom_control"}, map[string]string{"memory.limit_in_bytes": fmt.Sprint(growth), "memory.swappiness": "0"}
	}
	g.dir = filepath.Join(g.dir, fmt.Sprint("faults-", os.Getpid()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotHere, err)
	}
	t.Cleanup(func() {
		if err := os.Remove(g.dir); err != nil {
			t.Error(err)
		}
	})
	for file, value := range bounds {
		if err := os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0); err != nil {
			return nil, fmt.Errorf("%w: %w", errNotHere, err)
		}
	}
	return g, nil
}
