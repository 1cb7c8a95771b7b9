// Package shard divides the work among several processes. There is a fixed number of shards, every object belongs to
// one of them by its name, and a process works on the shards whose Leases it holds.
//
// The engine is client-go's leader election, once for each shard, and so are its promises: of two processes with sound
// clocks never two hold a Lease, and there is no fencing: a request that was on its way when the Lease ended may still
// arrive. What is added here:
//
//   - Who is there. Every process renews a Lease of its own, its membership. From these and the holders of the shards each
//     computes by itself how many shards are whose (share.go): it tries for free ones, or gives up one at a time.
//   - An orderly end. A Lease is given back when all work under it has ended. When it cannot be renewed the work is
//     cancelled, and shortly before another process may take the Lease whatever is left is cut off (tenure.go).
//   - One number of shards. All processes with the same number hold one more Lease together, the one that is otherwise
//     that of the leader. So a process with another number, or with plain leader election, waits until they are gone, and
//     they for it.
package shard

import (
	"crypto/sha256"
	"encoding/binary"
)

// Of gives the shard of an object, in [0, shards), by a key under which all processes know it. The hash is one that
// spreads whatever names look like (FNV modulo a power of two sees nothing of a byte but its low bits), and it is part
// of the contract: processes of two versions work side by side during an upgrade.
func Of(key string, shards int) int {
	sum := sha256.Sum256([]byte(key))
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(shards)) //nolint:gosec // smaller than shards, which is an int
}
