package issuer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// TestSubjectTokensAreBounded: a tenant who names other scopes in each grant fills the memory of nobody.
func TestSubjectTokensAreBounded(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	s := &subjects{clock: clock}
	const large = 64 << 10
	keep := func(i int) {
		token := keycloak.Token{AccessToken: sensitive.New(strings.Repeat("x", large)), ExpiresIn: new(int64(600))}
		s.put(fmt.Sprint("key ", i), token, clock.Now())
	}
	for i := range 3 * maxHeld / large {
		clock.Step(time.Millisecond)
		keep(i)
	}
	if s.size > maxHeld || s.size < maxHeld/2 {
		t.Errorf("%d bytes are kept, want at most %d, and not much less", s.size, maxHeld)
	}
	if _, ok := s.get("key 0"); ok {
		t.Error("the token that ends first is kept")
	}
	if _, ok := s.get(fmt.Sprint("key ", 3*maxHeld/large-1)); !ok {
		t.Error("the newest token is dropped")
	}
	keep(3*maxHeld/large - 1)
	clock.Step(time.Hour)
	if n := s.count(); n != 0 || s.size != 0 {
		t.Errorf("%d tokens of %d bytes are left when all have ended", n, s.size)
	}
}
