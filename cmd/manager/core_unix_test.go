//go:build unix

package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCoreDumpsAreOff checks the limit of the test's own process. It cannot be raised again, and need not be.
func TestCoreDumpsAreOff(t *testing.T) {
	withoutCore()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur > 1 || limit.Max > 1 {
		t.Errorf("a core dump may have %d bytes, and the limit may be raised to %d", limit.Cur, limit.Max)
	}
}
