package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Process is the record of a started process, kept in its directory so that
// another run of the program can find and end it.
type Process struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"`
	Identity string    `json:"identity"`
	Log      string    `json:"log"`
	Started  time.Time `json:"-"` // when the record was written
}

// Alive reports whether this very process still runs; a later process with the
// same pid does not count.
func (p Process) Alive() bool {
	now, err := identity(p.PID)
	return err == nil && now == p.Identity
}

func recordFile(dir, name string) string { return filepath.Join(dir, name+".process.json") }

func writeRecord(dir, name string, pid int, log string) error {
	// A process that has ended already has no identity and stays unrecorded; the
	// readiness check will say that it has.
	who, ended := identity(pid)
	if ended != nil {
		return removeRecord(dir, name)
	}
	data, err := json.Marshal(Process{Name: name, PID: pid, Identity: who, Log: log})
	if err != nil {
		return err
	}
	return os.WriteFile(recordFile(dir, name), data, 0o600)
}

func removeRecord(dir, name string) error {
	if err := os.Remove(recordFile(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Processes lists what was started in the directories directly below dir,
// in the order of the starts.
func Processes(dir string) ([]Process, error) {
	files, err := filepath.Glob(recordFile(filepath.Join(dir, "*"), "*"))
	if err != nil {
		return nil, err
	}
	found := make([]Process, 0, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var p Process
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		p.Started = info.ModTime()
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b Process) int { return a.Started.Compare(b.Started) })
	return found, nil
}

// Down ends all processes recorded below dir, the last started first (an API
// server hangs when its etcd goes first), and removes dir.
func Down(ctx context.Context, dir string) error {
	processes, err := Processes(dir)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(processes) {
		if err := p.end(ctx); err != nil {
			return fmt.Errorf("stopping %s (process %d): %w", p.Name, p.PID, err)
		}
	}
	return os.RemoveAll(dir)
}

func (p Process) end(ctx context.Context) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.Alive() {
			return nil
		}
		if err := syscall.Kill(-p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, stopGrace, true,
			func(context.Context) (bool, error) { return !p.Alive(), nil })
		if err == nil {
			Sayf(ctx, "%s stopped (process %d)", p.Name, p.PID)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.New("it survives SIGKILL")
}
