package main

import (
	"runtime/debug"
	"time"
)

const (
	// garbage is how much of it may lie about, in percent of what is in use. Most of the memory is caches, which live long: Go's
	// own 100 would keep as much again, to save a few percent of CPU.
	garbage = 50
	// startFor is how long filling the caches and looking at every grant takes with some ten thousand of them.
	startFor = 20 * time.Second
)

// thrifty collects garbage more often than Go does by itself, and gives back what the start has left, which Go would do
// after minutes. GOGC in the environment is for who knows better.
func thrifty() (stop func() bool) {
	debug.SetGCPercent(garbage)
	return time.AfterFunc(startFor, debug.FreeOSMemory).Stop
}
