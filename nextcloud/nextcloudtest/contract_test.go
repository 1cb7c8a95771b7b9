package nextcloudtest

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	testclock "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud"
	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// stage is a running stand-in with its issuer, on the recordings' clock.
type stage struct {
	t      *testing.T
	server *Server
	issuer *issuer
	url    string
	clock  *testclock.FakePassiveClock
	// shift is how much later than recorded it is.
	shift time.Duration
	// apps are the app passwords by their names in the recordings.
	apps map[string]*appPassword
	// sent are the secrets behind those names, the rotated ones too.
	sent        map[string]sensitive.String
	lastSession string
}

func startStage(t *testing.T, realm string, users []User) *stage {
	t.Helper()
	s := &stage{
		t: t, issuer: newIssuer(t), clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
		apps: map[string]*appPassword{}, sent: map[string]sensitive.String{},
	}
	s.server = New(Options{
		Issuer: s.issuer.URL + "/realms/" + realm, Users: users, Clock: s.clock,
		HTTP: &http.Client{Timeout: 300 * time.Millisecond}, // instead of 30 s, for an issuer that hangs
	})
	web := httptest.NewServer(s.server.Handler())
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

func (s *stage) configure(f func(*Settings)) { s.server.Configure(f) }

// appPassword finds an app password by its recorded name. One whose creation was not recorded is created now.
func (s *stage) appPassword(name string) *appPassword {
	if s.apps[name] == nil {
		s.apps[name] = s.server.state.addApp("alice", name)
		s.sent[name] = s.apps[name].secret
	}
	return s.apps[name]
}

// learn keeps the app password of an answer under the name it has in the recording.
func (s *stage) learn(rec recording.Recording, body string) {
	name, secret := appPasswordIn(rec.Body), sensitive.New(appPasswordIn(body))
	if name == "" {
		return
	}
	_, app, ok := s.server.state.appLogin(secret)
	if !ok {
		s.t.Errorf("the answer's app password %q does not work", name)
	}
	s.apps[name], s.sent[name] = app, secret
}

// authorization builds the header that the recording had.
func (s *stage) authorization(a *recording.Auth) string {
	secret := a.Secret
	switch {
	case a.JWT != nil:
		secret = s.issuer.token(a.JWT, s.shift)
		s.lastSession, _ = a.JWT.Claims["sid"].(string)
	case secret == "account":
		secret = password.Reveal()
	case strings.HasPrefix(secret, "app-"):
		s.appPassword(secret)
		secret = s.sent[a.Secret].Reveal()
	}
	if a.Scheme == "Basic" {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(a.User, secret)
		return r.Header.Get("Authorization")
	}
	return a.Scheme + " " + secret
}

// send sends the recorded request to base with that Authorization header.
func send(ctx context.Context, t *testing.T, base string, rec recording.Recording, authorization string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, rec.Method, base+rec.Path, strings.NewReader(rec.RequestBody))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range rec.Request {
		req.Header.Set(name, value)
	}
	req.Host = req.Header.Get("Host")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	client := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestTheStandInAnswersAsRecorded(t *testing.T) {
	all := load(t)
	covered := map[string]bool{}
	for _, sc := range scenes {
		t.Run(sc.state, func(t *testing.T) {
			s := newStage(t, sc)
			for _, rec := range pick(t, all, sc.numbers) {
				if covered[rec.Name] {
					t.Errorf("%s is in two scenes", rec.Name)
				}
				covered[rec.Name] = true
				s.clock.SetTime(rec.Date.Add(s.shift))
				if before := sc.before[rec.Number()]; before != nil {
					before(s)
				}
				s.play(t, rec)
			}
		})
	}
	left := 0
	for _, skipped := range notCovered {
		recs := pick(t, all, skipped.numbers)
		for _, rec := range recs {
			if covered[rec.Name] {
				t.Errorf("%s is covered and listed as not covered", rec.Name)
			}
			covered[rec.Name] = true
		}
		left += len(recs)
		t.Logf("not covered: %3d, %s (%s)", len(recs), skipped.why, skipped.numbers)
	}
	for _, rec := range all {
		if !covered[rec.Name] {
			t.Errorf("%s is neither covered nor listed", rec.Name)
		}
	}
	t.Logf("%d of %d recordings are answered as recorded", len(all)-left, len(all))
}

// play sends one recorded request at the recorded time and compares the answers.
func (s *stage) play(t *testing.T, rec recording.Recording) {
	t.Helper()
	s.clock.SetTime(rec.Date.Add(s.shift))
	authorization := ""
	if rec.Auth != nil {
		authorization = s.authorization(rec.Auth)
	}
	res, body := send(t.Context(), t, s.url, rec, authorization)
	s.learn(rec, body)
	want := viewOf(t, rec, rec.Status, headerOf(rec), rec.Body)
	got := viewOf(t, rec, res.StatusCode, res.Header, body)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s\n%s %s (-recorded +stand-in):\n%s", rec.Name, rec.Case, rec.Method, rec.Path, diff)
	}
}

// TestTheStateFreePartHoldsForAnyNextcloud runs against the server at NEXTCLOUD_URL where that is set, else against the
// stand-in. What needs a valid token is sent where NEXTCLOUD_BEARER_TOKEN has one. It changes nothing on the server.
func TestTheStateFreePartHoldsForAnyNextcloud(t *testing.T) {
	base := strings.TrimSuffix(os.Getenv("NEXTCLOUD_URL"), "/")
	token := os.Getenv("NEXTCLOUD_BEARER_TOKEN")
	all := load(t)
	if base == "" {
		s := newStage(t, scene{})
		s.clock.SetTime(pick(t, all, "100")[0].Date)
		base, token = s.url, s.issuer.token(pick(t, all, "100")[0].Auth.JWT, 0)
	}
	numbers := "010-017 160-176 183 195-196"
	if token != "" {
		numbers += " 100-104"
	}
	for _, rec := range pick(t, all, numbers) {
		authorization := ""
		if rec.Auth != nil {
			authorization = rec.Auth.Scheme + " " + rec.Auth.Secret
			if rec.Auth.JWT != nil {
				authorization = "Bearer " + token
			}
		}
		res, body := send(t.Context(), t, base, rec, authorization)
		want := viewOf(t, rec, rec.Status, headerOf(rec), rec.Body)
		got := viewOf(t, rec, res.StatusCode, res.Header, body)
		want.Data, got.Data = nil, nil // another server has other users and other apps
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s %s (-recorded +%s):\n%s", rec.Name, rec.Method, rec.Path, base, diff)
		}
	}
}

// TestTheOwnHomeMayBeWritten shows oc:permissions, which no recording has: on the server at NEXTCLOUD_URL where
// NEXTCLOUD_BEARER_TOKEN has a token for it, else on the stand-in. Nothing is written.
func TestTheOwnHomeMayBeWritten(t *testing.T) {
	client, token := nextcloud.Client{URL: os.Getenv("NEXTCLOUD_URL")}, sensitive.New(os.Getenv("NEXTCLOUD_BEARER_TOKEN"))
	if client.URL == "" || token.IsZero() {
		s := cloud(t)
		client, token = s.client(), s.bearer(nil)
	}
	who := client.Check(t.Context(), token, nextcloud.Expect{}, nextcloud.Hints{})
	if who.Identity == nil {
		t.Fatal(who.Message)
	}
	for _, access := range []nextcloud.Access{nextcloud.Read, nextcloud.Write} {
		home := []nextcloud.PathCheck{{Path: "/", Access: access}}
		if v := client.CheckPaths(t.Context(), token, who.Identity.User, home, nextcloud.Hints{}); v.Outcome != nextcloud.Accepted {
			t.Errorf("%s: %s", access, v.Message)
		}
	}
	gone := []nextcloud.PathCheck{{Path: "/tokengrant: there is no such folder", Access: nextcloud.Read}}
	if v := client.CheckPaths(t.Context(), token, who.Identity.User, gone, nextcloud.Hints{}); v.Reason != nextcloud.ReasonForbidden {
		t.Errorf("%v: %s", v.Outcome, v.Message)
	}
}

func load(t *testing.T) []recording.Recording {
	t.Helper()
	all, err := recording.Load("../testdata/recordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// pick returns the recordings of a list of numbers and ranges, in the order in which they were made.
func pick(t *testing.T, all []recording.Recording, numbers string) []recording.Recording {
	t.Helper()
	var out []recording.Recording
	for part := range strings.FieldsSeq(numbers) {
		first, last, _ := strings.Cut(part, "-")
		before := len(out)
		for _, rec := range all {
			if n := rec.Number(); n >= first && n <= cmp.Or(last, first) {
				out = append(out, rec)
			}
		}
		if len(out) == before {
			t.Errorf("no recording has a number in %s", part)
		}
	}
	return out
}

func headerOf(rec recording.Recording) http.Header {
	h := http.Header{}
	for name, value := range rec.Header {
		h.Set(name, value)
	}
	return h
}
