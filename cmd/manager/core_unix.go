//go:build unix

package main

import "golang.org/x/sys/unix"

// withoutCore keeps core dumps from holding the memory, and so tokens. 1 byte is less than any dump has, and other than 0 it
// also keeps Linux from handing the dump to a program. A limit that is 0 already cannot be raised, and need not be.
func withoutCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) }
