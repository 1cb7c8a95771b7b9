package issuer

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

const (
	// minLeft is the life a subject token must have left when it is sent, for clocks that differ and for
	// exchanges that wait for their turn.
	minLeft = 10 * time.Second
	// maxLife is the longest life believed: a revoked token must not be held for days.
	maxLife = time.Hour
	// maxHeld bounds the tokens that an issuer's connection keeps, in bytes: a tenant decides how many there are. One that was
	// dropped is asked for again.
	maxHeld = 8 << 20
)

// key names a token by everything it depends on. The separator cannot be part of a scope or a Secret's
// version (RFC 6749 §A.4).
func (r SubjectRequest) key() string {
	scopes := slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
	return strings.Join(append([]string{r.ClientID, r.CredentialVersion}, scopes...), "\x00")
}

// subjects holds the subject tokens that can still be used.
type subjects struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	held map[string]subject
	size int // of all keys and tokens, in bytes
}

type subject struct {
	token keycloak.Token
	until time.Time
}

func (s *subjects) get(key string) (keycloak.Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.held[key]
	return held.token, ok && s.clock.Now().Before(held.until)
}

// put keeps a token that was asked for at a time, if it is worth it, and throws out those that are used up.
func (s *subjects) put(key string, token keycloak.Token, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if until := usableUntil(asked, token.ExpiresIn); until.After(s.clock.Now()) {
		if s.held == nil {
			s.held = map[string]subject{}
		}
		s.remove(key)
		added := subject{token, until}
		for len(s.held) > 0 && s.size+added.size(key) > maxHeld {
			s.remove(s.next())
		}
		s.held[key] = added
		s.size += added.size(key)
	}
}

func (h subject) size(key string) int { return len(key) + len(h.token.AccessToken.Reveal()) }

// remove forgets a token, if there is one.
func (s *subjects) remove(key string) {
	if held, ok := s.held[key]; ok {
		delete(s.held, key)
		s.size -= held.size(key)
	}
}

// next names the token that ends first.
func (s *subjects) next() (first string) {
	for key, held := range s.held {
		if first == "" || held.until.Before(s.held[first].until) {
			first = key
		}
	}
	return first
}

// usableUntil leaves half of the life and at least minLeft for whoever gets the token last. A life that the
// server did not state is none.
func usableUntil(asked time.Time, expiresIn *int64) time.Time {
	if expiresIn == nil || *expiresIn <= 0 {
		return time.Time{}
	}
	life := time.Duration(min(*expiresIn, int64(maxLife/time.Second))) * time.Second
	return asked.Add(life - max(life/2, minLeft))
}

func (s *subjects) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
}

// dropToken leaves a newer token alone: of many callers that were refused with one, the first drops it.
func (s *subjects) dropToken(key string, token sensitive.String) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key].token.AccessToken.Equal(token) {
		s.remove(key)
	}
}

func (s *subjects) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	return len(s.held)
}

func (s *subjects) sweep() {
	now := s.clock.Now()
	for key, held := range s.held {
		if !now.Before(held.until) {
			s.remove(key)
		}
	}
}
