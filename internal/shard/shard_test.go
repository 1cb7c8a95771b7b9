package shard

import (
	"fmt"
	"testing"
)

func TestShardsAreTheSameInEveryVersion(t *testing.T) {
	for key, want := range map[string]int{"apps/notes-sync": 6, "apps/mcp-server": 1, "": 1, "team-a/g-0001": 4} {
		if got := Of(key, 7); got != want {
			t.Errorf("Of(%q, 7) = %d, want %d", key, got, want)
		}
	}
}

func TestShardsAreEvenWhateverNamesLookLike(t *testing.T) {
	patterns := map[string]func(i int) string{
		"numbered":          func(i int) string { return fmt.Sprintf("apps/g-%d", i) },
		"numbered in pairs": func(i int) string { return fmt.Sprintf("apps/g-%04d", 2*i) },
		"one each":          func(i int) string { return fmt.Sprintf("team-%d/token", i) },
		"doubled":           func(i int) string { return fmt.Sprintf("team-%d/token-%d", i, i) },
	}
	const keys = 9000
	for name, pattern := range patterns {
		for _, shards := range []int{2, 3, 4, 12} {
			count := make([]int, shards)
			for i := range keys {
				count[Of(pattern(i), shards)]++
			}
			mean := keys / shards
			for shard, n := range count {
				if n < mean*85/100 || n > mean*115/100 {
					t.Errorf("%s: %d of %d keys are in shard %d of %d, want about %d", name, n, keys, shard, shards, mean)
				}
			}
		}
	}
}

func BenchmarkOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Of("some-namespace/some-token-grant", 12)
	}
}
