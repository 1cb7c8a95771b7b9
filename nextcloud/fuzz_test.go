package nextcloud

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// recordedAnswers gives the recordings whose path begins so, as seeds.
func recordedAnswers(f *testing.F, paths ...string) []recording.Recording {
	f.Helper()
	all, err := recording.Load("testdata/recordings.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	var some []recording.Recording
	for _, r := range all {
		for _, path := range paths {
			if strings.HasPrefix(r.Path, path) {
				some = append(some, r)
			}
		}
	}
	if len(some) == 0 {
		f.Fatalf("no recordings of %v", paths)
	}
	return some
}

// FuzzAppPassword: whatever answers a login, it is an app password that fits a Secret and a header, or an *Error that
// shows neither the login nor the app password.
func FuzzAppPassword(f *testing.F) {
	for _, r := range recordedAnswers(f, "/"+logInPath, "/"+deletePath) {
		f.Add(r.Status, r.Header["Retry-After"], r.Body)
	}
	f.Add(200, "", `{"ocs":{"meta":{"statuscode":200},"data":{"apppassword":"new-canary"}}}`)
	f.Add(200, "", `{"ocs":{"meta":{"statuscode":997,"message":"bXk6bG9naW4tY2FuYXJ5 login-canary"},"data":{"apppassword":"x"}}}`)
	q := question{bearer: sensitive.New("login-canary"), basic: sensitive.New("bXk6bG9naW4tY2FuYXJ5"), host: "cloud.example.test", hints: Hints{Username: "my"}}
	f.Fuzz(func(t *testing.T, status int, retryAfter, body string) {
		a := answer{status, http.Header{"Retry-After": {retryAfter}, "Location": {body}}, []byte(body)}
		for _, refused := range []func(int, question) Verdict{loginRefused, appPasswordRefused} {
			secret, err := judgeAppPassword(a, q, refused)
			if err == nil {
				if s := secret.Reveal(); status != http.StatusOK || s == "" || len(s) > maxAppPassword || !fitsHeader(s) {
					t.Errorf("HTTP %d: taken for an app password: %q", status, s)
				}
				continue
			}
			if text := err.Error(); err.Reason == "" || len(err.Message) > maxMessage || strings.ContainsAny(text, "\n\r\x00\x1b") ||
				strings.Contains(text, "login-canary") || strings.Contains(text, "bXk6bG9naW4tY2FuYXJ5") {
				t.Errorf("not fit to be shown: %q", text)
			}
			if err.RetryAfter < 0 || err.RetryAfter > longestRetryAfter {
				t.Errorf("RetryAfter %s", err.RetryAfter)
			}
		}
	})
}

// FuzzFileURL: whatever Nextcloud calls the user and the spec calls the path, the request stays below the user's home on the
// same host.
func FuzzFileURL(f *testing.F) {
	for _, names := range [][2]string{{"alice", "/Notes"}, {"..", "/"}, {"a/b", "/../x"}, {"alice", "/%2e%2e/x"}, {"alice", "//evil.example"}, {"", ""}, {"alice", "/a\\..\\b?c#d"}, {"alice@[::1]", "/\x00"}} {
		f.Add(names[0], names[1])
	}
	base := &url.URL{Scheme: "https", Host: "cloud.example.test", Path: "/nextcloud"}
	f.Fuzz(func(t *testing.T, user, path string) {
		target, err := fileURL(base, user, PathCheck{Path: path, Access: Read})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Errorf("not fit to be shown: %q", err)
			}
			return
		}
		sent, err := http.NewRequestWithContext(t.Context(), "PROPFIND", target.String(), http.NoBody)
		if err != nil {
			t.Fatalf("cannot be sent: %v", err)
		}
		home := "/nextcloud/" + filesPath + "/" + url.PathEscape(user)
		wire := sent.URL.EscapedPath()
		if sent.URL.Host != base.Host || wire != home && !strings.HasPrefix(wire, home+"/") || sent.URL.RawQuery != "" || sent.URL.Fragment != "" {
			t.Errorf("user %q, path %q: %s", user, path, sent.URL)
		}
		for name := range strings.SplitSeq(wire, "/") {
			if plain, err := url.PathUnescape(name); err != nil || plain == ".." || plain == "." || strings.ContainsAny(plain, "/\\") {
				t.Errorf("user %q, path %q: %s goes elsewhere", user, path, wire)
			}
		}
	})
}
