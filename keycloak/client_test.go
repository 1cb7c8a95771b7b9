package keycloak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// special has what form-urlencoding, Basic and JSON each treat specially.
const special = `s&c=r+e/t%?"ü: \`

func newClient(t *testing.T, s *keycloaktest.Server, auth ClientAuth) Client {
	t.Helper()
	p, err := Discover(t.Context(), s.HTTPClient(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return Client{Provider: p, ID: "notes sync:1", Auth: auth, HTTP: s.HTTPClient()}
}

func TestClientCredentialsAndExchangeSayWhatTheStandardsSay(t *testing.T) {
	for style, auth := range map[string]func(sensitive.String) ClientAuth{"basic": SecretBasic, "post": SecretPost} {
		t.Run(style, func(t *testing.T) {
			s := keycloaktest.NewServer(t)
			s.SetClient(keycloaktest.Client{ID: "notes sync:1", Secret: special, Audience: []string{"nextcloud", "account"}})
			s.SetClient(keycloaktest.Client{ID: "account"})
			c := newClient(t, s, auth(sensitive.New(special)))

			subject, err := c.ClientCredentials(t.Context(), []string{"openid", "email"})
			if err != nil {
				t.Fatal(err)
			}
			token, err := c.Exchange(t.Context(), subject.AccessToken, ExchangeRequest{Audience: []string{"nextcloud", "account"}})
			if err != nil {
				t.Fatal(err)
			}
			seconds := int64(300)
			want := Token{
				AccessToken: token.AccessToken, TokenType: "Bearer", IssuedTokenType: tokenTypeAccessToken,
				Scopes: []string{"profile", "email"}, ExpiresIn: &seconds, RefreshToken: sensitive.New(""),
			}
			if diff := cmp.Diff(want, token, cmp.Comparer(sensitive.String.Equal), cmpopts.IgnoreFields(Token{}, "Sent")); diff != "" {
				t.Errorf("token (-want +got):\n%s", diff)
			}

			requests := s.Requests()
			if len(requests) != 2 {
				t.Fatalf("%d requests, want 2", len(requests))
			}
			wantForms := []url.Values{
				{"grant_type": {"client_credentials"}, "scope": {"openid email"}},
				{
					"grant_type":           {GrantTypeTokenExchange},
					"subject_token":        {subject.AccessToken.Reveal()},
					"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
					"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
					"audience":             {"nextcloud", "account"},
				},
			}
			for i, r := range requests {
				if r.AuthStyle != style || r.ClientID != "notes sync:1" {
					t.Errorf("request %d: client %q authenticated by %s", i, r.ClientID, r.AuthStyle)
				}
				r.Form.Del("client_id")
				r.Form.Del("client_secret")
				if diff := cmp.Diff(wantForms[i], r.Form); diff != "" {
					t.Errorf("request %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestARefusedRequestIsSentOnce(t *testing.T) {
	s := keycloaktest.NewServer(t)
	c := newClient(t, s, SecretBasic(sensitive.New("wrong")))
	if _, err := c.ClientCredentials(t.Context(), nil); err == nil {
		t.Fatal("a wrong secret brought a token")
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestWhatCannotWorkIsNotSent(t *testing.T) {
	s := keycloaktest.NewServer(t)
	_, err := newClient(t, s, SecretPost(sensitive.String{})).ClientCredentials(t.Context(), nil)
	wantError(t, err, ReasonCredentialMissing, "the client secret is empty")
	for _, audience := range [][]string{nil, {""}, {"nextcloud", ""}} {
		_, err = newClient(t, s, SecretPost(sensitive.New("s"))).Exchange(t.Context(), sensitive.New("t"), ExchangeRequest{Audience: audience})
		wantError(t, err, ReasonAudienceNotAvailable, "no audience is named")
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestExpiresInIsWhatWasSaid(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for said, want := range map[string]*int64{
		`300`: number(300), `"300"`: number(300), `0`: number(0), `-1`: number(-1), `299.9`: number(299), `3e2`: number(300),
		`99999999999`: number(99999999999), `1e30`: number(math.MaxInt64), `-1e30`: number(math.MinInt64), `1e999`: number(math.MaxInt64),
		`9999999999999999999999`: number(math.MaxInt64),
		`null`:                   nil, `"soon"`: nil, `true`: nil, `{}`: nil, `[300]`: nil, `""`: nil, `"NaN"`: nil,
	} {
		t.Run(said, func(t *testing.T) {
			token, err := answerWith(t, 200, `{"access_token":"a","token_type":"bearer","expires_in":`+said+`}`, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, token.ExpiresIn); diff != "" {
				t.Errorf("ExpiresIn (-want +got):\n%s", diff)
			}
		})
	}
	token, err := answerWith(t, 200, `{"access_token":"a","token_type":"Bearer"}`, nil)
	if err != nil || token.ExpiresIn != nil {
		t.Errorf("without expires_in: %v, %v", token.ExpiresIn, err)
	}
	if diff := cmp.Diff([]string{"asked"}, token.Scopes); diff != "" {
		t.Errorf("scopes when the server says none: %s", diff)
	}
}

// answerWith asks a server that answers with this and returns what client_credentials makes of it.
func answerWith(t *testing.T, status int, body string, header http.Header) (Token, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	c := Client{Provider: &Provider{TokenEndpoint: server.URL}, ID: "x", Auth: SecretBasic(sensitive.New("canary-secret")), HTTP: server.Client()}
	return c.ClientCredentials(t.Context(), []string{"asked"})
}

func TestAnswersThatAreNoToken(t *testing.T) {
	date := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	later := time.Date(2026, 11, 23, 12, 1, 30, 0, time.UTC).Format(http.TimeFormat)
	for _, c := range []struct {
		name, body string
		status     int
		header     http.Header
		reason     string
		retryAfter time.Duration
		says       string
	}{
		{name: "throttled", status: 429, reason: ReasonThrottled, says: "fewer requests"},
		{name: "throttled, with seconds", status: 429, header: http.Header{"Retry-After": {"7"}}, reason: ReasonThrottled, retryAfter: 7 * time.Second},
		{name: "throttled, with a date", status: 429, header: http.Header{"Retry-After": {later}, "Date": {date}}, reason: ReasonThrottled, retryAfter: 90 * time.Second},
		{name: "throttled, until yesterday", status: 429, header: http.Header{"Retry-After": {date}, "Date": {later}}, reason: ReasonThrottled},
		{name: "throttled, for ever", status: 429, header: http.Header{"Retry-After": {"999999999999"}}, reason: ReasonThrottled, retryAfter: time.Hour},
		{name: "throttled, nonsense", status: 429, header: http.Header{"Retry-After": {"soon"}}, reason: ReasonThrottled},
		{name: "HTML of a broken proxy", status: 502, body: "<html>canary-body", reason: ReasonIssuerUnreachable, says: "HTTP 502"},
		{name: "maintenance", status: 503, header: http.Header{"Retry-After": {"30"}}, reason: ReasonIssuerUnreachable, retryAfter: 30 * time.Second},
		{name: "a login page", status: 200, body: "<html>canary-body", reason: ReasonTokenMalformed, says: "not a JSON object"},
		{name: "truncated JSON", status: 200, body: `{"access_token":"canary-body`, reason: ReasonTokenMalformed},
		{name: "no access_token", status: 200, body: `{"token_type":"Bearer","id_token":"canary-body"}`, reason: ReasonTokenMalformed},
		{name: "access_token is a number", status: 200, body: `{"token_type":"Bearer","access_token":1}`, reason: ReasonTokenMalformed},
		{name: "nothing", status: 204, reason: ReasonTokenMalformed},
		{name: "two megabytes", status: 200, body: strings.Repeat("canary-body", 200_000), reason: ReasonIssuerInvalid, says: "larger than 1 MiB"},
		{name: "two megabytes of error", status: 400, body: strings.Repeat("canary-body", 200_000), reason: ReasonIssuerInvalid, says: "larger than 1 MiB"},
		{name: "a redirect", status: 302, header: http.Header{"Location": {"https://Sso.example.com/login?canary-body"}}, reason: ReasonIssuerInvalid, says: "on https://sso.example.com:443"},
		{name: "a redirect that keeps the method", status: 307, header: http.Header{"Location": {"/elsewhere"}}, reason: ReasonIssuerInvalid, says: "redirects are not followed"},
		{name: "an error with status 200", status: 200, body: `{"error":"invalid_scope"}`, reason: ReasonScopeInvalid},
		{name: "a firewall's page", status: 403, body: "<html>canary-body", reason: ReasonIssuerInvalid, says: "no answer of a token endpoint"},
		{name: "an unknown error code", status: 400, body: `{"error":"canary-body"}`, reason: ReasonIssuerInvalid},
		{name: "a DPoP token", status: 200, body: `{"access_token":"canary-body","token_type":"DPoP"}`, reason: ReasonTokenMalformed, says: `switch off "Require DPoP bound tokens" on client "x"`},
		{name: "another token_type", status: 200, body: `{"access_token":"canary-body","token_type":"mac"}`, reason: ReasonTokenMalformed, says: "token_type is mac"},
		{name: "no token_type", status: 200, body: `{"access_token":"canary-body"}`, reason: ReasonTokenMalformed, says: "no token_type"},
		{name: "an ID token", status: 200, body: `{"access_token":"canary-body","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:id_token"}`, reason: ReasonTokenMalformed, says: "id_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := answerWith(t, c.status, c.body, c.header)
			e := wantError(t, err, c.reason, c.says)
			if e.RetryAfter != c.retryAfter {
				t.Errorf("RetryAfter %v, want %v", e.RetryAfter, c.retryAfter)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error quotes the body: %v", err)
			}
		})
	}
}

func TestNoAnswerIsIssuerUnreachable(t *testing.T) {
	expired := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 20*time.Millisecond)
	}
	cancelled := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	for _, c := range []struct {
		name   string
		answer keycloaktest.Answer
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		is     error
		says   string
	}{
		{"the deadline passes", keycloaktest.Answer{Hang: true}, expired, context.DeadlineExceeded, "no answer in time"},
		{"the caller gives up", keycloaktest.Answer{}, cancelled, context.Canceled, "cancelled"},
		{"the connection drops", keycloaktest.Answer{Drop: true}, context.WithCancel, nil, "the connection broke"},
		{"the answer is cut", keycloaktest.Answer{Status: 200, Body: `{"access_token":"canary"}`, Header: http.Header{"Content-Length": {"25"}}, Cut: true}, context.WithCancel, nil, "the connection broke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := keycloaktest.NewServer(t)
			client := newClient(t, s, SecretBasic(sensitive.New("secret")))
			s.Script(c.answer)
			ctx, cancel := c.ctx(t.Context())
			defer cancel()
			_, err := client.ClientCredentials(ctx, nil)
			wantError(t, err, ReasonIssuerUnreachable, c.says)
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("errors.Is(%v, %v) is false", err, c.is)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		s := keycloaktest.NewServer(t)
		client := newClient(t, s, SecretBasic(sensitive.New("secret")))
		client.Provider.TokenEndpoint = "http://127.0.0.1:1/token"
		_, err := client.ClientCredentials(t.Context(), nil)
		wantError(t, err, ReasonIssuerUnreachable, "connection refused")
	})
}

func TestTheOperatorsOwnHTTPClientIsUnderstood(t *testing.T) {
	hc, err := httpclient.New(httpclient.Options{MaxResponseBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Discover(t.Context(), hc, "http://issuer.example.com/realms/x")
	wantError(t, err, ReasonIssuerInvalid, "use https")
	_, err = Discover(t.Context(), hc, "https://169.254.169.254/realms/x")
	wantError(t, err, ReasonIssuerInvalid, "link-local")
	_, err = Discover(t.Context(), hc, "https://2852039166/realms/x")
	wantError(t, err, ReasonIssuerInvalid, "write an IPv4 address as four decimal numbers")
	_, err = Discover(t.Context(), hc, keycloaktest.NewServer(t).URL)
	wantError(t, err, ReasonIssuerInvalid, "larger than")
	allowed, err := httpclient.ParseHosts("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := httpclient.New(httpclient.Options{AllowedHosts: allowed})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Discover(t.Context(), inside, keycloaktest.NewServer(t).URL)
	wantError(t, err, ReasonIssuerInvalid, "--allowed-hosts: use a listed host")
	public, err := httpclient.New(httpclient.Options{DenyPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Discover(t.Context(), public, keycloaktest.NewServer(t).URL)
	wantError(t, err, ReasonIssuerInvalid, "--deny-private-addresses): name an issuer with a public address")
	_, err = Discover(t.Context(), hc, keycloaktest.NewServer(t, keycloaktest.Options{TLS: true}).URL)
	wantError(t, err, ReasonIssuerUnreachable, "unknown authority")
}

// wantError checks an error and that its text is fit to be shown.
func wantError(t *testing.T, err error, reason, says string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want an *Error %s", err, err, reason)
	}
	if e.Reason != reason {
		t.Errorf("%s, want %s: %v", e.Reason, reason, err)
	}
	text := err.Error()
	if !strings.Contains(text, says) {
		t.Errorf("error %q does not say %q", text, says)
	}
	if strings.ContainsAny(text, "\n\r\x00") || len(text) > 800 || !strings.HasPrefix(text, e.Op+": ") {
		t.Errorf("error is not fit to be shown: %q", text)
	}
	if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, "canary") {
		t.Errorf("error shows the body or a secret: %s", s)
	}
	return e
}
