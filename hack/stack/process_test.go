package stack

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func shell(dir, script string, ready func(context.Context) error) *server {
	return &server{name: "shell", path: "/bin/sh", args: []string{"-c", script}, dir: dir, within: 10 * time.Second, ready: ready}
}

func never(context.Context) error { return errors.New("not yet") }

func TestStartShowsTheLogOfAProcessThatEnds(t *testing.T) {
	s := shell(t.TempDir(), "echo out of luck; exit 3", never)
	err := s.start(t.Context())
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"shell is not ready", "exit status 3", "out of luck", s.log()} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := os.Stat(recordFile(s.dir, s.name)); err == nil {
		t.Error("the record of the ended process is still there")
	}
}

func TestStartStopsAProcessThatIsNotReadyInTime(t *testing.T) {
	s := shell(t.TempDir(), "sleep 60", never)
	s.within = 200 * time.Millisecond
	err := s.start(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("got %v, want the deadline and the last answer", err)
	}
	if s.running() {
		t.Error("it still runs")
	}
}

func TestServicesStartAgainAfterStop(t *testing.T) {
	service, err := newService(Place{})
	if err != nil {
		t.Fatal(err)
	}
	always := func(context.Context) error { return nil }
	if err := service.run(t.Context(), shell("", "sleep 60", always)); err != nil {
		t.Fatal(err)
	}
	before := service.PIDs()
	if err := service.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := service.PIDs()
	if len(before) != 1 || len(after) != 1 || before[0] == after[0] {
		t.Errorf("pids before %v and after %v a restart, want one other each", before, after)
	}
	dir := service.place.Dir
	if err := errors.Join(service.Close(), service.Close()); err != nil {
		t.Fatal(err)
	}
	if len(service.PIDs()) != 0 {
		t.Error("it still runs")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the temporary directory is still there")
	}
}

func TestTailReturnsTheLastLines(t *testing.T) {
	file := t.TempDir() + "/log"
	if err := os.WriteFile(file, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := Tail(file, 2), "    two\n    three"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Tail(file, 9), "    one\n    two\n    three"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
