package nextcloud

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	accountPassword = "canary-account-Ünlock"
	// accountBasic is "alice:" and that password in base64.
	accountBasic = "YWxpY2U6Y2FuYXJ5LWFjY291bnQtw5xubG9jaw=="
	oldSecret    = "canary-old-app-password"
	newSecret    = "canary-new-app-password"
)

func made(secret string) string { return ocs(`{"apppassword":"` + secret + `"}`) }

// operations are the three requests, as one function each.
var operations = map[string]func(t *testing.T, c Client) (AppPassword, error){
	"LogIn": func(t *testing.T, c Client) (AppPassword, error) {
		t.Helper()
		return c.LogIn(t.Context(), "alice", sensitive.New(accountPassword), "tokengrant apps/notes 2026-11-23T09:00:00Z")
	},
	"Rotate": func(t *testing.T, c Client) (AppPassword, error) {
		t.Helper()
		return c.Rotate(t.Context(), AppPassword{User: "alice", Name: "tokengrant apps/notes", Password: sensitive.New(oldSecret)})
	},
	"Delete": func(t *testing.T, c Client) (AppPassword, error) {
		t.Helper()
		return AppPassword{}, c.Delete(t.Context(), AppPassword{User: "alice", Name: "tokengrant apps/notes", Password: sensitive.New(oldSecret)})
	},
}

func TestEachOperationSendsOneRequest(t *testing.T) {
	want := map[string][]string{
		"LogIn":  {"GET", "/nc/ocs/v2.php/core/getapppassword?format=json", "Basic " + accountBasic, "tokengrant apps/notes 2026-11-23T09:00:00Z"},
		"Rotate": {"POST", "/nc/ocs/v2.php/core/apppassword/rotate?format=json", "Bearer " + oldSecret, "tokengrant"},
		"Delete": {"DELETE", "/nc/ocs/v2.php/core/apppassword?format=json", "Bearer " + oldSecret, "tokengrant"},
	}
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			var seen [][]string
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) > 0 || len(r.TransferEncoding) > 0 || r.Header.Get("OCS-APIRequest") != "true" || r.Header.Get("Cookie") != "" {
					t.Errorf("%d bytes %v, header %v", len(body), r.TransferEncoding, r.Header)
				}
				seen = append(seen, []string{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("User-Agent")})
				_, _ = io.WriteString(w, made(newSecret))
			})
			got, err := do(t, Client{URL: server.URL + "/nc"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]string{want[name]}, seen); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if name != "Delete" && (got.User != "alice" || got.Password.Reveal() != newSecret || !strings.HasPrefix(got.Name, "tokengrant apps/notes")) {
				t.Errorf("got %+v, %q", got, got.Password.Reveal())
			}
		})
	}
}

// soundError holds for every error, whatever the answer was.
func soundError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T is no *Error: %v", err, err)
	}
	for _, secret := range []string{accountPassword, accountBasic, oldSecret, newSecret, token} {
		if strings.Contains(e.Error(), secret) {
			t.Errorf("the error shows a secret: %v", e)
		}
	}
	if !slices.Contains(Reasons(), e.Reason) || e.Message == "" || len(e.Message) > maxMessage || e.RetryAfter < 0 || e.RetryAfter > longestRetryAfter {
		t.Errorf("%+v", e)
	}
	return e
}

const all = "LogIn Rotate Delete"

var appPasswordAnswers = map[string]struct {
	status  int
	body    string
	of      string
	reason  string
	says    string
	lost    bool
	seconds int
}{
	"401 to a password":             {401, `{"ocs":{"meta":{"statuscode":997,"message":"Unauthorised"}}}`, "LogIn", "CredentialRejected", `refuses user "alice" and this password: it is wrong`, false, 0},
	"401 by a proxy":                {401, "<html>", "LogIn", "CredentialRejected", "not tried again before it changes", false, 0},
	"a 200 that hides a 401":        {200, notLoggedIn, "LogIn", "CredentialRejected", "occ user:resetpassword", false, 0},
	"401 to an app password":        {401, notLoggedIn, "Rotate Delete", ReasonRejected, "log in anew", false, 0},
	"403 to a login":                {403, `{"ocs":{"meta":{"statuscode":403,"message":"no"}}}`, "LogIn", ReasonForbidden, "log in with the account's password", false, 0},
	"403 to an app password":        {403, `{"ocs":{"meta":{"statuscode":403,"message":"no app password in use"}}}`, "Rotate Delete", ReasonForbidden, "not as an app password", false, 0},
	"403 by a proxy":                {403, "<html>", all, ReasonInvalid, "in front of Nextcloud", false, 0},
	"404 by Nextcloud":              {404, `{"ocs":{"meta":{"statuscode":998,"message":"Invalid query"}}}`, all, ReasonInvalid, "Invalid query", false, 0},
	"a second factor":               {303, "", all, ReasonForbidden, "second factor", false, 0},
	"a redirect":                    {301, "", all, ReasonInvalid, "redirects", false, 0},
	"throttled":                     {429, `{"ocs":{"meta":{"statuscode":429,"message":"Reached maximum delay"}}}`, all, ReasonThrottled, "Reached maximum delay", false, 30},
	"maintenance":                   {503, `{"ocs":{"meta":{"statuscode":503,"message":""}}}`, all, ReasonMaintenance, "maintenance", false, 30},
	"a gateway that gave up":        {504, "<html>", all, ReasonUnreachable, "504", true, 30},
	"an error on the way":           {500, "", all, ReasonUnreachable, "500", true, 30},
	"200 without an app password":   {200, ocs(`[]`), "LogIn Rotate", ReasonInvalid, "names no app password", true, 0},
	"200 with one that is no ASCII": {200, made("äpp"), "LogIn Rotate", ReasonInvalid, "names no app password", true, 0},
	"200 of something else":         {200, "<html>", all, ReasonInvalid, "base URL", true, 0},
	"an answer without end":         {200, made(strings.Repeat("x", maxBody)), all, ReasonInvalid, "1 MiB or more", true, 0},
}

func TestRefusalsAndLostAnswers(t *testing.T) {
	for name, tt := range appPasswordAnswers {
		for operation, do := range operations {
			if !slices.Contains(strings.Fields(tt.of), operation) {
				continue
			}
			t.Run(name+" to "+operation, func(t *testing.T) {
				requests := 0
				server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					requests++
					if tt.seconds > 0 {
						w.Header().Set("Retry-After", "30")
					}
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				})
				_, err := do(t, Client{URL: server.URL})
				e := soundError(t, err)
				if e.Reason != tt.reason || !strings.Contains(e.Message, tt.says) || e.AnswerLost != tt.lost || e.RetryAfter.Seconds() != float64(tt.seconds) {
					t.Errorf("got  %q %s, lost %v, after %v\nwant %q …%s…, lost %v, after %d s", e.Reason, e.Message, e.AnswerLost, e.RetryAfter, tt.reason, tt.says, tt.lost, tt.seconds)
				}
				if requests != 1 {
					t.Errorf("%d requests", requests)
				}
			})
		}
	}
}

func TestNoErrorShowsWhatWasSent(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"ocs":{"meta":{"statuscode":998,"message":"no `+r.Header.Get("Authorization")+" "+password+`"}}}`)
	})
	for name, do := range operations {
		_, err := do(t, Client{URL: server.URL})
		if e := soundError(t, err); !strings.Contains(e.Message, sensitive.Redacted) {
			t.Errorf("%s: the server's text is not quoted: %v", name, e)
		}
	}
}

// TestABrokenConnectionIsNotTriedAgain: net/http repeats a GET when a connection that it kept is closed under it. A login
// must not be repeated: it may have made an app password, or may have been counted as a wrong password.
func TestABrokenConnectionIsNotTriedAgain(t *testing.T) {
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if requests.Add(1) == 1 {
					_, _ = io.WriteString(w, made(newSecret))
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			})
			c := Client{URL: server.URL, HTTP: &http.Client{Transport: &http.Transport{}}}
			if _, err := do(t, c); err != nil {
				t.Fatal(err)
			}
			_, err := do(t, c)
			if e := soundError(t, err); e.Reason != ReasonUnreachable || !e.AnswerLost || requests.Load() != 2 {
				t.Errorf("%d requests, lost %v: %v", requests.Load(), e.AnswerLost, e)
			}
		})
	}
}

func TestWhatNeverReachedNextcloudIsNotLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	strange := httptest.NewTLSServer(http.NotFoundHandler())
	defer strange.Close()
	guarded, err := httpclient.New(httpclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client Client
		reason string
	}{
		"nobody listens":         {Client{URL: "http://" + l.Addr().String()}, ReasonUnreachable},
		"an unknown authority":   {Client{URL: strange.URL}, ReasonUnreachable},
		"plain HTTP":             {Client{URL: "http://cloud.test", HTTP: guarded}, ReasonInvalid},
		"a URL of another world": {Client{URL: "ftp://cloud.test"}, ReasonInvalid},
	} {
		for operation, do := range operations {
			_, err := do(t, tt.client)
			if e := soundError(t, err); e.Reason != tt.reason || e.AnswerLost {
				t.Errorf("%s, %s: lost %v: %v", name, operation, e.AnswerLost, e)
			}
		}
	}
}

func TestALoginThatCannotBeRightIsNotSent(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	c := Client{URL: server.URL}
	for name, tt := range map[string]struct{ user, password, app, reason, says string }{
		"no user":                      {"", "p", "n", ReasonCredential, "user name is empty"},
		"no password":                  {"alice", "", "n", ReasonCredential, "password is empty"},
		"a line break after the name":  {"alice\n", "p", "n", ReasonCredential, "line break"},
		"a line break at the end":      {"alice", "p\r\n", "n", ReasonCredential, "line break"},
		"a control character":          {"alice", "p\x00q", "n", ReasonCredential, "control character"},
		"a colon in the user name":     {"a:b", "p", "n", ReasonCredential, "colon"},
		"no name of the app password":  {"alice", "p", "", ReasonInvalid, "1 to 120"},
		"a name that Nextcloud cuts":   {"alice", "p", strings.Repeat("n", 121), ReasonInvalid, "1 to 120"},
		"a name that no header has":    {"alice", "p", "n\r\nX-Evil: 1", ReasonInvalid, "printable"},
		"a name that is not for ASCII": {"alice", "p", "näme", ReasonInvalid, "ASCII"},
	} {
		_, err := c.LogIn(t.Context(), tt.user, sensitive.New(tt.password), tt.app)
		if e := soundError(t, err); e.Reason != tt.reason || !strings.Contains(e.Message, tt.says) || e.AnswerLost {
			t.Errorf("%s: %v", name, e)
		}
	}
	for _, secret := range []string{"", "a\nb", "ä"} {
		if e := soundError(t, c.Delete(t.Context(), AppPassword{User: "alice", Password: sensitive.New(secret)})); e.Reason != ReasonRejected || e.AnswerLost {
			t.Errorf("Delete with %q: %v", secret, e)
		}
	}
}
