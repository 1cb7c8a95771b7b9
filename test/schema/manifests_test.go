package schema

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var yamlFence = regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```")

// TestManifestsThatWeShow: what a reader copies from the samples and the documents is taken by the API server.
func TestManifestsThatWeShow(t *testing.T) {
	plurals := map[string]string{"TokenGrant": "tokengrants", "TokenIssuer": "tokenissuers", "ClusterTokenIssuer": "clustertokenissuers"}
	seen := map[string]int{}
	for _, pattern := range []string{"../../config/samples/*.yaml", "../../docs/*.md", "../../docs/recipes/*.md", "../../README.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s matches nothing: %v", pattern, err)
		}
		for _, path := range paths {
			for _, manifest := range manifests(t, path) {
				var kind struct{ Kind string }
				if err := yaml.Unmarshal([]byte(manifest), &kind); err != nil {
					t.Errorf("%s: %v\n%s", path, err, manifest)
				}
				plural, ours := plurals[kind.Kind]
				if !ours {
					continue
				}
				seen[kind.Kind]++
				if _, refused := load(t, plural).admit(t, manifest, `{}`); refused != "" {
					t.Errorf("%s: %s\n%s", path, refused, manifest)
				}
			}
		}
	}
	for kind := range plurals {
		if seen[kind] == 0 {
			t.Errorf("no %s is shown anywhere", kind)
		}
	}
}

// manifests gives the YAML documents of a file; of a page those between fences.
func manifests(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) != ".md" {
		return strings.Split(string(content), "\n---\n")
	}
	var found []string
	for _, m := range yamlFence.FindAllStringSubmatch(string(content), -1) {
		found = append(found, strings.Split(m[1], "\n---\n")...)
	}
	return found
}
