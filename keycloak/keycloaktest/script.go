package keycloaktest

import (
	"net/http"
	"time"
)

// Answer is a scripted answer. Its zero value is the answer the server would give anyway.
type Answer struct {
	// Status, when set, is answered with Header and Body instead of the server's own answer.
	Status int
	Header http.Header
	Body   string
	// Delay passes before anything is answered.
	Delay time.Duration
	// Hang answers never: until the client gives up, or Close.
	Hang bool
	// Drop closes the connection without an answer. For a GET on a kept connection add Forever: net/http sends it again.
	Drop bool
	// Cut closes the connection in the middle of Body.
	Cut bool
	// Lost does what was asked of the token endpoint, and closes the connection in place of the answer.
	Lost bool
	// Claims, when set, changes the claims of the token before it is signed.
	Claims func(claims map[string]any)
	// Fields, when set, changes the fields of a successful token answer.
	Fields func(fields map[string]any)
	// Forever gives this answer to all further requests, not to one.
	Forever bool
}

// Script replaces what the token endpoint answers next, in order. When all is used up, and after Script() without
// answers, the server answers by itself again.
func (s *Server) Script(answers ...Answer) { s.script(tokenPath, answers) }

// ScriptDiscovery is Script for the discovery document.
func (s *Server) ScriptDiscovery(answers ...Answer) { s.script(discoveryPath, answers) }

// ScriptKeys is Script for the signing keys.
func (s *Server) ScriptKeys(answers ...Answer) { s.script(keysPath, answers) }

func (s *Server) script(path string, answers []Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[path] = answers
}

// next counts a request and takes its scripted answer.
func (s *Server) next(path string) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[path]++
	if s.down {
		return Answer{Drop: true}
	}
	queue := s.scripts[path]
	if len(queue) == 0 {
		return Answer{}
	}
	if !queue[0].Forever {
		s.scripts[path] = queue[1:]
	}
	return queue[0]
}

// scripted plays the scripted answer, or hands on to the server's own.
func (s *Server) scripted(path string, own func(http.ResponseWriter, *http.Request, Answer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := s.next(path)
		var delay <-chan time.Time
		if a.Delay > 0 {
			timer := time.NewTimer(a.Delay)
			defer timer.Stop()
			delay = timer.C
		}
		if a.Delay > 0 || a.Hang {
			select {
			case <-delay:
			case <-r.Context().Done():
				return
			case <-s.done:
				a.Drop = true
			}
		}
		switch {
		case a.Drop:
			panic(http.ErrAbortHandler)
		case a.Status != 0:
			a.write(w)
		default:
			own(w, r, a)
		}
	}
}

func (a Answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	for name, values := range a.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	body := a.Body
	if a.Cut {
		body = body[:len(body)/2]
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(body))
	if a.Cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
