package stack

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The Maven plugin is pinned because its default depends on Maven's own version.
const (
	mavenCopyGoal    = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy"
	keycloakArtifact = "keycloak-quarkus-dist"
)

// keycloakSums is the only place that names Keycloak versions: one line of
// sha256sum(1) for each distribution, the default version first.
//
//go:embed keycloak.sha256
var keycloakSums string

// KeycloakVersions are the versions that can be started, the default first.
func KeycloakVersions() []string {
	var versions []string
	for line := range strings.Lines(keycloakSums) {
		_, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		versions = append(versions, strings.TrimSuffix(strings.TrimPrefix(file, keycloakArtifact+"-"), ".zip"))
	}
	return versions
}

// DefaultKeycloakVersion is $KEYCLOAK_VERSION, or the first pinned version.
func DefaultKeycloakVersion() string {
	if version := os.Getenv("KEYCLOAK_VERSION"); version != "" {
		return version
	}
	return KeycloakVersions()[0]
}

// KeycloakDist returns the directory of an unpacked Keycloak distribution.
// Maven fetches it at the first use; its SHA-256 must be the pinned one.
func KeycloakDist(ctx context.Context, version string) (string, error) {
	sum, err := keycloakSum(version)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "keycloak", "dist-"+version+"-"+sum[:8])
	return dir, prepareOnce(ctx, dir, func(ctx context.Context, temporary string) error {
		elapsed := took(ctx)
		Sayf(ctx, "fetching Keycloak %s through Maven", version)
		archive, err := fetchKeycloak(ctx, version, temporary)
		if err != nil {
			return err
		}
		if err := unpack(archive, sum, temporary); err != nil {
			return err
		}
		Sayf(ctx, "Keycloak %s is fetched, verified and unpacked (%s)", version, elapsed())
		return os.Remove(archive)
	})
}

func keycloakSum(version string) (string, error) {
	file := keycloakArtifact + "-" + version + ".zip"
	for line := range strings.Lines(keycloakSums) {
		if sum, name, _ := strings.Cut(strings.TrimSpace(line), "  "); name == file {
			return sum, nil
		}
	}
	return "", fmt.Errorf("no checksum of Keycloak %s in hack/stack/keycloak.sha256 (there: %s)",
		version, strings.Join(KeycloakVersions(), ", "))
}

func fetchKeycloak(ctx context.Context, version, dir string) (string, error) {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("no Maven to fetch Keycloak with (Debian package maven): %w", err)
	}
	output, err := exec.CommandContext(ctx, maven, "--batch-mode", "--quiet", mavenCopyGoal,
		"-Dartifact=org.keycloak:"+keycloakArtifact+":"+version+":zip", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mvn could not fetch Keycloak %s: %w\n%s", version, err, output)
	}
	return filepath.Join(dir, keycloakArtifact+"-"+version+".zip"), nil
}

// unpack extracts a zip archive with the given SHA-256 into dir, without the
// single directory at its top.
func unpack(archive, sum, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return fmt.Errorf("%s has SHA-256 %s, want %s", filepath.Base(archive), got, sum)
	}
	reader, err := zip.NewReader(file, size)
	if err != nil {
		return err
	}
	for _, entry := range reader.File {
		_, name, _ := strings.Cut(entry.Name, "/")
		if entry.FileInfo().IsDir() || name == "" {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s: %q leaves the directory", filepath.Base(archive), entry.Name)
		}
		if err := extract(entry, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func extract(entry *zip.File, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	source, err := entry.Open()
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, entry.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return err
	}
	return target.Close()
}

// PrepareKeycloak returns the directory of a copy of the distribution that was
// built with the given options (such as "--features=token-exchange:v1") and whose
// database holds the schema, the master realm and the administrator already. That halves
// the time of each start; StartKeycloak calls it.
//
// A class data sharing archive would save a fifth more, but Keycloak does not
// start from it once the directory has moved.
func PrepareKeycloak(ctx context.Context, version string, options ...string) (string, error) {
	dist, err := KeycloakDist(ctx, version)
	if err != nil {
		return "", err
	}
	build := append([]string{"build", "--db=dev-file"}, options...)
	key := cacheKey([]byte(dist), []byte(strings.Join(build, " ")), []byte(keycloakAdmin), []byte(keycloakPassword))
	dir := filepath.Join(filepath.Dir(dist), "optimized-"+version+"-"+key)
	return dir, prepareOnce(ctx, dir, func(ctx context.Context, temporary string) error {
		elapsed := took(ctx)
		Sayf(ctx, "preparing Keycloak %s: %s, then a first start", version, strings.Join(build, " "))
		if err := linkDist(dist, temporary); err != nil {
			return err
		}
		if err := buildKeycloak(ctx, temporary, build); err != nil {
			return err
		}
		if err := fillDatabase(ctx, temporary); err != nil {
			return err
		}
		Sayf(ctx, "Keycloak %s is prepared (%s)", version, elapsed())
		return nil
	})
}

// linkDist makes a distribution in dir of which only lib/quarkus, where the
// build writes, is a copy.
func linkDist(dist, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "lib"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"lib/app", "lib/lib", "conf", "providers", "themes"} {
		if err := os.Symlink(filepath.Join(dist, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// The jar names its class path relative to itself: a link would be followed.
	if err := os.CopyFS(filepath.Join(dir, "lib", "quarkus"), os.DirFS(filepath.Join(dist, "lib", "quarkus"))); err != nil {
		return err
	}
	return copyFile(filepath.Join(dist, "lib", "quarkus-run.jar"), filepath.Join(dir, "lib", "quarkus-run.jar"))
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

func buildKeycloak(ctx context.Context, dir string, args []string) error {
	java, err := javaPath()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, java, javaArgs(false, dir, dir, args)...)
	cmd.Env = keycloakEnv()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the build of Keycloak failed: %w\n%s", err, output.Bytes())
	}
	return nil
}

// fillDatabase starts and stops Keycloak once, so that its database exists.
func fillDatabase(ctx context.Context, dir string) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	java, err := javaPath()
	if err != nil {
		return err
	}
	url := "http://" + loopback(port)
	args, err := startArgs(url)
	if err != nil {
		return err
	}
	first := &server{
		name: "first-start", dir: dir, path: java, env: keycloakEnv(), within: 5 * time.Minute,
		args:  javaArgs(false, dir, dir, append(args, httpArgs(port)...)),
		ready: func(ctx context.Context) error { return answers(ctx, http.DefaultClient, url+"/realms/master") },
	}
	if err := first.start(ctx); err != nil {
		return err
	}
	return first.stop()
}
