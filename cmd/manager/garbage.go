package main

import (
	"runtime/debug"
	"time"
)

// How much garbage may lie about, in percent of what is in use. Most of the memory is caches, which live long: Go's own 100
// would keep as much again, to save a few percent of CPU.
const (
	garbage = 50
	// garbageAtStart is less: filling the caches and looking at every grant leaves several times what stays.
	garbageAtStart = 25
	// startFor is how long that takes with some ten thousand grants.
	startFor = 20 * time.Second
)

// thrifty collects garbage more often than Go does by itself, and gives back what the start has left, which Go would do
// after minutes. GOGC in the environment is for who knows better.
func thrifty() (stop func() bool) {
	debug.SetGCPercent(garbageAtStart)
	return time.AfterFunc(startFor, func() {
		debug.SetGCPercent(garbage)
		debug.FreeOSMemory()
	}).Stop
}
