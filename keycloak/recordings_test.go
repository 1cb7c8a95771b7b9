package keycloak

import (
	"bufio"
	"bytes"
	"context"
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

// meaning is what this package makes of the recorded answers: Reason and the recordings (patterns of path.Match,
// in all folders of testdata, or in one where the pattern begins with its name).
var meaning = []struct{ reason, recordings string }{
	{
		"", // a token
		`a4-* b1-* b1b-* b2-* b2b-* b4-* c1-* c5-* c6-* c10-* c13-* d2-* d3-* e2-rtt-access_token g28b-* h06-* l20b-* l21-*
		 26.7.3/h03-* h42-* h52-* h55-* i08-* i12-* i14-* j02-* j05-* j09-* j22-* v1-04-* v1-08-* f2-01-*`,
	},
	{done, `j34-* j35-* j16b-*`},
	{ReasonTokenMalformed, // a DPoP-bound token
		`l10-dpop-cc l12-dpop-x-proof`},
	{ReasonIssuerInvalid, `g09-unknown-realm g20-get-token-endpoint g26-realm-disabled-cc g26b-realm-disabled-x`},
	{
		ReasonClientRejected,
		`g01-wrong-secret-basic g02-wrong-secret-post g03-unknown-client g04-disabled-client g04b-disabled-client-wrong
		 g05-no-client-auth g05b-confidential-no-secret g24-bad-basic
		 26.4.2/h03-* h04-* h05* h0[7-9]* h10-* h11* h1[2-9]* h44b-* h45-* h47b-* h51* h52[b-j]-* l11-* l14-* l15-* l16-*`,
	},
	{ReasonServiceAccountDisabled, `g06c-public-cc g07-no-service-account g19-sa-user-disabled-cc`},
	{ReasonGrantTypeUnsupported, `g08-unknown-grant i02-* i04-* i20-*`},
	{ReasonRequestRefused, `g08b-missing-grant g21-json-body g22-double-param`},
	{ReasonScopeInvalid, `g10-invalid-scope c11-exchange-scope-invalid`},
	{ReasonExchangeNotEnabled, `a1-* a2-* a3-* d4-plain-not-enabled g06-public-exchange g06b-public-exchange-attr`},
	{ReasonAudienceNotAvailable, `c3-* c4-* c6b-* c6c-* c7-* c8-* c12-* g13-disabled-aud g13b-disabled-aud l22-lightweight`},
	{ReasonNotInSubjectAudience, `d1-user-no-aud`},
	{ReasonSubjectTokenInvalid, `g11-* g11b-* g12c-* g12d-* g14-* g14b-* g15-* g15b-* g16-* g17-* g18-* g19b-* g27-* g28-* i22-*
		 i05-* i06-* i09-* i10-* i13-* i18-* i19-* i21-* j10-* j16-*`},
	{ReasonReloginRequired, `j06-* j07-* j09e j11-* j20b-* j21b-* j23-*`},
	{ReasonImpersonationUnsupported, `26.7.3/f1-*`},
	{ReasonImpersonationForbidden, `26.4.2/f1-* f2-00 f2-02-* v1-00-* v1-01-* v1-03-* v1-05-* v1-07-* v1-09-* v1-22-*`},
}

// done is the meaning of a good answer that brings no token.
const done = "done"

// outOfScope says why a recording has no meaning here, or nothing.
func outOfScope(r recording) string {
	form := r.form
	switch grant := form.Get("grant_type"); {
	case strings.HasSuffix(r.request.URL.Path, "/revoke"), strings.HasSuffix(r.request.URL.Path, "/logout"):
		return ""
	case !strings.HasSuffix(r.request.URL.Path, "/token"):
		return "another endpoint: see TestDiscover and TestVerify"
	case grant == "password":
		return "a grant that this package does not have: " + grant
	case form.Has("requested_issuer"), form.Has("subject_issuer"):
		return "parameters of external exchange, never sent"
	case form.Has("requested_subject") && form.Has("requested_token_type"):
		return "another requested_token_type for impersonation, never sent"
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

// asked is what the recorded request asks for.
func (r recording) asked() asked {
	a := asked{op: opClientCredentials, audience: r.form["audience"], scopes: strings.Fields(r.form.Get("scope")), user: r.form.Get("requested_subject")}
	switch grant := r.form.Get("grant_type"); {
	case strings.HasSuffix(r.request.URL.Path, "/revoke"):
		a.op = opRevocation
	case strings.HasSuffix(r.request.URL.Path, "/logout"):
		a.op = opLogout
	case grant == GrantTypeRefreshToken:
		a.op = opRefresh
	case grant == GrantTypeJWTBearer:
		a.op = opJWTBearer
	case a.user != "":
		a.op = opImpersonation
	case grant == GrantTypeTokenExchange:
		a.op = opTokenExchange
	}
	a.method = r.auth().method()
	return a
}

// auth is how the recorded client authenticated. What proves it is sent again; only basic secrets stand in the open.
func (r recording) auth() ClientAuth {
	_, secret, basic := r.request.BasicAuth()
	switch {
	case basic:
		return SecretBasic(sensitive.New(secret))
	case r.form.Has("client_assertion"):
		return Assertion(func(context.Context) (sensitive.String, error) {
			return sensitive.New(r.form.Get("client_assertion")), nil
		})
	}
	return SecretPost(sensitive.New("none-was-recorded"))
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

	id, _, basic := r.request.BasicAuth()
	if !basic {
		id = r.form.Get("client_id")
	}
	params := url.Values{}
	for name, values := range r.form {
		if !slices.Contains([]string{"scope", "client_id", "client_secret"}, name) {
			params[name] = values
		}
	}
	c := Client{Provider: &Provider{TokenEndpoint: server.URL}, ID: id, Auth: r.auth(), HTTP: server.Client()}
	if a := r.asked(); a.op == opRevocation || a.op == opLogout {
		_, err := c.call(t.Context(), a, server.URL, params)
		return Token{}, err
	}
	return c.post(t.Context(), r.asked(), params)
}

func TestRecordedAnswersHaveTheirMeaning(t *testing.T) {
	used := map[string]bool{}
	expected := func(file string) []string {
		var reasons []string
		for _, m := range meaning {
			for pattern := range strings.FieldsSeq(m.recordings) {
				name := path.Base(file)
				if strings.Contains(pattern, "/") {
					name = file
				}
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
			reasons := expected(r.file)
			if len(reasons) != 1 {
				t.Fatalf("has %d entries in meaning %q, want 1", len(reasons), reasons)
			}
			token, err := r.replay(t)
			var e *Error
			switch {
			case reasons[0] == done && err == nil:
			case reasons[0] == "" && err != nil:
				t.Errorf("%v, want a token", err)
			case reasons[0] == "":
				if token.AccessToken.IsZero() || token.ExpiresIn == nil || *token.ExpiresIn < 15 || len(token.Scopes) == 0 {
					t.Errorf("token %+v lacks what the answer said", token)
				}
			case !errors.As(err, &e):
				t.Errorf("%v (%T), want an *Error", err, err)
			case e.Reason != reasons[0]:
				t.Errorf("Reason %s, want %s: %v", e.Reason, reasons[0], err)
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
