package repo

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// workflows lists the forge's.
func workflows(t *testing.T) []string {
	t.Helper()
	found := slices.DeleteFunc(files(t, ".yaml", ".yml"), func(file string) bool { return !strings.HasPrefix(file, ".github/workflows/") })
	if len(found) == 0 {
		t.Fatal("no workflow is found")
	}
	return found
}

// TestActionsArePinned: a tag can be moved to other code, a hash cannot. The comment is for people and for Dependabot.
func TestActionsArePinned(t *testing.T) {
	uses := regexp.MustCompile(`uses: *(.*)`)
	pinned := regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, file := range workflows(t) {
		for _, found := range uses.FindAllStringSubmatch(read(t, file), -1) {
			if !pinned.MatchString(found[1]) {
				t.Errorf("%s uses %s: write it as owner/action@HASH # vX.Y.Z", file, found[1])
			}
		}
	}
}

// TestWorkflowsMayLittle: a workflow as a whole may read the code at most; a job that must do more says so itself.
func TestWorkflowsMayLittle(t *testing.T) {
	for _, file := range workflows(t) {
		var w struct {
			Permissions *map[string]string `json:"permissions"`
		}
		if err := yaml.Unmarshal([]byte(read(t, file)), &w); err != nil {
			t.Fatal(err)
		}
		if w.Permissions == nil {
			t.Errorf("%s sets no permissions, so its token may do what the repository's default is", file)
			continue
		}
		for what, may := range *w.Permissions {
			if what != "contents" || may != "read" {
				t.Errorf("%s: every job may %s %s: give that to the job that needs it", file, may, what)
			}
		}
	}
}

// TestEveryDependencyIsWatched: Dependabot looks into each folder that pins something.
func TestEveryDependencyIsWatched(t *testing.T) {
	var watched struct {
		Updates []struct {
			Ecosystem   string   `json:"package-ecosystem"`
			Directory   string   `json:"directory"`
			Directories []string `json:"directories"`
		} `json:"updates"`
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &watched); err != nil {
		t.Fatal(err)
	}
	pins := map[string]string{"go.mod": "gomod", "requirements.txt": "pip", "Dockerfile": "docker", "compose.yaml": "docker-compose"}
	for _, file := range files(t) {
		ecosystem := pins[filepath.Base(file)]
		if ecosystem == "" || strings.Contains(file, "/testdata/") {
			continue
		}
		folder := path.Join("/", path.Dir(file))
		seen := false
		for _, u := range watched.Updates {
			seen = seen || u.Ecosystem == ecosystem && (u.Directory == folder || slices.Contains(u.Directories, folder))
		}
		if !seen {
			t.Errorf("Dependabot does not watch %s: add %s to %s in .github/dependabot.yml", file, folder, ecosystem)
		}
	}
}
