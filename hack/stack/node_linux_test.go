//go:build integration && linux

package stack

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is what a node could leave behind.
type machine struct {
	Mounts, Interfaces, Cgroups []string
	Settings                    map[string]string
}

func lookAround(t *testing.T, mark string) machine {
	t.Helper()
	m := machine{Settings: map[string]string{}}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, mark) {
			m.Mounts = append(m.Mounts, line)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		m.Interfaces = append(m.Interfaces, i.Name)
	}
	for _, hierarchy := range hierarchies() {
		found, err := filepath.Glob(filepath.Join(hierarchy, cgroupPrefix+"*"))
		if err != nil {
			t.Fatal(err)
		}
		m.Cgroups = append(m.Cgroups, found...)
	}
	for _, name := range []string{"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"} {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		m.Settings[name] = string(value)
	}
	return m
}

func TestNothingOfANodeIsLeftWhenItsProgramWasKilled(t *testing.T) {
	if why := NodeUnsupported(t.Context()); why != "" {
		t.Skip(why)
	}
	if _, err := goBuild(t.Context(), "./hack/dev"); err != nil { // so that it takes no time below
		t.Fatal(err)
	}
	sweepCgroups() // as the next node would
	dir := filepath.Join(t.TempDir(), "node")
	before := lookAround(t, dir)
	kill := startParent(t, nodeParentVariable, dir)
	n := &Node{}
	eventually(t, func(context.Context) bool { return n.read(stateFile(dir)) == nil })
	if during := lookAround(t, dir); len(during.Cgroups) == len(before.Cgroups) || len(during.Interfaces) == len(before.Interfaces) {
		t.Errorf("a node is to have interfaces and control groups: before %v, now %v", before, during)
	}
	kill()
	var after machine
	eventually(t, func(context.Context) bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(n.init))
		after = lookAround(t, dir)
		return err != nil && cmp.Equal(before, after)
	})
}
