package repo

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzzTargetThatIsNone: a name that is misspelt must not look like a search that has found nothing.
func TestFuzzTargetThatIsNone(t *testing.T) {
	said, err := exec.CommandContext(t.Context(), filepath.Join(root, "hack", "fuzz.sh"), "1s", "FuzzOpne").CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	for _, part := range []string{"there is no fuzz target FuzzOpne", " FuzzOpen ", " FuzzVerify"} {
		if !strings.Contains(string(said), part) {
			t.Errorf("%q lacks %q", said, part)
		}
	}
}
