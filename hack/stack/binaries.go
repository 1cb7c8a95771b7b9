package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Assets are the paths of the control plane's binaries.
type Assets struct {
	Etcd      string
	APIServer string
	// Empty when KUBEBUILDER_ASSETS lacks them. Without a controller manager
	// nothing collects garbage or finishes the deletion of a namespace.
	ControllerManager string
	Kubectl           string
}

// Binaries returns the control plane's binaries: those in $KUBEBUILDER_ASSETS
// when it is set, else those pinned by hack/kubernetes, built at the first use
// (minutes) and kept in CacheDir under a key of everything the build depends on.
func Binaries(ctx context.Context) (Assets, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return assetsIn(dir)
	}
	dir, err := built(ctx, "kubernetes", "kubernetes", buildKubernetes)
	if err != nil {
		return Assets{}, fmt.Errorf("building the control plane from hack/kubernetes: %w", err)
	}
	return assetsIn(dir)
}

// built returns the directory below CacheDir, named after a kind of binaries and
// all that their build depends on, and builds them, from a module below hack,
// when it is missing.
func built(ctx context.Context, name, kind string, build func(ctx context.Context, module, out string) error) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", name)
	key, err := moduleKey(ctx, module)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, kind, key)
	return dir, prepareOnce(ctx, dir, func(ctx context.Context, temporary string) error {
		return build(ctx, module, temporary)
	})
}

func assetsIn(dir string) (Assets, error) {
	find := func(name string) string {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return ""
		}
		return path
	}
	assets := Assets{
		Etcd:              find("etcd"),
		APIServer:         find("kube-apiserver"),
		ControllerManager: find("kube-controller-manager"),
		Kubectl:           find("kubectl"),
	}
	if assets.Etcd == "" || assets.APIServer == "" {
		return Assets{}, fmt.Errorf("%s must hold etcd and kube-apiserver", dir)
	}
	return assets, nil
}

// moduleKey identifies what a build of the module's tools gives: the pinned
// sources and the Go toolchain that go.mod selects.
func moduleKey(ctx context.Context, module string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	toolchain, err := goCommand(ctx, module, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	return cacheKey(mod, sum, toolchain), nil
}

// goCommand runs go in a module of its own: no workspace, no C compiler.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}

func buildKubernetes(ctx context.Context, module, out string) error {
	err := buildTools(ctx, module, out, "etcd, kube-apiserver, kube-controller-manager and kubectl",
		"go.etcd.io/etcd/server/v3", "k8s.io/kubernetes/cmd/kube-apiserver",
		"k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes/cmd/kubectl")
	if err != nil {
		return err
	}
	// The main package of etcd's server is called server.
	return os.Rename(filepath.Join(out, "server"), filepath.Join(out, "etcd"))
}

// buildTools builds main packages of hack/kubernetes into a directory.
func buildTools(ctx context.Context, module, out, what string, packages ...string) error {
	version, err := requiredVersion(ctx, module, "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	Sayf(ctx, "building %s from Go modules, Kubernetes %s (some minutes, once)", what, version)
	elapsed := took(ctx)
	// -v prints one line for each compiled package: the only sign of progress go build gives.
	cmd := goCommand(ctx, module, append([]string{
		"build", "-v", "-mod=readonly", "-trimpath",
		"-ldflags", versionFlags(version), "-o", out + string(filepath.Separator),
	}, packages...)...)
	var output lineCounter
	cmd.Stdout, cmd.Stderr = &output, &output
	stop := progress(ctx).every(15*time.Second, func() string {
		return fmt.Sprintf("still building, %d lines of output (a cold build has about 2000)", output.lines.Load())
	})
	err = cmd.Run()
	stop()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output.end())
	}
	Sayf(ctx, "built in %s", elapsed())
	return nil
}

// versionFlags are the linker flags that make the binaries know their version;
// without them kube-apiserver calls itself v0.0.0.
func versionFlags(version string) string {
	const variable = " -X k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return "-s -w" + variable + "gitVersion=" + version +
		variable + "gitMajor=" + parts[0] + variable + "gitMinor=" + parts[1]
}

// requiredVersion reads the version of a dependency from the module's go.mod.
func requiredVersion(ctx context.Context, module, path string) (string, error) {
	output, err := goCommand(ctx, module, "mod", "edit", "-json").Output()
	if err != nil {
		return "", fmt.Errorf("go mod edit: %w", err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(output, &mod); err != nil {
		return "", err
	}
	for _, required := range mod.Require {
		if required.Path == path && strings.Count(required.Version, ".") >= 2 {
			return required.Version, nil
		}
	}
	return "", errors.New(module + "/go.mod requires no version of " + path)
}

// lineCounter keeps a command's output and counts its lines while it is written.
// Only exec's single copying goroutine writes.
type lineCounter struct {
	lines  atomic.Int64
	output bytes.Buffer
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	return c.output.Write(p)
}

// end returns the last lines, where the errors are.
func (c *lineCounter) end() string {
	lines := strings.Split(strings.TrimSpace(c.output.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// goBuild builds a main package of this checkout into CacheDir. Checkouts do not
// share it; an unchanged program is not linked again. env is added to this
// program's own environment.
func goBuild(ctx context.Context, pkg string, env ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(cache, "bin", cacheKey([]byte(root)), filepath.Base(pkg))
	return out, locked(ctx, out+".lock", func() error {
		elapsed := took(ctx)
		// With the settings of this machine: what its go test compiled serves again.
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
		output, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("go build %s: %w\n%s", pkg, err, output)
		}
		Sayf(ctx, "built %s in %s", pkg, elapsed())
		return nil
	})
}
