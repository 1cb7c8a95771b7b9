package nextcloud

import (
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// aliceBody is the answer to a valid token of alice.
const aliceBody = `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},
	"data":{"enabled":true,"id":"alice","displayname":"Alice","groups":["staff","42"]}}}`

const notLoggedIn = `{"ocs":{"meta":{"status":"failure","statuscode":997,"message":"Current user is not logged in"},"data":[]}}`

func TestCheckSendsOneRequestInTheFormThatWorks(t *testing.T) {
	for name, path := range map[string]string{"at the root": "", "with a slash": "/", "under a prefix": "/nextcloud", "under a prefix with a slash": "/nextcloud/"} {
		t.Run(name, func(t *testing.T) {
			var seen []*http.Request
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = append(seen, r)
				w.Header().Set("Set-Cookie", "nc_session_id=1; path=/")
				_, _ = w.Write([]byte(aliceBody))
			}))
			defer server.Close()
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			c := Client{URL: server.URL + path, HTTP: &http.Client{Jar: jar, Timeout: time.Nanosecond}}
			for range 2 {
				v := c.Check(t.Context(), sensitive.New(token), Expect{User: "alice", Groups: []string{"42"}, NotInGroups: []string{"admin"}}, Hints{})
				want := Verdict{
					Outcome: Accepted, Message: `Nextcloud accepts the token as user "alice"`,
					Identity: &Identity{User: "alice", DisplayName: "Alice", Groups: []string{"staff", "42"}, Enabled: true},
				}
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
			}
			if len(seen) != 2 {
				t.Fatalf("%d requests for 2 checks", len(seen))
			}
			r := seen[1]
			got := []string{
				r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("OCS-APIRequest"),
				r.Header.Get("Accept"), r.Header.Get("User-Agent"), r.Header.Get("Cookie"),
			}
			want := []string{
				"GET", strings.TrimSuffix(path, "/") + "/ocs/v2.php/cloud/user?format=json", "Bearer " + token, "true",
				"application/json", "tokengrant", "",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// ocs wraps data as a successful answer.
func ocs(data string) string {
	return `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":` + data + `}}`
}

var unrecorded = map[string]struct {
	status  int
	header  map[string]string
	body    string
	expect  Expect
	outcome Outcome
	reason  string
	says    string
	retry   time.Duration
}{
	"the token is another user":             {200, nil, aliceBody, Expect{User: "Alice"}, Rejected, ReasonWrongUser, `for user "alice", expected "Alice"`, 0},
	"the user id is hashed":                 {200, nil, ocs(`{"id":"` + strings.Repeat("0a", 32) + `"}`), Expect{User: "alice"}, Rejected, ReasonWrongUser, "--unique-uid=0", 0},
	"the user lacks a group":                {200, nil, aliceBody, Expect{Groups: []string{"staff", "sync"}}, Rejected, ReasonForbidden, `must be in the group "sync" and is not`, 0},
	"the user has a forbidden group":        {200, nil, aliceBody, Expect{NotInGroups: []string{"admin", "staff"}}, Rejected, ReasonForbidden, `is in the group "staff"`, 0},
	"the user is disabled":                  {200, nil, ocs(`{"id":"a","enabled":false,"groups":[]}`), Expect{}, Rejected, ReasonForbidden, "occ user:enable", 0},
	"groups as PHP writes a list with gaps": {200, nil, ocs(`{"id":"a","groups":{"1":"x","3":7}}`), Expect{Groups: []string{"x", "7"}}, Accepted, "", "accepts", 0},
	"no groups field, and no rule":          {200, nil, ocs(`{"id":"a"}`), Expect{}, Accepted, "", "accepts", 0},
	"no groups field, and a rule":           {200, nil, ocs(`{"id":"a"}`), Expect{NotInGroups: []string{"admin"}}, Rejected, ReasonForbidden, "does not say", 0},
	"groups of a strange type":              {200, nil, ocs(`{"id":"a","groups":[true]}`), Expect{}, Unknown, ReasonInvalid, "names no user", 0},
	"a 200 without a user":                  {200, nil, ocs(`[]`), Expect{}, Unknown, ReasonInvalid, "names no user", 0},
	"a 200 that echoes the token":           {200, nil, ocs(`{"id":"` + token + `"}`), Expect{}, Unknown, ReasonInvalid, "names no user", 0},
	"a 200 that hides a 401":                {200, nil, notLoggedIn, Expect{}, Rejected, ReasonRejected, "does not take the token", 0},
	"a 200 that hides a 429":                {200, nil, `{"ocs":{"meta":{"statuscode":429,"message":"Reached maximum delay"},"data":[]}}`, Expect{}, Unknown, ReasonThrottled, "Reached maximum delay", 0},
	"403 by Nextcloud":                      {403, nil, `{"ocs":{"meta":{"statuscode":403,"message":"no"},"data":[]}}`, Expect{}, Rejected, ReasonForbidden, `("no")`, 0},
	"403 by a proxy":                        {403, nil, "<html>", Expect{}, Unknown, ReasonInvalid, "in front of Nextcloud", 0},
	"404 by a web server":                   {404, nil, "<html>", Expect{}, Unknown, ReasonInvalid, "base URL", 0},
	"404 by Nextcloud":                      {404, nil, `{"ocs":{"meta":{"statuscode":998,"message":""},"data":[]}}`, Expect{}, Unknown, ReasonInvalid, "answers 404", 0},
	"a second factor":                       {303, map[string]string{"Location": "/login/challenge"}, "", Expect{}, Rejected, ReasonForbidden, "second factor", 0},
	"a redirect":                            {301, map[string]string{"Location": "https://new.test/x?token=" + token}, "", Expect{}, Unknown, ReasonInvalid, `"https://new.test/x"`, 0},
	"a redirect with the token in its path": {302, map[string]string{"Location": "https://new.test/" + token}, "", Expect{}, Unknown, ReasonInvalid, "[redacted]", 0},
	"trusted_domains":                       {400, nil, "<html>", Expect{}, Unknown, ReasonInvalid, "trusted_domains N --value=HOST", 0},
	"an answer without end":                 {200, nil, `{"x":"` + strings.Repeat("x", maxBody) + `"}`, Expect{}, Unknown, ReasonInvalid, "has 1 MiB or more", 0},
	"a message that holds the token":        {401, nil, `{"ocs":{"meta":{"statuscode":997,"message":"bad ` + token + `"},"data":[]}}`, Expect{}, Rejected, ReasonRejected, `("bad [redacted]")`, 0},
	"a message that holds another token":    {403, nil, `{"ocs":{"meta":{"statuscode":403,"message":"eyJ0b2.x-_.y z"},"data":[]}}`, Expect{}, Rejected, ReasonForbidden, `("[redacted] z")`, 0},
	"a message of control characters":       {403, nil, `{"ocs":{"meta":{"statuscode":403,"message":"a\u001b[2J\nb"},"data":[]}}`, Expect{}, Rejected, ReasonForbidden, `("a [2J b")`, 0},
	"503 with seconds to wait":              {503, map[string]string{"Retry-After": "120"}, "", Expect{}, Unknown, ReasonUnreachable, "503", 2 * time.Minute},
	"503 of a page in maintenance mode":     {503, map[string]string{"X-Nextcloud-Maintenance-Mode": "1", "Retry-After": "120"}, "<html>", Expect{}, Unknown, ReasonMaintenance, "maintenance", 2 * time.Minute},
	"429 with a date to wait for":           {429, map[string]string{"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "Retry-After": "Mon, 23 Nov 2026 09:00:30 GMT"}, "", Expect{}, Unknown, ReasonThrottled, "429", 30 * time.Second},
	"429 with an endless wait":              {429, map[string]string{"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "Retry-After": "Mon, 23 Nov 2099 09:00:00 GMT"}, "", Expect{}, Unknown, ReasonThrottled, "429", time.Hour},
	"500 of a lost database":                {500, nil, "", Expect{}, Unknown, ReasonUnreachable, "500", 0},
}

func TestAnswersThatWereNotRecorded(t *testing.T) {
	for name, tt := range unrecorded {
		t.Run(name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests++
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			v := Client{URL: server.URL}.Check(t.Context(), sensitive.New(token), tt.expect, Hints{})
			if v.Outcome != tt.outcome || v.Reason != tt.reason || !strings.Contains(v.Message, tt.says) || v.RetryAfter != tt.retry {
				t.Errorf("got %v %q %v: %s\nwant %v %q %v: …%s…", v.Outcome, v.Reason, v.RetryAfter, v.Message, tt.outcome, tt.reason, tt.retry, tt.says)
			}
			if requests != 1 {
				t.Errorf("%d requests", requests)
			}
			sound(t, v)
		})
	}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func TestWithoutAnAnswerNothingIsProven(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	mute := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	})
	strange := httptest.NewTLSServer(http.NotFoundHandler())
	defer strange.Close()

	guarded, err := httpclient.New(httpclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	endless := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 2*maxBody))) })
	unresolved := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "cloud.test", IsNotFound: true}}
	}}}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	gone, cancelNow := context.WithCancel(t.Context())
	cancelNow()

	tests := map[string]struct {
		ctx          context.Context
		client       Client
		reason, says string
	}{
		"connection refused":                  {t.Context(), Client{URL: "http://" + closed.Addr().String()}, ReasonUnreachable, "refused"},
		"no answer in time":                   {short, Client{URL: mute.URL}, ReasonUnreachable, "no answer in time"},
		"cancelled":                           {gone, Client{URL: mute.URL}, ReasonUnreachable, "cancelled"},
		"half an answer":                      {t.Context(), Client{URL: broken.URL}, ReasonUnreachable, "read the answer"},
		"an unknown authority":                {t.Context(), Client{URL: strange.URL}, ReasonUnreachable, "nextcloud.caRef"},
		"plain HTTP to TLS":                   {t.Context(), Client{URL: strings.Replace(strange.URL, "https", "http", 1)}, ReasonInvalid, "answers 400"},
		"TLS to plain HTTP":                   {t.Context(), Client{URL: strings.Replace(mute.URL, "http", "https", 1)}, ReasonUnreachable, "HTTPS"},
		"a name nobody knows":                 {t.Context(), Client{URL: "http://cloud.test", HTTP: unresolved}, ReasonUnreachable, "does not resolve"},
		"plain HTTP over a network":           {t.Context(), Client{URL: "http://cloud.test", HTTP: guarded}, ReasonInvalid, "plain http"},
		"a link-local address":                {t.Context(), Client{URL: "https://169.254.169.254", HTTP: guarded}, ReasonInvalid, "link-local"},
		"an answer beyond the client's bound": {t.Context(), Client{URL: endless.URL, HTTP: guarded}, ReasonInvalid, "1 MiB or more"},
		"no URL":                              {t.Context(), Client{}, ReasonInvalid, "must be like"},
		"a URL that is none":                  {t.Context(), Client{URL: "https://%zz"}, ReasonInvalid, "not a URL"},
		"a URL with a password":               {t.Context(), Client{URL: "https://a:b@cloud.test"}, ReasonInvalid, "no user"},
		"a URL of another world":              {t.Context(), Client{URL: "ftp://cloud.test"}, ReasonInvalid, "must be like"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := tt.client.Check(tt.ctx, sensitive.New(token), Expect{}, Hints{})
			if v.Outcome != Unknown || v.Reason != tt.reason || !strings.Contains(v.Message, tt.says) {
				t.Errorf("got %v %q: %s", v.Outcome, v.Reason, v.Message)
			}
			sound(t, v)
		})
	}
}

func TestATokenThatNoHeaderCarriesIsRejectedUnsent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }))
	defer server.Close()
	v := Client{URL: server.URL}.Check(t.Context(), sensitive.New("a\r\nX-Evil: 1"), Expect{}, Hints{})
	if v.Outcome != Rejected || v.Reason != ReasonRejected {
		t.Errorf("got %+v", v)
	}
}
