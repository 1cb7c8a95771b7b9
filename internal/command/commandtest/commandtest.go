// Package commandtest pastes what is printed for people into real shells, in tests only.
package commandtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs are replaced by a stub that writes down its arguments and prints a word.
var programs = []string{"kubectl", "occ", "kcadm.sh", "kc.sh", "curl", "openssl", "date"}

// Shells are those of this machine, of the ones whose users paste commands.
func Shells() []string {
	var found []string
	for _, name := range []string{"sh", "bash", "dash", "zsh"} {
		if _, err := exec.LookPath(name); err == nil {
			found = append(found, name)
		}
	}
	return found
}

// Terminal is a folder in which lines are pasted.
type Terminal struct{ folder string }

// New returns a terminal whose programs are stubs.
func New(t testing.TB) Terminal {
	t.Helper()
	folder := t.TempDir()
	for _, name := range programs {
		stub := fmt.Sprintf("#!/bin/sh\n{ printf '%%s\\0' %s \"$@\"; printf '\\n\\0'; } >>\"$CALLS\"\necho ID\n", name)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(stub), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	return Terminal{folder}
}

// Mark is a file of the terminal's folder that nothing but an injected command makes.
const Mark = "mark"

// Ran says whether something has made the mark.
func (m Terminal) Ran() bool {
	_, err := os.Stat(filepath.Join(m.folder, Mark))
	return err == nil
}

// Paste gives lines to a shell. It returns the calls of the programs, each with its name and arguments, and what the shell
// said.
func (m Terminal) Paste(t testing.TB, shell string, lines ...string) (calls [][]string, said string) {
	t.Helper()
	record := filepath.Join(m.folder, "calls")
	if err := os.WriteFile(record, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := exec.CommandContext(t.Context(), shell, "-c", strings.Join(lines, "\n")) //nolint:gosec // what is tested
	script.Dir = m.folder
	script.Env = []string{"PATH=" + m.folder + ":/usr/bin:/bin", "CALLS=" + record, "HOME=" + m.folder}
	output, err := script.CombinedOutput()
	if err != nil {
		output = append(output, []byte(err.Error())...)
	}
	content, err := os.ReadFile(record) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	var call []string
	for argument := range strings.SplitSeq(string(content), "\x00") {
		if argument == "\n" {
			calls, call = append(calls, call), nil
			continue
		}
		call = append(call, argument)
	}
	return calls, string(output)
}

// Parse fails where a shell cannot read a line. Nothing runs.
func (m Terminal) Parse(t testing.TB, shell, line string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), shell, "-n", "-c", line).CombinedOutput(); err != nil { //nolint:gosec // what is tested
		t.Errorf("%s cannot read %s: %v: %s", shell, line, err, output)
	}
}
