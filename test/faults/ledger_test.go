//go:build integration

package faults

import (
	"slices"
	"sync"
	"time"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// fault is what is wrong with a token that stands in a Secret.
type fault int

const (
	fine fault = iota
	unverified
	wrongAudience
)

// ledger has every token that a scenario's issuer has signed: its jti, exp, aud, for whom and when.
type ledger struct {
	// url is the issuer, minted what it has signed and clock its time.
	url    string
	minted func() []keycloaktest.Minted
	clock  func() time.Time

	mu sync.Mutex
	// refused says, while it is set, which tokens must not be published now although they were signed.
	refused func(keycloaktest.Minted) bool
	// passed over are tokens that were rightly kept out.
	passed map[string]bool
}

// refuse says which tokens are not to be published from now on; with nil, none.
func (l *ledger) refuse(which func(keycloaktest.Minted) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.passed == nil {
		l.passed = map[string]bool{}
	}
	for _, m := range l.minted() {
		if l.refused != nil && l.refused(m) {
			l.passed[m.Token] = true
		}
	}
	l.refused = which
}

func (l *ledger) entry(token string) (keycloaktest.Minted, bool) {
	all := l.minted()
	i := slices.IndexFunc(all, func(m keycloaktest.Minted) bool { return m.Token == token })
	if i < 0 {
		return keycloaktest.Minted{}, false
	}
	return all[i], true
}

// judge says what is wrong with a token that was just seen in a Secret.
func (l *ledger) judge(token string) fault {
	m, signed := l.entry(token)
	if !signed {
		return unverified
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused != nil && l.refused(m) {
		return unverified
	}
	return l.sound(m)
}

// sound says whether the claims are those that were asked for.
func (l *ledger) sound(m keycloaktest.Minted) fault {
	exp, expires := m.Claims["exp"].(int64)
	switch {
	case m.Claims["iss"] != l.url, m.Claims["azp"] != m.ClientID, !expires, exp <= m.At.Unix():
		return unverified
	case m.Claims["aud"] != audience:
		return wrongAudience
	}
	return fine
}

// expired says so by the issuer's clock, which those go by who check the token. A token that nobody has signed has no end.
func (l *ledger) expired(token string) bool {
	m, _ := l.entry(token)
	exp, ok := m.Claims["exp"].(int64)
	return ok && !l.clock().Before(time.Unix(exp, 0))
}

// unpublished counts the good tokens that were minted to be published and never were.
func (l *ledger) unpublished(published []publication) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, m := range l.minted() {
		seen := slices.ContainsFunc(published, func(p publication) bool { return p.token == m.Token })
		if m.GrantType == keycloak.GrantTypeTokenExchange && l.sound(m) == fine && !l.passed[m.Token] && !seen {
			n++
		}
	}
	return n
}
