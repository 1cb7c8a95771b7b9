package nextcloudtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud"
	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// start is the time at which the tests of this file begin.
var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// bearer is a token of alice that Nextcloud takes; change alters or removes (nil) some of its claims.
func (s *stage) bearer(change map[string]any) sensitive.String { return s.bearerOf(keyMCP, change) }

// bearerOf is one that is signed by that key.
func (s *stage) bearerOf(key string, change map[string]any) sensitive.String {
	claims := map[string]any{
		"iss": recordedIssuer + "/realms/cloud", "aud": "nextcloud", "preferred_username": "alice",
		"iat": float64(start.Unix()), "exp": float64(start.Unix() + 300),
	}
	for name, value := range change {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return sensitive.New(s.issuer.token(&recording.JWT{Algorithm: "RS256", KeyID: key, Claims: claims}, 0))
}

func cloud(t *testing.T) *stage {
	t.Helper()
	s := startStage(t, "cloud", []User{{ID: "alice", Password: password}})
	s.clock.SetTime(start)
	return s
}

// check asks with the operator's own client.
func (s *stage) check(bearer sensitive.String, e nextcloud.Expect) nextcloud.Verdict {
	return nextcloud.Client{URL: s.url}.Check(s.t.Context(), bearer, e, nextcloud.Hints{})
}

func TestTokensAtTheEdgesOfValidation(t *testing.T) {
	at := func(d time.Duration) float64 { return float64(start.Add(d).Unix()) }
	tests := map[string]struct {
		change map[string]any
		passes bool
	}{
		"as issued":                            {nil, true},
		"it expires this second":               {map[string]any{"exp": at(0)}, true},
		"it expired a second ago: no leeway":   {map[string]any{"exp": at(-time.Second)}, false},
		"it never expires":                     {map[string]any{"exp": nil}, false},
		"issued in a minute":                   {map[string]any{"iat": at(time.Minute)}, true},
		"issued in two minutes":                {map[string]any{"iat": at(2 * time.Minute)}, false},
		"valid in two minutes":                 {map[string]any{"nbf": at(2 * time.Minute)}, false},
		"no audience":                          {map[string]any{"aud": nil}, true},
		"an empty list of audiences":           {map[string]any{"aud": []string{}}, false},
		"an audience among others":             {map[string]any{"aud": []string{"account", "nextcloud"}}, true},
		"an audience that only begins like us": {map[string]any{"aud": "nextcloud-mcp-server"}, false},
		"an ID token":                          {map[string]any{"typ": "ID"}, true},
		"an issuer that shares the key":        {map[string]any{"iss": recordedIssuer + "/realms/other"}, false},
		"a user id that is no text":            {map[string]any{"preferred_username": 7}, false},
	}
	s := cloud(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if v := s.check(s.bearer(tt.change), nextcloud.Expect{}); (v.Outcome == nextcloud.Accepted) != tt.passes {
				t.Errorf("%v: %s", v.Outcome, v.Message)
			}
		})
	}
}

func TestWhatIsSwitchedWhileItServesShowsInTheVerdict(t *testing.T) {
	s := cloud(t)
	token := s.bearer(nil)
	expect := nextcloud.Expect{User: "alice", NotInGroups: []string{"admin"}}
	steps := []struct {
		name   string
		do     func()
		reason string
	}{
		{"as it is", func() {}, ""},
		{"in the group admin", func() { s.server.AddToGroup("alice", "admin"); s.server.AddToGroup("alice", "admin") }, nextcloud.ReasonForbidden},
		{"out of it again", func() { s.server.RemoveFromGroup("alice", "admin") }, ""},
		{"disabled", func() { s.server.DisableUser("alice") }, nextcloud.ReasonRejected},
		{"enabled", func() { s.server.EnableUser("alice") }, ""},
		{"a second factor", func() { s.server.PutUser(User{ID: "alice", TwoFactor: true}) }, nextcloud.ReasonForbidden},
		{"none", func() { s.server.PutUser(User{ID: "alice"}) }, ""},
		{"bearer tokens off", func() { s.server.SetCheckBearer(false) }, nextcloud.ReasonRejected},
		{"and on", func() { s.server.SetCheckBearer(true) }, ""},
		{"maintenance", func() { s.server.SetMaintenance(true) }, nextcloud.ReasonMaintenance},
		{"over", func() { s.server.SetMaintenance(false) }, ""},
		{"another host name", func() { s.configure(func(c *Settings) { c.TrustedDomains = []string{"cloud.test"} }) }, nextcloud.ReasonInvalid},
		{"any host name", func() { s.configure(func(c *Settings) { c.TrustedDomains = nil }) }, ""},
		{"the database is down", func() { s.configure(func(c *Settings) { c.Down = DownDatabase }) }, nextcloud.ReasonUnreachable},
		{"PHP is down", func() { s.configure(func(c *Settings) { c.Down = DownPHP }) }, nextcloud.ReasonUnreachable},
		{"all is well", func() { s.configure(func(c *Settings) { c.Down = DownNone }) }, ""},
		{"another issuer", func() { s.configure(func(c *Settings) { c.Issuer = s.issuer.URL + "/realms/other" }) }, nextcloud.ReasonRejected},
		{"hashed ids", func() {
			s.configure(func(c *Settings) { c.Issuer, c.UniqueUID = s.issuer.URL+"/realms/cloud", true })
			token = s.bearer(map[string]any{"preferred_username": "nobody"})
		}, nextcloud.ReasonWrongUser},
	}
	for _, step := range steps {
		step.do()
		if v := s.check(token, expect); v.Reason != step.reason {
			t.Errorf("%s: got %q, want %q: %s", step.name, v.Reason, step.reason, v.Message)
		}
	}
}

func TestKeysAreReadOnceAnHour(t *testing.T) {
	s := cloud(t)
	for range 3 {
		s.check(s.bearer(nil), nextcloud.Expect{})
	}
	s.clock.SetTime(start.Add(cacheAge - time.Second))
	s.check(s.bearer(nil), nextcloud.Expect{}) // expired by now, but the key is looked up first
	if got := s.server.Count("issuer jwks"); got != 1 {
		t.Errorf("%d requests for keys in the first hour", got)
	}
	s.clock.SetTime(start.Add(cacheAge))
	s.check(s.bearer(nil), nextcloud.Expect{})
	want := map[string]int{"GET /ocs/v2.php/cloud/user": 5, "issuer jwks": 2, "issuer discovery": 2}
	if diff := gocmp.Diff(want, s.server.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestAHangingIssuerHoldsUpNobodyElse(t *testing.T) {
	s := cloud(t)
	s.issuer.setHanging(true)
	app := s.server.AddAppPassword("alice", "phone")
	began := time.Now()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if v := s.check(s.bearer(nil), nextcloud.Expect{}); v.Reason != nextcloud.ReasonRejected {
				t.Errorf("%q: %s", v.Reason, v.Message)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 8*300*time.Millisecond {
		t.Errorf("8 requests took %v: they queued", took)
	}
	res, _ := s.request("GET", "/ocs/v2.php/cloud/user", basicAuth("alice", app), "")
	if res.StatusCode != http.StatusOK {
		t.Errorf("an app password by Basic: %d", res.StatusCode)
	}
}

func TestThrottlingEndsAfterHalfAnHourOrByReset(t *testing.T) {
	s := cloud(t)
	wrong, right := basicAuth("alice", sensitive.New("wrong")), basicAuth("alice", password)
	fail := func() {
		for range failuresToThrottle {
			s.request("GET", "/ocs/v2.php/cloud/user", wrong, "")
		}
		if res, _ := s.request("GET", "/remote.php/dav/files/alice/", right, ""); res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("after %d failures: %d", failuresToThrottle, res.StatusCode)
		}
	}
	fail()
	s.server.ResetThrottle()
	if res, _ := s.request("GET", "/ocs/v2.php/cloud/user", right, ""); res.StatusCode != http.StatusOK {
		t.Errorf("after a reset: %d", res.StatusCode)
	}
	fail()
	if _, body := s.request("GET", "/ocs/v2.php/cloud/capabilities?format=json", "", ""); !strings.Contains(body, `"delay":25000`) {
		t.Errorf("capabilities: %s", body)
	}
	s.clock.SetTime(start.Add(failureAge))
	if res, _ := s.request("GET", "/ocs/v2.php/cloud/user", right, ""); res.StatusCode != http.StatusOK {
		t.Errorf("half an hour later: %d", res.StatusCode)
	}
}

func TestAppPasswordsAreNamedByTheirUserAgent(t *testing.T) {
	s := cloud(t)
	s.request("GET", "/ocs/v2.php/core/getapppassword", basicAuth("alice", password), "")
	s.server.AddAppPassword("alice", "phone")
	if diff := gocmp.Diff([]string{"Go-http-client/1.1", "phone"}, s.server.AppPasswordNames("alice")); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestLatencyEndsWithTheClient(t *testing.T) {
	s := cloud(t)
	s.configure(func(c *Settings) { c.Latency = Duration{time.Hour} })
	client := &http.Client{Timeout: 50 * time.Millisecond}
	res, err := client.Get(s.url + "/status.php")
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("an answer came at once")
	}
}

// request sends one request as it is.
func (s *stage) request(method, path, authorization, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("OCS-APIRequest", "true")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(out)
}

func basicAuth(user string, secret sensitive.String) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, secret.Reveal())
	return r.Header.Get("Authorization")
}

func TestAdminHandlerChangesWhatItIsTold(t *testing.T) {
	s := cloud(t)
	admin := s.server.AdminHandler()
	call := func(from, method, path, body string) string {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
	const here = "127.0.0.1:1"
	tests := []struct{ from, method, path, body, want string }{
		{"192.0.2.1:1", "GET", "/_standin/settings", "", "403 loopback only"},
		{here, "PATCH", "/_standin/settings", `{"maintenance":true,"latency":"1ms"}`, `"maintenance":true`},
		{here, "GET", "/_standin/settings", "", `"latency":"1ms"`},
		{here, "PATCH", "/_standin/settings", `{"nosuch":1}`, "400 "},
		{here, "PATCH", "/_standin/settings", `{"latency":7}`, "400 "},
		{
			here, "PATCH", "/_standin/users/bob", `{"groups":["staff"],"password":"hidden"}`,
			`200 {"id":"bob","displayName":"bob","backend":"Database","groups":["staff"],"disabled":false,"twoFactor":false}`,
		},
		{here, "PATCH", "/_standin/users/bob", `{"disabled":true}`, `"groups":["staff"],"disabled":true`},
		{here, "GET", "/_standin/users/bob", "", `"disabled":true`},
		{here, "GET", "/_standin/users/nobody", "", "404 "},
		{here, "GET", "/_standin/users/bob/app-passwords", "", "200 []"},
		{here, "PUT", "/_standin/users/bob/files/Shared?permissions=SG", "", "204 "},
		{here, "PUT", "/_standin/users/bob/files/Shared?permissions=SGCK", "", "204 "},
		{here, "PUT", "/_standin/users/bob/files/Shared/Deep%20er", "", "204 "},
		{here, "PUT", "/_standin/users/bob/files/no/where", "", "409 "},
		{here, "POST", "/_standin/flush-keys", "", "204 "},
		{here, "GET", "/_standin/counts", "", "200 {}"},
	}
	for _, tt := range tests {
		if got := call(tt.from, tt.method, tt.path, tt.body); !strings.Contains(got, strings.TrimSpace(tt.want)) {
			t.Errorf("%s %s %s: got %s, want %s", tt.method, tt.path, tt.body, got, tt.want)
		}
	}
	if !s.server.Settings().Maintenance {
		t.Error("maintenance mode is off")
	}
	for name, want := range map[string]string{"Shared": "SGCK", "Shared/Deep er": folderPermissions} {
		if n, failed := s.server.state.file("bob", name); failed != nil || n.permissions != want {
			t.Errorf("%s has %q, want %q", name, n.permissions, want)
		}
	}
	if u, _ := s.server.User("bob"); u.Password.Reveal() != "hidden" || !u.Disabled {
		t.Errorf("bob is %+v", u)
	}
}
