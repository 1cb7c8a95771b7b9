//go:build integration

package observe

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program finds a program of Debian's that a test runs for real.
func program(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: on Debian, apt-get install %s", name, debianPackage)
	}
	return path
}

// place copies files into one temporary folder, under the names given.
func place(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRulesFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	promtool := program(t, "promtool", "prometheus")
	dir := place(t, map[string]string{"rules.yaml": read(t, rulesFile), "rules_test.yaml": read(t, "testdata/rules_test.yaml")})
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
		}
		t.Logf("%s", bytes.TrimSpace(output))
	}
	for _, r := range rules(t) {
		if !strings.Contains(read(t, "testdata/rules_test.yaml"), r.Alert) {
			t.Errorf("%s is not tested in testdata/rules_test.yaml", r.Alert)
		}
	}
}
