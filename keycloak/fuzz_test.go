package keycloak

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// roundTrip answers without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answering(status int, contentType, body string) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	})}
}

// FuzzTokenAnswer: whatever a token endpoint answers, it is a usable bearer token or an *Error that is fit to be shown.
func FuzzTokenAnswer(f *testing.F) {
	for _, r := range loadRecordings(f) {
		if outOfScope(r) == "" {
			f.Add(r.response.StatusCode, "application/json", string(r.body))
		}
	}
	f.Add(200, "text/plain", "access_token=a&token_type=Bearer&expires_in=x")
	f.Add(200, "", `{"access_token":"a","token_type":"Bearer","expires_in":1e400,"scope":7}`)
	f.Add(200, "", `{"access_token":"a","token_type":"client-secret-4711"}`)
	f.Add(200, "", `{"access_token":"a","token_type":"Bearer","issued_token_type":"subject-token-4711"}`)
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 200 || status > 599 {
			return
		}
		c := Client{
			Provider: &Provider{TokenEndpoint: "https://issuer.example/token"}, ID: "x",
			Auth: SecretBasic(sensitive.New("client-secret-4711")), HTTP: answering(status, contentType, body),
		}
		token, err := c.Exchange(t.Context(), sensitive.New("subject-token-4711"), ExchangeRequest{Audience: []string{"a"}})
		if err == nil {
			if token.AccessToken.IsZero() || !strings.EqualFold(token.TokenType, "bearer") {
				t.Errorf("accepted as a token: %+v", token)
			}
			return
		}
		checkFuzzed(t, err, opTokenExchange)
	})
}

// FuzzVerify: whatever claims to be a token of the issuer, it is refused with an *Error that is fit to be shown. The
// keys are those of the recording, so that the recorded tokens are accepted and nothing derived from them is.
func FuzzVerify(f *testing.F) {
	const version = "26.7.3"
	var keys string
	genuine := map[string]bool{} // without the signature, of which a seed may have another one
	signed := func(token string) string { return token[:max(strings.LastIndex(token, "."), 0)] }
	for _, r := range loadRecordings(f) {
		if r.file == version+"/g26e-realm-disabled-certs" {
			keys = string(r.body)
		}
		if t := r.form.Get("subject_token"); t != "" {
			genuine[signed(t)] = true
			f.Add(t)
		}
	}
	for _, s := range []string{"", "..", "....", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"} {
		f.Add(s)
	}
	v := NewVerifier(&Provider{Issuer: "http://127.0.0.1:8180/realms/lab", JWKSURI: "https://issuer.example/keys"}, answering(200, "application/json", keys))
	f.Fuzz(func(t *testing.T, token string) {
		_, err := v.Verify(t.Context(), sensitive.New(token), Expect{Now: time.Unix(1795425700, 0)})
		if err == nil {
			if !genuine[signed(token)] {
				t.Errorf("accepted %q", token)
			}
			return
		}
		checkFuzzed(t, err, opVerify)
		if _, err := parseClaims([]byte(token)); err != nil {
			checkFuzzed(t, err, opVerify)
		}
	})
}

func checkFuzzed(t *testing.T, err error, op string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	text := e.Error()
	if e.Reason == "" || e.Op != op || len([]rune(text)) > 800 || strings.ContainsAny(text, "\n\r\x00") ||
		strings.Contains(text, "client-secret-4711") || strings.Contains(text, "subject-token-4711") {
		t.Errorf("%+v is not fit to be shown: %q", e, text)
	}
}
