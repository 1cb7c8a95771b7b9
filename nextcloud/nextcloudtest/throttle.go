package nextcloudtest

import (
	"net"
	"net/http"
	"time"
)

const (
	// failuresToThrottle wrong passwords of one address are answered 401, everything after them 429, the right password too.
	failuresToThrottle = 11
	// failureAge is how long a failure counts.
	failureAge = 30 * time.Minute
	// firstDelay doubles with every failure up to longestDelay. capabilities shows the delay; the stand-in does not take it.
	firstDelay, longestDelay = 200 * time.Millisecond, 25 * time.Second
)

func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recent counts the failures of an address that still count. The mutex is held.
func (s *state) recent(address string) int {
	n := 0
	for _, at := range s.failures[address] {
		if s.clock.Since(at) < failureAge {
			n++
		}
	}
	return n
}

func (s *state) throttled(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent(address) >= failuresToThrottle
}

func (s *state) failed(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[address] = append(s.failures[address], s.clock.Now())
}

func (s *state) succeeded(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, address)
}

// delay is what capabilities.bruteforce tells.
func (s *state) delay(address string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	delay := time.Duration(0)
	for range s.recent(address) {
		delay = min(max(2*delay, firstDelay), longestDelay)
	}
	return delay
}

// ResetThrottle is occ security:bruteforce:reset, for every address.
func (s *Server) ResetThrottle() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.failures)
}
