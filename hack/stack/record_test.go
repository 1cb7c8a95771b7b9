package stack

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// sleeper starts a process in a group of its own, as servers are.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return cmd
}

func record(t *testing.T, root, name string, pid int) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(dir, name, pid, filepath.Join(dir, name+".log")); err != nil {
		t.Fatal(err)
	}
	return recordFile(dir, name)
}

func TestDownEndsTheProcessesItRecorded(t *testing.T) {
	root := t.TempDir()
	first, second := sleeper(t), sleeper(t)
	older := record(t, root, "older", first.Process.Pid)
	record(t, root, "newer", second.Process.Pid)
	if err := os.Chtimes(older, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}

	processes, err := Processes(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(processes) != 2 || processes[0].Name != "older" || !processes[0].Alive() || !processes[1].Alive() {
		t.Fatalf("got %+v, want older before newer, both alive", processes)
	}
	var out bytes.Buffer
	if err := Down(WithProgress(t.Context(), NewProgress(&out)), root); err != nil {
		t.Fatal(err)
	}
	if processes[0].Alive() || processes[1].Alive() {
		t.Error("a process survived")
	}
	newer, old := bytes.Index(out.Bytes(), []byte("newer")), bytes.Index(out.Bytes(), []byte("older"))
	if newer < 0 || old < newer {
		t.Errorf("want newer stopped before older, got:\n%s", &out)
	}
}

func TestDownSparesALaterProcessWithTheSamePid(t *testing.T) {
	root := t.TempDir()
	later := sleeper(t)
	file := record(t, root, "gone", later.Process.Pid)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	who, err := identity(later.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	content = bytes.Replace(content, []byte(who), []byte("another boot/1"), 1)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := Down(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if now, err := identity(later.Process.Pid); err != nil || now != who {
		t.Errorf("the later process was ended: %v", err)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("the directory was kept")
	}
}

func TestIdentityOfAnEndedProcessIsAnError(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if who, err := identity(cmd.Process.Pid); err == nil {
		t.Errorf("got %q, want an error", who)
	}
}
