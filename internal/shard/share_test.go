package shard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMove(t *testing.T) {
	// holders has a letter for each shard's holder, and a dot for a free one.
	for name, c := range map[string]struct {
		me, members, holders string
		want                 move
	}{
		"alone takes all":                          {"a", "a", "....", move{take: []int{0, 1, 2, 3}}},
		"alone has all":                            {"a", "a", "aaaa", move{}},
		"two share what is free":                   {"b", "ab", "....", move{take: []int{2, 3}}},
		"the odd one is the first one's":           {"a", "ab", "...", move{take: []int{0, 1}}},
		"the odd one stays where it is":            {"b", "abc", "bbac", move{}},
		"a newcomer waits while nothing is free":   {"c", "abc", "aaabbb", move{}},
		"who has most makes room for a newcomer":   {"a", "abc", "aaabbb", move{leave: true}},
		"who has one too many leaves it":           {"b", "abc", "aabbb.", move{leave: true}},
		"a newcomer takes what was left":           {"c", "abc", "aa.bbb", move{take: []int{2}}},
		"a difference of one is even":              {"a", "abc", "aaabbbcc", move{}},
		"more members than shards: one waits":      {"c", "abc", "ab", move{}},
		"what a dead one holds is not free yet":    {"a", "ab", "aaccbb", move{}},
		"nor is there too much without it":         {"a", "ab", "aaacbb", move{}},
		"the dead one's is shared":                 {"b", "ab", "aa..bb", move{take: []int{3}}},
		"takers do not go for the same":            {"a", "ab", "aa..bb", move{take: []int{2}}},
		"who is not seen as a member does nothing": {"c", "ab", "aa..bb", move{}},
	} {
		holders := strings.Split(strings.ReplaceAll(c.holders, ".", " "), "")
		for i := range holders {
			holders[i] = strings.TrimSpace(holders[i])
		}
		got := view{me: c.me, members: strings.Split(c.members, ""), holders: holders}.move()
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(move{}), cmp.Transformer("nil", func(s []int) string { return fmt.Sprint(s) })); diff != "" {
			t.Errorf("%s: want (-), got (+)\n%s", name, diff)
		}
	}
}

// TestMovesSettle plays processes that come and go, and act one after the other in any order on what they see.
func TestMovesSettle(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		holders := make([]string, 1+random.IntN(16))
		members := []string{"a"}
		for round := range 20 {
			if len(members) > 1 && random.IntN(2) == 0 {
				gone := members[random.IntN(len(members))]
				members = slices.DeleteFunc(members, func(m string) bool { return m == gone })
				for i := range holders {
					if holders[i] == gone {
						holders[i] = ""
					}
				}
			} else if len(members) < 8 {
				members = append(members, fmt.Sprintf("%c%d-%d", 'a'+random.IntN(26), seed, round))
			}
			free := count(holders, "")
			moves, before := settle(t, random, members, holders), slices.Clone(holders)
			settle(t, random, members, holders)
			if !slices.Equal(before, holders) {
				t.Fatalf("seed %d: %v is not the end: %v", seed, before, holders)
			}
			// What was free goes to somebody, and a newcomer gets its share; nothing else moves.
			if most := free + len(holders)/len(members) + 1; moves > most {
				t.Fatalf("seed %d: %d shards changed hands, want at most %d", seed, moves, most)
			}
		}
	}
}

func settle(t *testing.T, random *rand.Rand, members, holders []string) (moves int) {
	t.Helper()
	for range 4 * (len(holders) + 1) {
		before := slices.Clone(holders)
		for _, i := range random.Perm(len(members)) {
			m := view{members[i], members, slices.Clone(holders)}.move()
			for _, shard := range m.take {
				holders[shard] = members[i]
				moves++
			}
			if m.leave {
				holders[slices.Index(holders, members[i])] = ""
			}
		}
		if slices.Equal(before, holders) {
			break
		}
	}
	least, most := len(holders), 0
	for _, m := range members {
		n := count(holders, m)
		least, most = min(least, n), max(most, n)
	}
	if count(holders, "") > 0 || most-least > 1 {
		t.Fatalf("%v did not settle among %v", holders, members)
	}
	return moves
}

func count(list []string, what string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}
