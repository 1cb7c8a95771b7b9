package shard

import (
	"cmp"
	"slices"
)

// view is what one process knows of all.
type view struct {
	me string
	// members are those that live, by identity.
	members []string
	// holders has the identity of each shard's holder, "" where it is free. One that is no member is about to end.
	holders []string
}

// move is what a process does about it.
type move struct {
	// take are the free shards to try for.
	take []int
	// leave says to give up one.
	leave bool
}

// move shares the shards as evenly as they can be: no member has two more than another. Whoever has most keeps the odd
// ones, so that as few as possible change hands. All members that see the same do what fits together.
func (v view) move() move {
	held := map[string]int{}
	var free []int
	for shard, holder := range v.holders {
		held[holder]++
		if holder == "" {
			free = append(free, shard)
		}
	}
	members := slices.SortedFunc(slices.Values(v.members), func(a, b string) int {
		return cmp.Or(cmp.Compare(held[b], held[a]), cmp.Compare(a, b))
	})
	for i, member := range members {
		quota := len(v.holders) / len(members)
		if i < len(v.holders)%len(members) {
			quota++
		}
		lacks := min(max(quota-held[member], 0), len(free))
		if member == v.me {
			return move{take: free[:lacks], leave: held[member] > quota}
		}
		free = free[lacks:]
	}
	return move{} // not seen as a member yet
}
