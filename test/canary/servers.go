package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// longest is how much of a body is searched.
const longest = 1 << 20

// request is what reached a server.
type request struct{ host, path, text string }

// Serves keeps what reaches a server, and each token that it gives out, which is the server's own from then on. Found
// reports a secret value that reached a server to which it does not belong (see owners).
func (w *Watch) Serves(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, longest))
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		text := sent(r, body)
		w.mu.Lock()
		w.requests = append(w.requests, request{r.Host, r.Method + " " + r.URL.Path, text})
		w.mu.Unlock()
		if err != nil { // The client has left.
			return
		}
		a := &answer{ResponseWriter: rw}
		next.ServeHTTP(a, r)
		for _, token := range tokensIn(a.body.Bytes()) {
			if !strings.Contains(text, token) { // A server that gives back what it was sent does not own it.
				w.plant("a token of "+r.Host, token, source{host: r.Host})
			}
		}
	})
}

// sent gives a request as a text, with the credentials of basic authentication in the clear.
func sent(r *http.Request, body []byte) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", r.URL.RequestURI())
	for name, values := range r.Header {
		fmt.Fprintf(&text, "%s: %s\n", name, strings.Join(values, "\n"))
	}
	if user, password, ok := r.BasicAuth(); ok {
		fmt.Fprintf(&text, "%s\n%s\n", user, password)
	}
	text.Write(body)
	return text.String()
}

// tokensIn gives the tokens in the answer of a token endpoint (RFC 6749 §5.1) or of Nextcloud's OCS.
func tokensIn(answer []byte) []string {
	var document struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		IDToken      string `json:"id_token"`
		OCS          struct {
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if json.Unmarshal(answer, &document) != nil {
		return nil
	}
	var data struct {
		AppPassword string `json:"apppassword"`
	}
	_ = json.Unmarshal(document.OCS.Data, &data) // Most answers have other data.
	var tokens []string
	for _, token := range []string{document.AccessToken, document.RefreshToken, document.IDToken, data.AppPassword} {
		if len(token) >= shortest {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// answer keeps the body that a handler writes.
type answer struct {
	http.ResponseWriter

	body bytes.Buffer
}

func (a *answer) Write(p []byte) (int, error) {
	if a.body.Len() < longest {
		a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
