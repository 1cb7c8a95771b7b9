package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// CacheDir is where prepared binaries live: $TOKENGRANT_CACHE, or tokengrant in
// the user's cache directory. It may be deleted at any time.
func CacheDir() (string, error) {
	if dir := os.Getenv("TOKENGRANT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory (set TOKENGRANT_CACHE): %w", err)
	}
	return filepath.Join(dir, "tokengrant"), nil
}

// Root is the checkout that holds the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside a checkout of TokenGrant: no hack/kubernetes/go.mod here or above")
		}
		dir = parent
	}
}

// cacheKey names a cache entry after everything its content depends on.
func cacheKey(parts ...[]byte) string {
	hash := sha256.New()
	for _, part := range parts {
		// The length keeps ("ab", "c") and ("a", "bc") apart.
		fmt.Fprintf(hash, "%d:", len(part))
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// prepareOnce makes sure that dir exists, complete. build fills a temporary
// directory beside it, which takes dir's name in one rename, so a half-built dir
// is never seen; a lock keeps parallel programs from building it twice.
func prepareOnce(ctx context.Context, dir string, build func(ctx context.Context, temporary string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	return locked(ctx, dir+".lock", func() error {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		temporary, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary) // gone already after the rename
		if err := build(ctx, temporary); err != nil {
			return err
		}
		return os.Rename(temporary, dir)
	})
}

// locked runs do while it holds an exclusive lock on file. The lock ends with
// the process, whatever happens to it.
func locked(ctx context.Context, file string, do func() error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	handle, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer handle.Close()
	said := false
	err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if !said {
				Sayf(ctx, "waiting for another program that holds %s", file)
				said = true
			}
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("locking %s: %w", file, err)
	}
	return do()
}
