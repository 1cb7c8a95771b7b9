package stack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestCacheKeySeparatesItsParts(t *testing.T) {
	key := cacheKey([]byte("ab"), []byte("c"))
	if other := cacheKey([]byte("a"), []byte("bc")); other == key {
		t.Errorf("different parts have the same key %q", key)
	}
	if again := cacheKey([]byte("ab"), []byte("c")); again != key {
		t.Errorf("the same parts have the keys %q and %q", key, again)
	}
}

func TestPrepareOnceBuildsOnceForAllWhoAsk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "entry")
	builds := 0 // guarded by the lock under test
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			err := prepareOnce(t.Context(), dir, func(_ context.Context, temporary string) error {
				builds++
				return os.WriteFile(filepath.Join(temporary, "file"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if builds != 1 {
		t.Errorf("built %d times, want once", builds)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Error(err)
	}
}

func TestPrepareOnceLeavesNothingOfAFailedBuild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "entry")
	failure := errors.New("no")
	err := prepareOnce(t.Context(), dir, func(_ context.Context, temporary string) error {
		return errors.Join(os.WriteFile(filepath.Join(temporary, "file"), nil, 0o600), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want the build's own error", err)
	}
	left, err := filepath.Glob(dir + "*")
	if err != nil || len(left) != 1 || left[0] != dir+".lock" {
		t.Errorf("left behind: %v, %v; want only the lock", left, err)
	}
}

func TestLockedGivesUpWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	ctx, cancel := context.WithCancel(t.Context())
	err := locked(ctx, file, func() error {
		cancel()
		return locked(ctx, file, func() error { return errors.New("held twice") })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
