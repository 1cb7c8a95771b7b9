package repo

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// files lists the repository's files with one of the extensions, or all, by their path from the root.
func files(t *testing.T, extensions ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", ".demo", ".cluster"}, entry.Name()):
			return filepath.SkipDir
		case entry.Name() == ".git": // a file in a linked worktree
			return nil
		case entry.Type().IsRegular() && (len(extensions) == 0 || slices.Contains(extensions, filepath.Ext(path))):
			relative, err := filepath.Rel(root, path)
			found = append(found, filepath.ToSlash(relative))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no files %v below %s", extensions, root)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestNoFileNamesAMachine: what is built here is built elsewhere, with that place's mirrors and folders. The patterns
// are put together so that they do not find themselves.
func TestNoFileNamesAMachine(t *testing.T) {
	hosts := []string{
		"proxy." + "golang.org", "sum." + "golang.org", "repo1." + "maven.org", "repo.maven." + "apache.org",
		"registry." + "npmjs.org", "deb." + "debian.org", "files." + "pythonhosted.org",
	}
	folder := regexp.MustCompile(`(^|[\s"'=(:,])/(` + strings.Join([]string{"work", "root", "tmp", "home"}, "|") + `)/[a-z]`)
	for _, path := range files(t) {
		if filepath.Base(path) == "go.sum" {
			continue
		}
		for i, line := range strings.Split(read(t, path), "\n") {
			for _, host := range hosts {
				if strings.Contains(line, host) {
					t.Errorf("%s:%d names the package registry %s", path, i+1, host)
				}
			}
			if found := folder.FindString(line); found != "" {
				t.Errorf("%s:%d names a folder of one machine: %s", path, i+1, found)
			}
		}
	}
}
