package stack

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// processGroup gives a process a group of its own, so that Ctrl-C in the
// terminal reaches only this program, which then stops all in the right order.
// The kernel kills a process that is not detached together with this program,
// or tells it to end when it has something to clean up.
func processGroup(detached, cleansUp bool) *syscall.SysProcAttr {
	switch {
	case detached:
		return &syscall.SysProcAttr{Setsid: true}
	case cleansUp:
		return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	default:
		return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
}

// identity tells a process from a later one with the same pid: the boot of the
// machine and the clock tick the process began at. A zombie counts as gone.
func identity(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the command in parentheses and may itself hold both
	// blanks and parentheses; proc(5) counts the state as field 3, starttime as 22.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}
