package nextcloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// AppPassword is a password that Nextcloud made for one device or application, of one account. It works as the password
// of HTTP Basic with User, and as a bearer token. The second is the better form: a bearer is never throttled.
type AppPassword struct {
	// User is the name that was logged in with.
	User string
	// Name tells it from the account's others, in the user's settings and in occ user:auth-tokens:list USER.
	Name     string
	Password sensitive.String
}

const (
	logInPath  = "ocs/v2.php/core/getapppassword"
	deletePath = "ocs/v2.php/core/apppassword"
	rotatePath = "ocs/v2.php/core/apppassword/rotate"
	// maxAppName: Nextcloud cuts longer names, and what was cut off may be what tells two apart.
	maxAppName = 120
	// maxAppPassword is far more than the 72 characters of Nextcloud's own.
	maxAppPassword = 1024
)

// LogIn makes an app password from the password of an account. name is sent as the User-Agent, because Nextcloud takes
// the app password's name from there: 1 to 120 printable ASCII characters. The error is an *Error.
//
// ReasonCredential must never lead to a second try with the same password. Nextcloud counts wrong passwords by address:
// each makes the next answer slower, from 0.2 s up to 25 s, and after the eleventh all logins by Basic from this address,
// everybody's and with the right password, get 429 for half an hour (measured). For the same reason exactly one
// request is sent, also where net/http would repeat a GET, and a password that cannot be right is refused unsent.
//
// Error.AnswerLost means that Nextcloud may have made an app password that nobody knows. OCS cannot list app passwords,
// so this one cannot be found from here. It opens nothing, but it stays until the user or an administrator deletes it. So:
//   - give each try a name that says who made it and when, so that a human can tell the lost one from the one in use;
//   - store the answer before anything else is done, and delete the previous app password only after that;
//   - then log in again, slowly: what got lost may have been a refusal.
func (c Client) LogIn(ctx context.Context, user string, password sensitive.String, name string) (AppPassword, error) {
	base, err := baseURL(c.URL)
	if err != nil {
		return AppPassword{}, failure(verdict(Unknown, ReasonInvalid, "%v", err))
	}
	if err := checkLogin(user, password, name); err != nil {
		return AppPassword{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	ctx, connected := watch(ctx)

	// A body without a GetBody, though it is empty and not sent, keeps net/http from repeating the request when a kept
	// connection breaks.
	req, err := newOCS(ctx, http.MethodGet, base, logInPath, io.NopCloser(strings.NewReader("")))
	if err != nil {
		return AppPassword{}, failure(verdict(Unknown, ReasonInvalid, "nextcloud.url cannot be asked"))
	}
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password.Reveal())) // RFC 7617
	req.Header.Set("Authorization", "Basic "+basic)
	req.Header.Set("User-Agent", name)

	q := question{bearer: password, basic: sensitive.New(basic), host: base.Host, hints: Hints{Username: user}}
	a, err := c.send(req)
	if err != nil {
		return AppPassword{}, lost(unsent(q, err), connected.Load())
	}
	secret, failed := judgeAppPassword(a, q, loginRefused)
	if failed != nil {
		return AppPassword{}, failed
	}
	return AppPassword{User: user, Name: name, Password: secret}, nil
}

// Rotate changes the secret of an app password; its name stays. The old secret works for about 10 s longer (measured),
// too short for a Secret to reach every reader: where the account's password is at hand, LogIn and a later Delete of
// the old one leave as much time as is needed. The error is an *Error.
//
// With Error.AnswerLost the secret may have changed, and then the old one ends within 10 s and nobody knows the new one:
// try the old one by Check after that time, and log in anew if it is refused. Delete what is left by hand.
func (c Client) Rotate(ctx context.Context, p AppPassword) (AppPassword, error) {
	a, q, err := c.asAppPassword(ctx, http.MethodPost, rotatePath, p)
	if err != nil {
		return AppPassword{}, err
	}
	secret, failed := judgeAppPassword(a, q, appPasswordRefused)
	if failed != nil {
		return AppPassword{}, failed
	}
	return AppPassword{User: p.User, Name: p.Name, Password: secret}, nil
}

// Delete deletes an app password at Nextcloud. It ends at once, but the secrets it had before a rotation keep their
// 10 s. The error is an *Error. ReasonRejected means that Nextcloud does not let it in: it is gone already, so that
// a Delete may be repeated after Error.AnswerLost, or its account is disabled and it returns with the account.
func (c Client) Delete(ctx context.Context, p AppPassword) error {
	a, q, err := c.asAppPassword(ctx, http.MethodDelete, deletePath, p)
	if err != nil {
		return err
	}
	if _, failed := judgeOCS(a, q, appPasswordRefused); failed != nil {
		return failed
	}
	return nil
}

// asAppPassword sends one request with the app password as a bearer.
func (c Client) asAppPassword(ctx context.Context, method, path string, p AppPassword) (answer, question, error) {
	base, err := baseURL(c.URL)
	if err != nil {
		return answer{}, question{}, failure(verdict(Unknown, ReasonInvalid, "%v", err))
	}
	if p.Password.IsZero() || !fitsHeader(p.Password.Reveal()) {
		return answer{}, question{}, failure(verdict(Rejected, ReasonRejected, "this is no app password of Nextcloud"))
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	ctx, connected := watch(ctx)

	q := question{bearer: p.Password, host: base.Host, hints: Hints{Username: p.User}}
	a, err := c.askOCS(ctx, method, base, path, p.Password)
	if err != nil {
		return answer{}, q, lost(unsent(q, err), connected.Load())
	}
	return a, q, nil
}

// watch tells whether a request got a connection. Until then nothing can have reached Nextcloud.
func watch(ctx context.Context) (context.Context, *atomic.Bool) {
	var connected atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), &connected
}

// checkLogin refuses what HTTP Basic cannot carry, and so cannot be right: it would only be counted as a wrong password.
func checkLogin(user string, password sensitive.String, name string) *Error {
	secret := password.Reveal()
	why := ""
	switch {
	case user == "":
		why = "the user name is empty"
	case secret == "":
		why = "the password is empty"
	case strings.HasSuffix(user, "\n"), strings.HasSuffix(secret, "\n"):
		why = "the user name or the password ends in a line break: write them without one"
	case strings.ContainsFunc(user+secret, unicode.IsControl):
		why = "the user name or the password holds a control character"
	case strings.Contains(user, ":"):
		why = "a user name with a colon cannot log in by HTTP Basic"
	case name == "", len(name) > maxAppName, strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return failure(verdict(Unknown, ReasonInvalid, "the name of an app password has 1 to %d printable ASCII characters", maxAppName))
	}
	if why == "" {
		return nil
	}
	return failure(verdict(Rejected, ReasonCredential, "%s (nothing was sent to Nextcloud)", why))
}

// parseAppPassword reads the data of getapppassword and of rotate. False means that there is none in it.
func parseAppPassword(data json.RawMessage) (sensitive.String, bool) {
	var made struct {
		AppPassword string `json:"apppassword"`
	}
	if json.Unmarshal(data, &made) != nil || made.AppPassword == "" || len(made.AppPassword) > maxAppPassword || !fitsHeader(made.AppPassword) {
		return sensitive.String{}, false
	}
	return sensitive.New(made.AppPassword), true
}
