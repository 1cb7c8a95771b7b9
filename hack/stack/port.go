package stack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range Linux uses for outgoing connections
// (32768 and up). From within it, a port could be given to some client between
// the choice and the server's bind, which is 10 s later for Keycloak, or while
// the server is stopped; and a client that dials a stopped server could even
// connect to itself.
const (
	firstPort = 20000
	lastPort  = 32000
)

var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// freePort returns a TCP port of 127.0.0.1 nobody listens on and which this
// program has not been given before.
func freePort(ctx context.Context) (int, error) {
	ports.Lock()
	defer ports.Unlock()
	var (
		listening net.ListenConfig
		last      error
	)
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.given[port] {
			continue
		}
		listener, err := listening.Listen(ctx, "tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		ports.given[port] = true
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", firstPort, lastPort, last)
}

func loopback(port int) string {
	return fmt.Sprintf("127.0.0.1:%d", port)
}
