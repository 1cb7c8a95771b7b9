package keycloak

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// meaning is what this package makes of the recorded answers: Reason and the recordings (patterns of path.Match)
// in all folders of testdata.
var meaning = []struct{ reason, recordings string }{
	{"", // a token
		`a4-* b1-* b1b-* b2-* b4-* c1-* c5-* c6-* c10-* c13-* d2-* d3-* e2-rtt-access_token g28b-* h06-* l20b-* l21-*`},
	{ReasonTokenMalformed, // a DPoP-bound token
		`l10-dpop-cc l12-dpop-x-proof`},
	{ReasonIssuerInvalid, `g09-unknown-realm g20-get-token-endpoint g26-realm-disabled-cc g26b-realm-disabled-x`},
	{
		ReasonClientRejected,
		`g01-wrong-secret-basic g02-wrong-secret-post g03-unknown-client g04-disabled-client g04b-disabled-client-wrong
		 g05-no-client-auth g05b-confidential-no-secret g24-bad-basic
		 h0[3-5]* h0[7-9]* h10-* h11* h1[2-9]* h44b-* h45-* h47b-* h51* h52* l11-* l14-* l15-* l16-*`,
	},
	{ReasonServiceAccountDisabled, `g06c-public-cc g07-no-service-account g19-sa-user-disabled-cc`},
	{ReasonGrantTypeUnsupported, `g08-unknown-grant`},
	{ReasonRequestRefused, `g08b-missing-grant g21-json-body g22-double-param`},
	{ReasonScopeInvalid, `g10-invalid-scope c11-exchange-scope-invalid`},
	{ReasonExchangeNotEnabled, `a1-* a2-* a3-* d4-plain-not-enabled g06-public-exchange g06b-public-exchange-attr`},
	{ReasonAudienceNotAvailable, `c3-* c4-* c6b-* c6c-* c7-* c8-* c12-* g13-disabled-aud g13b-disabled-aud l22-lightweight`},
	{ReasonNotInSubjectAudience, `d1-user-no-aud`},
	{ReasonSubjectTokenInvalid, `g11-* g11b-* g12c-* g12d-* g14-* g14b-* g15-* g15b-* g16-* g17-* g18-* g19b-* g27-* g28-* i22-*`},
}

// outOfScope says why a recording has no meaning here (yet), or nothing.
func outOfScope(r recording) string {
	form := r.form
	switch grant := form.Get("grant_type"); {
	case !strings.HasSuffix(r.request.URL.Path, "/token"):
		return "not the token endpoint: see TestDiscover and TestVerify"
	case slices.Contains([]string{"password", GrantTypeRefreshToken, GrantTypeJWTBearer}, grant):
		return "a grant that this package does not have: " + grant
	case form.Has("requested_subject"):
		return "impersonation, which this package does not have"
	case form.Has("requested_issuer"), form.Has("subject_issuer"):
		return "parameters of external exchange, never sent"
	case form.Has("requested_token_type") && form.Get("requested_token_type") != tokenTypeAccessToken:
		return "another requested_token_type, never sent"
	case grant == GrantTypeTokenExchange && form.Get("subject_token_type") != tokenTypeAccessToken:
		return "another subject_token_type, or none, never sent"
	case grant == GrantTypeTokenExchange && !form.Has("subject_token"):
		return "no subject_token, always sent"
	}
	return ""
}

// recording is one request to a real Keycloak and its answer.
type recording struct {
	file     string // <version>/<name>
	request  *http.Request
	form     url.Values
	response *http.Response
	body     []byte
}

func loadRecordings(t testing.TB) []recording {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.http")
	if err != nil || len(files) < 250 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	recordings := make([]recording, len(files))
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := recording{file: strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/"), ".http")}
		if bytes.HasPrefix(raw, []byte("# ")) {
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
		request, response, ok := bytes.Cut(raw, []byte("\nHTTP/1.1 "))
		if !ok {
			t.Fatalf("%s has no answer", file)
		}
		r.request, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		sent, _ := io.ReadAll(r.request.Body)
		r.form, _ = url.ParseQuery(strings.TrimSpace(string(sent)))
		head, body, _ := bytes.Cut(response, []byte("\n\n"))
		r.response, err = http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 "+string(head)+"\n\n")), nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		r.body = bytes.TrimSpace(body)
		recordings[i] = r
	}
	return recordings
}

// replay asks a server that gives the recorded answer, in the recorded words, through the one wire path.
func (r recording) replay(t *testing.T) (Token, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		if err := got.ParseForm(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"audience", "scope", "subject_token"} {
			if !slices.Equal(got.PostForm[name], r.form[name]) {
				t.Errorf("sent %s %q, recorded %q", name, got.PostForm[name], r.form[name])
			}
		}
		for name, values := range r.response.Header {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(r.response.StatusCode)
		_, _ = w.Write(r.body)
	}))
	defer server.Close()

	id, secret, basic := r.request.BasicAuth()
	auth := SecretBasic(sensitive.New(secret))
	if !basic {
		id, auth = r.form.Get("client_id"), SecretPost(sensitive.New("none-was-recorded"))
	}
	a := asked{op: opClientCredentials, clientID: id, audience: r.form["audience"], scopes: strings.Fields(r.form.Get("scope"))}
	if r.form.Get("grant_type") == GrantTypeTokenExchange {
		a.op = opTokenExchange
	}
	params := url.Values{}
	for name, values := range r.form {
		if !slices.Contains([]string{"scope", "client_id", "client_secret"}, name) {
			params[name] = values
		}
	}
	c := Client{Provider: &Provider{TokenEndpoint: server.URL}, ID: id, Auth: auth, HTTP: server.Client()}
	return c.post(t.Context(), a, params)
}

func TestRecordedAnswersHaveTheirMeaning(t *testing.T) {
	used := map[string]bool{}
	expected := func(name string) []string {
		var reasons []string
		for _, m := range meaning {
			for pattern := range strings.FieldsSeq(m.recordings) {
				if ok, err := path.Match(pattern, name); err != nil {
					t.Fatal(err)
				} else if ok {
					used[pattern] = true
					reasons = append(reasons, m.reason)
				}
			}
		}
		return reasons
	}
	left := map[string]int{}
	for _, r := range loadRecordings(t) {
		if why := outOfScope(r); why != "" {
			left[why]++
			continue
		}
		t.Run(r.file, func(t *testing.T) {
			reasons := expected(path.Base(r.file))
			if len(reasons) != 1 {
				t.Fatalf("has %d entries in meaning %q, want 1", len(reasons), reasons)
			}
			token, err := r.replay(t)
			var e *Error
			switch {
			case reasons[0] == "" && err != nil:
				t.Errorf("%v, want a token", err)
			case reasons[0] == "":
				if token.AccessToken.IsZero() || token.ExpiresIn == nil || *token.ExpiresIn < 15 || len(token.Scopes) == 0 {
					t.Errorf("token %+v lacks what the answer said", token)
				}
			case !errors.As(err, &e):
				t.Errorf("%v (%T), want an *Error", err, err)
			case e.Reason != reasons[0] || e.Class != Refused:
				t.Errorf("Reason %s, class %d, want %s, Refused: %v", e.Reason, e.Class, reasons[0], err)
			case e.Hint == "" || strings.Contains(e.Hint, "{"):
				t.Errorf("hint %q", e.Hint)
			}
		})
	}
	for _, m := range meaning {
		for pattern := range strings.FieldsSeq(m.recordings) {
			if !used[pattern] {
				t.Errorf("no recording matches %s", pattern)
			}
		}
	}
	for why, n := range left {
		t.Logf("%3d recordings out of scope: %s", n, why)
	}
}

// unrecorded are answers that Keycloak was not seen to give: of other servers, of proxies, or rare.
var unrecorded = []struct {
	op, code, description string
	status                int
	reason                string
	class                 Class
}{
	{opClientCredentials, "", "", 429, ReasonThrottled, Retry},
	{opClientCredentials, "", "", 408, ReasonIssuerUnreachable, Retry},
	{opVerify, "", "", 404, ReasonIssuerUnreachable, Retry},
	{opTokenExchange, "invalid_target", "", 400, ReasonAudienceNotAvailable, Refused},
	{opTokenExchange, "access_denied", "no", 403, ReasonExchangeNotEnabled, Refused},
	{opTokenExchange, "invalid_grant", "", 400, ReasonSubjectTokenInvalid, Refused},
	{opTokenExchange, "invalid_token", "", 401, ReasonSubjectTokenInvalid, Refused},
	{opTokenExchange, "unsupported_grant_type", "", 400, ReasonGrantTypeUnsupported, Refused},
	{opClientCredentials, "temporarily_unavailable", "", 400, ReasonIssuerUnreachable, Retry},
	{opClientCredentials, "server_error", "", 400, ReasonIssuerUnreachable, Retry},
	{opDiscovery, "", "", 404, ReasonIssuerInvalid, Refused},
	{opClientCredentials, "", "", 401, ReasonIssuerInvalid, Refused},
	{opClientCredentials, "no_such_code", "", 400, ReasonIssuerInvalid, Refused},
	{opClientCredentials, "invalid_grant", "", 400, ReasonRequestRefused, Refused},
	{opClientCredentials, "unknown_error", "", 500, ReasonIssuerUnreachable, Retry},
	{opClientCredentials, "", "", 302, ReasonIssuerInvalid, Refused},
}

func TestUnrecordedAnswersHaveTheirMeaning(t *testing.T) {
	for _, u := range unrecorded {
		e := classify(asked{op: u.op}, answer{status: u.status, code: u.code, description: u.description}, cleaner{})
		if e.Reason != u.reason || e.Class != u.class || e.Hint == "" {
			t.Errorf("%+v: %s, class %d, hint %q", u, e.Reason, e.Class, e.Hint)
		}
	}
}

func TestEveryRuleHasACase(t *testing.T) {
	seen := make([]bool, len(rules))
	see := func(op string, status int, code, description string) {
		if !slices.Contains(codes, code) {
			code = ""
		}
		seen[ruleFor(op, status, code, description)] = true
	}
	for _, r := range loadRecordings(t) {
		if outOfScope(r) != "" {
			continue
		}
		op := opClientCredentials
		if r.form.Get("grant_type") == GrantTypeTokenExchange {
			op = opTokenExchange
		}
		a := answerOf(r.response, r.body)
		see(op, a.status, a.code, a.description)
	}
	for _, u := range unrecorded {
		see(u.op, u.status, u.code, u.description)
	}
	for i, rule := range rules {
		if !seen[i] {
			t.Errorf("nothing tests the rule %+v", rule)
		}
	}
}
