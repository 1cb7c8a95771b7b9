//go:build integration

package upgrade

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// older is the version that this one is tested against: its name, and its commit. A release moves both to its tag.
const (
	older       = "v0.1.0-pre.3"
	olderCommit = "22763dc"
)

// Even older versions, of which only the form of sessions is tested.
const (
	// underived sealed sessions under the key of the file itself.
	underived = "v0.1.0-pre.2"
	// unbound sealed sessions that name no grant.
	unbound = "v0.1.0-pre"
)

var record = flag.Bool("record", false, "write testdata, with the older version")

// olderManager builds cmd/manager of the older version; without the history, which a shallow clone has not, it is "".
func olderManager(t *testing.T) string {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("rev-parse", "--verify", "--quiet", olderCommit+"^{commit}"); err != nil {
		return ""
	}
	tree := filepath.Join(t.TempDir(), "tree")
	if out, err := git("worktree", "add", "--detach", tree, olderCommit); err != nil {
		t.Fatalf("git worktree add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := git("worktree", "remove", "--force", tree); err != nil {
			t.Errorf("git worktree remove: %v\n%s", err, out)
		}
	})
	program := filepath.Join(t.TempDir(), "manager")
	build := exec.Command("go", "build", "-o", program, "./cmd/manager")
	build.Dir, build.Env = tree, append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", older, err, out)
	}
	return program
}
