package stack

import (
	"context"
	"fmt"
	"path/filepath"
)

// Rclone returns the path of rclone with WebDAV as its only remote, built from hack/rclone at the first use (a minute)
// and kept in CacheDir.
func Rclone(ctx context.Context) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", "rclone")
	key, err := moduleKey(ctx, module)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "rclone", key)
	err = prepareOnce(ctx, dir, func(ctx context.Context, temporary string) error {
		Sayf(ctx, "building rclone from Go modules (a minute, once)")
		elapsed := took(ctx)
		cmd := goCommand(ctx, module, "build", "-mod=readonly", "-trimpath", "-o", filepath.Join(temporary, "rclone"), ".")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, output)
		}
		Sayf(ctx, "built in %s", elapsed())
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("building rclone from hack/rclone: %w", err)
	}
	return filepath.Join(dir, "rclone"), nil
}
