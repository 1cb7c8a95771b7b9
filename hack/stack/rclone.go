package stack

import (
	"context"
	"fmt"
	"path/filepath"
)

// Rclone returns the path of rclone with WebDAV as its only remote, built from hack/rclone at the first use (a minute)
// and kept in CacheDir.
func Rclone(ctx context.Context) (string, error) {
	dir, err := built(ctx, "rclone", "rclone", func(ctx context.Context, module, out string) error {
		Sayf(ctx, "building rclone from Go modules (a minute, once)")
		elapsed := took(ctx)
		cmd := goCommand(ctx, module, "build", "-mod=readonly", "-trimpath", "-o", filepath.Join(out, "rclone"), ".")
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
