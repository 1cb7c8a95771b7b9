package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// PauseImage holds the namespaces of each pod on a Node.
const PauseImage = "tokengrant.test/pause:1"

func pauseArchive(ctx context.Context, dir string) (string, error) {
	archive := filepath.Join(dir, "pause.tar")
	return archive, ProgramImage(ctx, archive, PauseImage, "./hack/pause")
}

// ProgramImage builds a main package of this checkout, without C, and writes an
// image that holds it and nothing else into an archive. It runs as 65532.
func ProgramImage(ctx context.Context, archive, name, pkg string) error {
	program, err := goBuild(ctx, pkg, "CGO_ENABLED=0")
	if err != nil {
		return err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entry := filepath.Base(pkg)
	layer := archiveOf(
		tarFile{name: "tmp/", mode: 0o1777},
		tarFile{name: entry, mode: 0o755, content: content},
	)
	return os.WriteFile(archive, dockerArchive(name, imageConfig{Entrypoint: []string{"/" + entry}, User: "65532:65532"}, layer), 0o600)
}

// imageConfig is the part of an image's configuration that says how to run it.
type imageConfig struct {
	Entrypoint []string `json:",omitempty"`
	User       string   `json:",omitempty"`
	Env        []string `json:",omitempty"`
}

// dockerArchive is an image of one layer as `docker save` writes it, which
// containerd and buildah read.
func dockerArchive(name string, how imageConfig, layer []byte) []byte {
	digest := func(content []byte) string {
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	config, _ := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": how,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	manifest, _ := json.Marshal([]map[string]any{{
		"Config": digest(config) + ".json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"},
	}})
	return archiveOf(
		tarFile{name: digest(config) + ".json", content: config},
		tarFile{name: "layer.tar", content: layer},
		tarFile{name: "manifest.json", content: manifest},
	)
}

// tarFile is an entry of an archive: a directory when its name ends in a slash.
type tarFile struct {
	name    string
	mode    int64
	content []byte
}

func archiveOf(files ...tarFile) []byte {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, file := range files {
		header := &tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(file.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		// A buffer in memory takes everything.
		_ = writer.WriteHeader(header)
		_, _ = writer.Write(file.content)
	}
	_ = writer.Close()
	return buffer.Bytes()
}

// OperatorImage builds the operator's image from the Dockerfile of this checkout
// and writes it into an archive. No registry is asked: the image that it builds in
// is this machine's own compiler, libraries and module cache, mounted, and the one
// that it builds upon is empty.
func OperatorImage(ctx context.Context, archive, name string) error {
	elapsed := took(ctx)
	root, err := Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tokengrant-image-")
	if err != nil {
		return err
	}
	b := &builder{dir: dir}
	defer b.remove()
	if err := b.bases(ctx); err != nil {
		return err
	}
	mounts, err := b.mounts(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"build", "--isolation=chroot", "--pull-never", "--tag=" + name, "--build-arg=BUILDER=" + builderImage, "--build-arg=BASE=" + baseImage}, mounts...)
	if err := b.buildah(ctx, append(args, root)...); err != nil {
		return err
	}
	if err := os.RemoveAll(archive); err != nil { // buildah adds to an archive, and cannot
		return err
	}
	if err := b.buildah(ctx, "push", name, "docker-archive:"+archive+":"+name); err != nil {
		return err
	}
	Sayf(ctx, "built the image %s from the Dockerfile (%s)", name, elapsed())
	return nil
}

const (
	builderImage = "tokengrant.test/builder:1"
	baseImage    = "tokengrant.test/base:1"
)

// builder runs buildah with a storage of its own.
type builder struct{ dir string }

func (b *builder) buildah(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "buildah", append([]string{
		"--root=" + filepath.Join(b.dir, "storage"), "--runroot=" + filepath.Join(b.dir, "run"), "--storage-driver=vfs",
	}, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("buildah %s: %w\n%s", args[0], err, output)
	}
	return nil
}

// bases makes the images that the Dockerfile's ARGs name: folders to mount upon,
// and what an image for static programs has.
func (b *builder) bases(ctx context.Context) error {
	builds := archiveOf(
		tarFile{name: "tmp/", mode: 0o1777}, tarFile{name: "etc/", mode: 0o755}, tarFile{name: "go/", mode: 0o755},
		tarFile{name: "gocache/", mode: 0o755}, tarFile{name: "goroot/", mode: 0o755},
	)
	runs := archiveOf(tarFile{name: "tmp/", mode: 0o1777}, tarFile{name: "etc/", mode: 0o755})
	env := imageConfig{Env: []string{
		"PATH=/goroot/bin:/usr/bin:/bin", "GOROOT=/goroot", "GOPATH=/go", "GOCACHE=/gocache", "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly -buildvcs=false",
		"GOPROXY=off", // the module cache has everything: this program was built from it
	}}
	for name, content := range map[string][]byte{
		builderImage: dockerArchive(builderImage, env, builds), baseImage: dockerArchive(baseImage, imageConfig{}, runs),
	} {
		archive := filepath.Join(b.dir, "base.tar")
		if err := os.WriteFile(archive, content, 0o600); err != nil {
			return err
		}
		if err := b.buildah(ctx, "pull", "docker-archive:"+archive); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// mounts are the folders of this machine that a build sees.
func (b *builder) mounts(ctx context.Context) ([]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	output, err := goCommand(ctx, root, "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	folders := strings.Fields(string(output))
	mounts := []string{
		"--volume=" + folders[0] + ":/goroot:ro", "--volume=" + folders[1] + ":/go/pkg/mod", "--volume=" + folders[2] + ":/gocache",
	}
	for _, system := range []string{"/bin", "/lib", "/lib64", "/usr"} {
		if _, err := os.Stat(system); err == nil {
			mounts = append(mounts, "--volume="+system+":"+system+":ro")
		}
	}
	return mounts, nil
}

// remove takes the storage away. Its files may be read-only.
func (b *builder) remove() { _ = os.RemoveAll(b.dir) }
