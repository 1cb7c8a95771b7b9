package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func TestMessagesNameTheCure(t *testing.T) {
	x := asked{op: opTokenExchange, clientID: "notes-sync", audience: []string{"nextcloud"}, scopes: []string{"a", "b"}}
	cc := asked{op: opClientCredentials, clientID: "notes-sync", scopes: []string{"a", "b"}}
	for _, c := range []struct {
		a                 asked
		status            int
		code, description string
		want              string
	}{
		{x, 400, "invalid_request", "Standard token exchange is not enabled for the requested client", `token_exchange: invalid_request (Standard token exchange is not enabled for the requested client), HTTP 400: set the attribute standard.token.exchange.enabled=true on client "notes-sync"`},
		{x, 400, "invalid_request", "Requested audience not available: nextcloud", `token_exchange: invalid_request (Requested audience not available: nextcloud), HTTP 400: add an "Audience" mapper for "nextcloud" to a client scope of client "notes-sync"; where that scope is optional, name it in spec.exchange.scopes; switch off "Always use lightweight access token" on "notes-sync"`},
		{x, 400, "invalid_client", "Audience not found", `token_exchange: invalid_client (Audience not found), HTTP 400: the realm has no client "nextcloud": create it, or correct spec.exchange.audiences`},
		{x, 400, "invalid_client", "Client disabled", `token_exchange: invalid_client (Client disabled), HTTP 400: client "nextcloud" is disabled: enable it`},
		{x, 403, "access_denied", "Client is not within the token audience", `token_exchange: access_denied (Client is not within the token audience), HTTP 403: the subject token must have "notes-sync" in its aud: add an "Audience" mapper for "notes-sync" to a client scope of the client that mints it`},
		{cc, 401, "invalid_client", "Invalid client or Invalid client credentials", `client_credentials: invalid_client (Invalid client or Invalid client credentials), HTTP 401: client "notes-sync" does not exist in the realm, is disabled, or does not authenticate in this way`},
		{cc, 401, "unauthorized_client", "Invalid client or Invalid client credentials", `client_credentials: unauthorized_client (Invalid client or Invalid client credentials), HTTP 401: the client secret of "notes-sync" is wrong: copy it from its Credentials page, without a newline at its end`},
		{cc, 401, "unauthorized_client", "Client not enabled to retrieve service account", `client_credentials: unauthorized_client (Client not enabled to retrieve service account), HTTP 401: switch on "Service accounts roles" on client "notes-sync"`},
		{cc, 400, "invalid_scope", "Invalid scopes: a b", `client_credentials: invalid_scope (Invalid scopes: a b), HTTP 400: client "notes-sync" cannot ask for "a", "b": add the scope to its client scopes as optional, or correct the scopes of the grant`},
		{cc, 404, "Realm does not exist", "", `client_credentials: Realm does not exist, HTTP 404: create the realm, or correct the issuer URL`},
		{cc, 401, "nonsense", "", `client_credentials: HTTP 401: this is no answer of a token endpoint: correct the issuer URL, and look at the proxies on the way`},
	} {
		got := classify(c.a, answer{status: c.status, code: c.code, description: c.description}, cleaner{}).Error()
		if got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	const (
		secret  = "canary-5ecret+/=&"
		subject = "canary-subject-token"
		jwt     = "eyJhbGciOiJSUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJl"
	)
	echo := func(words string) string {
		b, err := json.Marshal(map[string]string{"error": "invalid_request", "error_description": words, "detail": "canary-body"})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	basic := &http.Request{Header: http.Header{}}
	basic.SetBasicAuth(url.QueryEscape("x"), url.QueryEscape(secret))
	header := basic.Header.Get("Authorization")
	for _, status := range []int{200, 302, 400, 401, 403, 404, 429, 500, 503} {
		for _, body := range []string{
			"canary-body", "<html>canary-body", echo("bad secret " + secret), echo("bad secret " + url.QueryEscape(secret)),
			echo("bad header " + header), echo("bad token " + subject), echo("bad token " + jwt), echo("token " + strings.Repeat("canary", 20)),
			`{"error":"canary-body","error_description":"` + jwt + `"}`, `{"access_token":"canary-body"`,
			`{"access_token":"` + jwt + `","token_type":"` + jwt + `"}`,
			`{"access_token":"` + jwt + `","token_type":"Bearer","issued_token_type":"` + jwt + `"}`,
		} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://x.example/"+url.QueryEscape(secret))
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}))
			for _, auth := range []ClientAuth{
				SecretBasic(sensitive.New(secret)), SecretPost(sensitive.New(secret)),
				Assertion(func(context.Context) (sensitive.String, error) { return sensitive.New(secret), nil }),
			} {
				c := Client{
					Provider: &Provider{TokenEndpoint: server.URL, RevocationEndpoint: server.URL, EndSessionEndpoint: server.URL},
					ID:       "x", Auth: auth, HTTP: server.Client(),
				}
				used := sensitive.New(subject)
				_, exchange := c.Exchange(t.Context(), used, ExchangeRequest{Audience: []string{"nextcloud"}})
				if exchange == nil {
					t.Errorf("status %d, body %s: no error", status, body)
				}
				_, refresh := c.Refresh(t.Context(), used, nil)
				_, bearer := c.JWTBearer(t.Context(), used, nil)
				// What is revoked or logged out may be gone already, so some of these are no errors.
				text := fmt.Sprint(exchange, refresh, bearer, c.Revoke(t.Context(), used, ""), c.Logout(t.Context(), used))
				for _, s := range []string{"canary", secret, url.QueryEscape(secret), strings.TrimPrefix(header, "Basic "), subject, "eyJ"} {
					if strings.Contains(text, s) {
						t.Errorf("status %d, body %s: error shows %q: %s", status, body, s, text)
					}
				}
			}
			server.Close()
		}
	}
}

func TestServersWordsAreMadeFit(t *testing.T) {
	for in, want := range map[string]string{
		"  two\r\n lines\x00\x1b[31m ":               "two lines [31m",
		"Invalid scopes: a b":                        "Invalid scopes: a b",
		"token eyJhbGciOiJSUzI1NiJ9.e30.x is bad":    "token [redacted] is bad",
		strings.Repeat("ä ", 300):                    strings.Repeat("ä ", 99) + "ä…",
		"broken \xff utf-8":                          "broken utf-8",
		"id 24ca8ee4-0f4c-4b8f-9a43-1f2e3d4c5b6a ok": "id 24ca8ee4-0f4c-4b8f-9a43-1f2e3d4c5b6a ok",
	} {
		if got := (cleaner{}).text(in); got != want {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}

// Every Reason constant is in Reasons, so that the catalogue of the API can be checked against it.
func TestReasonsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			declared = append(declared, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
		}
		return true
	})
	listed := Reasons()
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) || len(slices.Compact(listed)) != len(declared) {
		t.Errorf("declared %q\n  listed %q", declared, listed)
	}
}
