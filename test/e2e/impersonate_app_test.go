package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// TestTheImpersonateAppGivesNothingToPublish shows on a real Nextcloud with the app "impersonate" why the operator does
// not use it; docs/impersonation.md tells what it finds. Impersonation lives in a web session: a request without that
// session's cookies is the administrator's again, and so is an app password that is fetched inside the session.
//
// It needs an administrator, and a user who has logged in before. It makes one app password and deletes it.
func TestTheImpersonateAppGivesNothingToPublish(t *testing.T) {
	env := map[string]string{}
	for _, name := range []string{"NEXTCLOUD_URL", "NEXTCLOUD_ADMIN_USER", "NEXTCLOUD_ADMIN_PASSWORD", "NEXTCLOUD_IMPERSONATE_USER"} {
		if env[name] = os.Getenv(name); env[name] == "" {
			t.Skipf("%s is not set: this test needs a real Nextcloud with the app impersonate, the name and password of an administrator, "+
				"and the name of a user who has logged in before", name)
		}
	}
	n := newWeb(t, env["NEXTCLOUD_URL"])
	admin, password, user := env["NEXTCLOUD_ADMIN_USER"], env["NEXTCLOUD_ADMIN_PASSWORD"], env["NEXTCLOUD_IMPERSONATE_USER"]

	// Without a session: the app says yes, and nothing has changed for the next request.
	basic := func(r *http.Request) {
		r.SetBasicAuth(admin, password)
		r.Header.Set("OCS-APIRequest", "true") // without it the app says 412
	}
	n.must(http.StatusOK, n.request(n.stateless, http.MethodPost, "/index.php/apps/impersonate/user", impersonated(user), basic))
	if got := n.user(n.stateless, basic); got != admin {
		t.Errorf("after a stateless impersonation the next request is %q, not the administrator", got)
	}

	// With a session: its own requests are the user's …
	n.logIn(admin, password)
	n.must(http.StatusOK, n.request(n.session, http.MethodPost, "/index.php/apps/impersonate/user", impersonated(user), n.withToken()))
	t.Cleanup(func() {
		n.request(n.session, http.MethodPost, "/index.php/apps/impersonate/logout", "", n.withToken())
	})
	if got := n.user(n.session); got != user {
		t.Errorf("inside the session the request is %q, not the impersonated user", got)
	}

	// … but the app password that the session gets is the administrator's.
	var made struct {
		AppPassword string `json:"apppassword"`
	}
	n.data(n.must(http.StatusOK, n.request(n.session, http.MethodGet, "/ocs/v2.php/core/getapppassword?format=json", "")), &made)
	client := nextcloud.Client{URL: n.base}
	app := nextcloud.AppPassword{User: admin, Password: sensitive.New(made.AppPassword)}
	t.Cleanup(func() {
		if err := client.Delete(context.WithoutCancel(t.Context()), app); err != nil {
			t.Errorf("delete the app password that this test made, %s has it: %v", admin, err)
		}
	})
	v := client.Check(t.Context(), app.Password, nextcloud.Expect{}, nextcloud.Hints{})
	if v.Identity == nil || v.Identity.User != admin {
		t.Errorf("the app password of the session is %+v, not the administrator's: %s", v.Identity, v.Message)
	}
}

func impersonated(user string) string {
	body, _ := json.Marshal(map[string]string{"userId": user}) // a string is always JSON
	return string(body)
}

// web is a Nextcloud as a browser sees it, and as a client without cookies does.
type web struct {
	t                  *testing.T
	base               string
	session, stateless *http.Client
}

func newWeb(t *testing.T, base string) *web {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &web{
		t: t, base: strings.TrimSuffix(base, "/"),
		session:   &http.Client{Jar: jar, CheckRedirect: stay, Timeout: time.Minute},
		stateless: &http.Client{CheckRedirect: stay, Timeout: time.Minute},
	}
}

// reply is an answer, read to its end.
type reply struct {
	what, location string
	status         int
	body           []byte
}

func (n *web) request(c *http.Client, method, path, body string, edit ...func(*http.Request)) reply {
	n.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(n.t.Context()), method, n.base+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/ocs/") {
		req.Header.Set("OCS-APIRequest", "true")
	}
	for _, f := range edit {
		f(req)
	}
	res, err := c.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return reply{method + " " + path, res.Header.Get("Location"), res.StatusCode, out}
}

// must ends the test on another status: the first wrong password must be the last, because Nextcloud counts them.
func (n *web) must(status int, a reply) []byte {
	n.t.Helper()
	if a.status != status {
		n.t.Fatalf("%s: %d %.300s, want %d", a.what, a.status, a.body, status)
	}
	return a.body
}

// data reads the data of an OCS answer.
func (n *web) data(body []byte, into any) {
	n.t.Helper()
	answer := struct {
		OCS struct {
			Data any `json:"data"`
		} `json:"ocs"`
	}{}
	answer.OCS.Data = into
	if err := json.Unmarshal(body, &answer); err != nil {
		n.t.Fatal(err)
	}
}

// user is who a request is.
func (n *web) user(c *http.Client, edit ...func(*http.Request)) string {
	n.t.Helper()
	var who struct {
		ID string `json:"id"`
	}
	n.data(n.must(http.StatusOK, n.request(c, http.MethodGet, "/ocs/v2.php/cloud/user?format=json", "", edit...)), &who)
	return who.ID
}

// token is the session's token against forged requests.
func (n *web) token() string {
	n.t.Helper()
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(n.must(http.StatusOK, n.request(n.session, http.MethodGet, "/index.php/csrftoken", "")), &answer); err != nil {
		n.t.Fatal(err)
	}
	return answer.Token
}

func (n *web) withToken() func(*http.Request) {
	n.t.Helper()
	token := n.token()
	return func(r *http.Request) { r.Header.Set("requesttoken", token) }
}

// logIn fills in the login form: the page gives the cookies, the answer leads to where the user starts.
func (n *web) logIn(user, password string) {
	n.t.Helper()
	n.must(http.StatusOK, n.request(n.session, http.MethodGet, "/index.php/login", ""))
	form := url.Values{"user": {user}, "password": {password}, "requesttoken": {n.token()}, "timezone": {"UTC"}, "timezone_offset": {"0"}}
	answer := n.request(n.session, http.MethodPost, "/index.php/login", form.Encode(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", n.base)
	})
	n.must(http.StatusSeeOther, answer)
	if strings.Contains(answer.location, "/login") {
		n.t.Fatalf("the login form leads to %s", answer.location)
	}
}
