package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// stopGrace is how long a process may take to end after SIGTERM before it is killed.
const stopGrace = 15 * time.Second

// server is one process and how to start it, so that it can be started again
// with the same ports and data.
type server struct {
	name     string
	path     string
	args     []string
	enter    []string // a command line that it is appended to, which runs it in another namespace
	env      []string // nil: this program's own
	dir      string   // holds its log and its record
	detached bool
	cleansUp bool          // is asked to end when this program is killed, not killed with it
	within   time.Duration // limit for becoming ready
	ready    func(context.Context) error

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

func (s *server) log() string { return filepath.Join(s.dir, s.name+".log") }

func (s *server) running() bool {
	if s.done == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// start runs the process and waits until it is ready. A process that fails to
// become ready is stopped again, and the error shows the end of its log.
func (s *server) start(ctx context.Context) error {
	if err := s.spawn(ctx); err != nil {
		return fmt.Errorf("starting %s: %w", s.name, err)
	}
	limited, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(limited, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if !s.running() {
			return false, errors.New("it ended: " + s.cmd.ProcessState.String())
		}
		last = s.ready(ctx)
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), s.stop())
	}
	if last != nil {
		err = fmt.Errorf("%w (last answer: %w)", err, last)
	}
	return errors.Join(fmt.Errorf("%s is not ready: %w; the end of %s:\n%s",
		s.name, err, s.log(), Tail(s.log(), 15)), s.stop())
}

func (s *server) spawn(ctx context.Context) error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// ctx bounds the start, not the life of the process.
	line := slices.Concat(s.enter, []string{s.path}, s.args)
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), line[0], line[1:]...)
	s.cmd.Env = s.env
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = processGroup(s.detached, s.cleansUp)
	if err := onLastingThread(s.cmd.Start); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // ProcessState says how it ended
	}(s.cmd, s.done)
	if err := writeRecord(s.dir, s.name, s.cmd.Process.Pid, s.log()); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// stop ends the process group: SIGTERM, and SIGKILL after stopGrace.
func (s *server) stop() error {
	if !s.running() {
		return removeRecord(s.dir, s.name)
	}
	group := -s.cmd.Process.Pid
	if err := syscall.Kill(group, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping %s: %w", s.name, err)
	}
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		if err := syscall.Kill(group, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("killing %s: %w", s.name, err)
		}
		<-s.done
	}
	return removeRecord(s.dir, s.name)
}

// onLastingThread runs start on an operating system thread that lives as long as
// this program. Linux sends the parent-death signal when the *thread* that
// started a process ends, and Go ends a thread whose locked goroutine returns.
func onLastingThread(start func() error) error {
	result := make(chan error)
	starter() <- func() { result <- start() }
	return <-result
}

var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range work {
			job()
		}
	}()
	return work
})

// Tail returns the last lines of a file, each indented, or why it cannot be read.
func Tail(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return "    " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return "    " + strings.Join(all[max(0, len(all)-lines):], "\n    ")
}
