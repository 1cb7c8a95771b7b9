//go:build unix && !linux

package stack

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// processGroup gives a process a group of its own. There is no parent-death
// signal here: when this program is killed, Down ends what it started.
func processGroup(detached, _ bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true}
}

// identity tells a process from a later one with the same pid by its start time.
func identity(pid int) (string, error) {
	started, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", fmt.Errorf("process %d has ended: %w", pid, err)
	}
	return strings.TrimSpace(string(started)), nil
}
