package stack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func zipped(t *testing.T, name string) (archive, sum string) {
	t.Helper()
	var content bytes.Buffer
	writer := zip.NewWriter(&content)
	header := &zip.FileHeader{Name: name}
	header.SetMode(0o755)
	file, err := writer.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("#!/bin/sh\n")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	archive = filepath.Join(t.TempDir(), "archive.zip")
	if err := os.WriteFile(archive, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(content.Bytes())
	return archive, hex.EncodeToString(hash[:])
}

func TestUnpackDropsTheTopDirectoryAndKeepsModes(t *testing.T) {
	archive, sum := zipped(t, "keycloak-1/bin/kc.sh")
	dir := t.TempDir()
	if err := unpack(archive, sum, dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bin", "kc.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, want 0755", info.Mode())
	}
}

func TestUnpackRefusesWhatIsNotPinned(t *testing.T) {
	archive, _ := zipped(t, "keycloak-1/bin/kc.sh")
	dir := t.TempDir()
	err := unpack(archive, strings.Repeat("0", 64), dir)
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("got %v, want an error about the SHA-256", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("unpacked %v", entries)
	}
}

func TestUnpackRefusesNamesThatLeaveTheDirectory(t *testing.T) {
	archive, sum := zipped(t, "keycloak-1/../../evil")
	if err := unpack(archive, sum, t.TempDir()); err == nil || !strings.Contains(err.Error(), "leaves the directory") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestKeycloakVersionsArePinned(t *testing.T) {
	if len(KeycloakVersions()) == 0 {
		t.Error("no version")
	}
	for _, version := range KeycloakVersions() {
		if sum, err := keycloakSum(version); err != nil || len(sum) != 64 {
			t.Errorf("%s: %q, %v", version, sum, err)
		}
	}
	if _, err := keycloakSum("1.0.0"); err == nil {
		t.Error("a version without a checksum was accepted")
	}
}

func TestVersionFlagsNameTheVersion(t *testing.T) {
	const want = "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
	if got := versionFlags("v1.37.2"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAssetsNeedAnAPIServer(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	if _, err := Binaries(t.Context()); err == nil {
		t.Error("an empty directory was accepted")
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Binaries(t.Context())
	want := Assets{Etcd: filepath.Join(dir, "etcd"), APIServer: filepath.Join(dir, "kube-apiserver")}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, assets (-want +got):\n%s", err, diff)
	}
}
