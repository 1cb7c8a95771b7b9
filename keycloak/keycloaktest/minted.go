package keycloaktest

import (
	"maps"
	"slices"
)

// Minted is an access token that the token endpoint has signed, whatever became of the answer.
type Minted struct {
	Request

	// Token and Claims are what was signed, with the changes of a script. What Answer.Fields puts in the token's place is not
	// told: nobody has signed it.
	Token  string
	Claims map[string]any
	KeyID  string
}

// Minted returns all tokens that were signed for requests, oldest first.
func (s *Server) Minted() []Minted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.minted)
}

func (s *Server) enter(req Request, token string, claims map[string]any) {
	entry := Minted{Request: req, Token: token, Claims: maps.Clone(claims), KeyID: s.KeyID()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.minted = append(s.minted, entry)
}
