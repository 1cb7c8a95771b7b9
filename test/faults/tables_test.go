//go:build integration

package faults

import (
	"testing"
)

// tables are all rows of the one operator that works for every namespace, in the order of docs/faults.md.
var tables = [][]scenario{issuerAnswers, issuerNetwork, issuerKeys, wrongTokens, lostAnswers, nextclouds, secrets, credentials}

// TestFaults breaks something else in each namespace, all at the same time: what is broken for one must not be felt by another.
func TestFaults(t *testing.T) {
	startOperator(t, cluster.operator)
	t.Run("all", func(t *testing.T) {
		order := 0
		for _, table := range tables {
			for _, s := range table {
				order++
				at := order
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.run(t, at)
				})
			}
		}
	})
}
