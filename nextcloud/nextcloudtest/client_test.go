package nextcloudtest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// The tests of this file run the operator's own client against the stand-in.

func (s *stage) client() nextcloud.Client { return nextcloud.Client{URL: s.url} }

// reason is that of an *Error, and empty without an error.
func reason(t *testing.T, err error) string {
	t.Helper()
	var e *nextcloud.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e == nil {
		return ""
	}
	return e.Reason
}

func TestTheLifeOfAnAppPassword(t *testing.T) {
	s := cloud(t)
	works := func(p nextcloud.AppPassword) bool {
		return s.check(p.Password, nextcloud.Expect{User: "alice"}).Outcome == nextcloud.Accepted
	}
	names := func(want ...string) {
		t.Helper()
		if diff := gocmp.Diff(want, s.server.AppPasswordNames("alice")); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	}
	first, err := s.client().LogIn(t.Context(), "alice", password, "tokengrant apps/notes 1")
	if err != nil {
		t.Fatal(err)
	}
	names("tokengrant apps/notes 1")
	if len(first.Password.Reveal()) != appPasswordLength || !works(first) {
		t.Errorf("an app password of %d characters, works: %v", len(first.Password.Reveal()), works(first))
	}

	_, err = s.client().LogIn(t.Context(), "alice", first.Password, "tokengrant apps/notes 2")
	if got := reason(t, err); got != nextcloud.ReasonForbidden || !strings.Contains(err.Error(), "log in with the account's password") {
		t.Errorf("a login with an app password: %v", err)
	}

	second, err := s.client().Rotate(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	names("tokengrant apps/notes 1") // the name stays
	if !works(first) || !works(second) {
		t.Errorf("right after the rotation: old %v, new %v", works(first), works(second))
	}
	s.clock.SetTime(start.Add(overlap - time.Nanosecond))
	if !works(first) {
		t.Error("the old secret ended within the overlap")
	}
	s.clock.SetTime(start.Add(overlap))
	if works(first) || !works(second) {
		t.Errorf("after the overlap: old %v, new %v", works(first), works(second))
	}

	third, err := s.client().LogIn(t.Context(), "alice", password, "tokengrant apps/notes 3")
	if err != nil {
		t.Fatal(err)
	}
	names("tokengrant apps/notes 1", "tokengrant apps/notes 3")
	if err := s.client().Delete(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	names("tokengrant apps/notes 3")
	if works(second) || !works(third) {
		t.Errorf("after the deletion: deleted %v, other %v", works(second), works(third))
	}
	if got := reason(t, s.client().Delete(t.Context(), second)); got != nextcloud.ReasonRejected {
		t.Errorf("the second deletion: %q", got)
	}
}

// TestAnAppPasswordOverHTTP2: the request of a login is made in an unusual way, see LogIn, which HTTP/2 must carry too.
func TestAnAppPasswordOverHTTP2(t *testing.T) {
	s := cloud(t)
	var protocols []string
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Proto)
		s.server.Handler().ServeHTTP(w, r)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	client := nextcloud.Client{URL: web.URL, HTTP: web.Client()}
	app, err := client.LogIn(t.Context(), "alice", password, "tokengrant")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Delete(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"HTTP/2.0", "HTTP/2.0"}, protocols); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
}

func TestAnAppPasswordComesAndGoesWithItsAccount(t *testing.T) {
	s := cloud(t)
	app, err := s.client().LogIn(t.Context(), "alice", password, "tokengrant")
	if err != nil {
		t.Fatal(err)
	}
	s.server.DisableUser("alice")
	_, err = s.client().LogIn(t.Context(), "alice", password, "tokengrant")
	if got := reason(t, err); got != nextcloud.ReasonCredential {
		t.Errorf("a login: %v", err)
	}
	if got := reason(t, s.client().Delete(t.Context(), app)); got != nextcloud.ReasonRejected {
		t.Errorf("a deletion: %q", got)
	}
	s.server.EnableUser("alice")
	if err := s.client().Delete(t.Context(), app); err != nil {
		t.Errorf("after it was enabled: %v", err)
	}
}

func TestARefusedLoginCountsAndAnAppPasswordAsBearerDoesNot(t *testing.T) {
	s := cloud(t)
	app, err := s.client().LogIn(t.Context(), "alice", password, "tokengrant")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * failuresToThrottle {
		if got := reason(t, s.client().Delete(t.Context(), nextcloud.AppPassword{User: "alice", Password: sensitive.New("wrong")})); got != nextcloud.ReasonRejected {
			t.Errorf("a wrong app password: %q", got)
		}
	}
	for range failuresToThrottle {
		_, err := s.client().LogIn(t.Context(), "alice", sensitive.New("wrong"), "tokengrant")
		if got := reason(t, err); got != nextcloud.ReasonCredential {
			t.Errorf("a wrong password: %v", err)
		}
	}
	_, err = s.client().LogIn(t.Context(), "alice", password, "tokengrant")
	if got := reason(t, err); got != nextcloud.ReasonThrottled {
		t.Errorf("the right password: %v", err)
	}
	if app, err = s.client().Rotate(t.Context(), app); err != nil {
		t.Errorf("an app password at an address that is throttled: %v", err)
	}
	if err := s.client().Delete(t.Context(), app); err != nil {
		t.Error(err)
	}
}

func TestPathsHaveTheAccessOfTheirPermissions(t *testing.T) {
	s := cloud(t)
	for _, folder := range []struct{ name, permissions string }{{"Notes", ""}, {"Notes/Ä & ö", ""}, {"Shared", "SG"}, {"Drop", "SCK"}} {
		if err := s.server.AddFolder("alice", folder.name, folder.permissions); err != nil {
			t.Fatal(err)
		}
	}
	s.request("PUT", "/remote.php/dav/files/alice/a.txt", basicAuth("alice", password), "one")
	s.server.PutUser(User{ID: "bob"})
	const r, w = nextcloud.Read, nextcloud.Write
	tests := []struct {
		user, path string
		access     nextcloud.Access
		reason     string
	}{
		{"alice", "/", r, ""},
		{"alice", "/", w, ""},
		{"alice", "/Notes", w, ""},
		{"alice", "/Notes/Ä & ö/", w, ""},
		{"alice", "a.txt", w, ""},
		{"alice", "/Shared", r, ""},
		{"alice", "/Shared", w, nextcloud.ReasonForbidden},
		{"alice", "/Drop", r, nextcloud.ReasonForbidden},
		{"alice", "/Drop", w, ""},
		{"alice", "/Gone", r, nextcloud.ReasonForbidden},
		{"bob", "/", r, nextcloud.ReasonForbidden},
		{"bob", "/Notes", r, nextcloud.ReasonForbidden},
		{"nobody", "/", r, nextcloud.ReasonForbidden},
	}
	for _, tt := range tests {
		for kind, secret := range map[string]sensitive.String{"a token": s.bearer(nil), "an app password": s.server.AddAppPassword("alice", "x")} {
			v := s.client().CheckPaths(t.Context(), secret, tt.user, []nextcloud.PathCheck{{Path: tt.path, Access: tt.access}}, nextcloud.Hints{})
			if v.Reason != tt.reason || (v.Outcome == nextcloud.Accepted) != (tt.reason == "") {
				t.Errorf("%s, %s %s of %s: %v %q: %s", kind, tt.access, tt.path, tt.user, v.Outcome, v.Reason, v.Message)
			}
		}
	}
	file := []nextcloud.PathCheck{{Path: "/a.txt", Access: w}}
	if !s.server.SetPermissions("alice", "/a.txt", "RGD") || s.server.SetPermissions("alice", "/Gone", "RGD") {
		t.Error("SetPermissions does not tell what exists")
	}
	if v := s.client().CheckPaths(t.Context(), s.bearer(nil), "alice", file, nextcloud.Hints{}); !strings.Contains(v.Message, `may not change the file "/a.txt"`) {
		t.Errorf("%v: %s", v.Outcome, v.Message)
	}
	s.server.SetMaintenance(true)
	if v := s.client().CheckPaths(t.Context(), s.bearer(nil), "alice", file, nextcloud.Hints{}); v.Reason != nextcloud.ReasonMaintenance {
		t.Errorf("in maintenance mode: %q", v.Reason)
	}
}

func TestStaleKeysEndByOcc(t *testing.T) {
	s := cloud(t)
	hints := nextcloud.Hints{NewKey: true, AcceptedBefore: true}
	if v := s.check(s.bearer(nil), nextcloud.Expect{}); v.Outcome != nextcloud.Accepted {
		t.Fatal(v.Message)
	}
	s.issuer.publish(keyLabNew, keyMCP)
	rotated := s.bearerOf(keyLabNew, nil)
	ask := func() string {
		v := s.client().Check(t.Context(), rotated, nextcloud.Expect{}, hints)
		return fmt.Sprint(v.Outcome, " ", v.StaleKeys)
	}
	if got := ask(); got != "Rejected true" {
		t.Errorf("after the rotation: %s", got)
	}
	if v := s.check(s.bearer(nil), nextcloud.Expect{}); v.Outcome != nextcloud.Accepted {
		t.Errorf("a token of the old key: %s", v.Message)
	}
	s.server.SetCheckBearer(true)
	if got := ask(); got != "Accepted false" {
		t.Errorf("after occ: %s", got)
	}
}
