package nextcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const (
	// userPath is the only endpoint that proves an identity: capabilities and status.php answer 200 to anybody,
	// and a PROPFIND of another user's home is answered 207. OCS v1 would hide 403, 404 and 429 behind a 200.
	userPath = "ocs/v2.php/cloud/user"
	// callLimit: with an issuer that hangs, Nextcloud itself needs 31 s to say no (measured), and up to 15 s for the
	// first login of a user it creates.
	callLimit = 40 * time.Second
	// maxBody is far above any OCS answer about one user. An answer of that size is not read as one: it may be cut.
	maxBody = 1 << 20
)

// question is what a check asks: everything that judging an answer needs besides the answer.
type question struct {
	bearer sensitive.String
	expect Expect
	hints  Hints
	host   string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// Check sends exactly one request, GET cloud/user with the token, and judges the answer. It takes at most 40 s, less
// if ctx ends earlier. Cookies are neither kept nor sent, because a session cookie outranks the Authorization header,
// and redirects are not followed, because the next host would get the token. A URL or a token that cannot be sent is
// told without a request. Check never fails: what goes wrong is a Verdict too.
func (c Client) Check(ctx context.Context, bearer sensitive.String, e Expect, h Hints) Verdict {
	base, err := baseURL(c.URL)
	if err != nil {
		return verdict(Unknown, ReasonInvalid, "%v", err)
	}
	if !fitsHeader(bearer.Reveal()) {
		return verdict(Rejected, ReasonRejected, "the token holds characters that an Authorization header cannot carry")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()

	q := question{bearer: bearer, expect: e, hints: h, host: base.Host}
	a, err := c.ask(ctx, base, bearer)
	if err != nil {
		return unsent(q, err)
	}
	return judge(a, q)
}

// ask sends the request. "Bearer" is written in this case on purpose: BEARER is not understood.
func (c Client) ask(ctx context.Context, base *url.URL, bearer sensitive.String) (answer, error) {
	target := base.JoinPath(userPath)
	target.RawQuery = "format=json"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	req.Header.Set("OCS-APIRequest", "true")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent())

	res, err := c.stateless().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }() // reading is over, there is nothing left to lose
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil && !errors.Is(err, httpclient.ErrTooLarge) { // too large is told by what was read
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// stateless is the caller's client without what must not take part. Its Timeout goes too: it may be shorter than
// Nextcloud needs to say no, and a yes or no lost to impatience is an Unknown.
func (c Client) stateless() *http.Client {
	hc := http.Client{}
	if c.HTTP != nil {
		hc = *c.HTTP
	}
	hc.Jar, hc.Timeout = nil, 0
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &hc
}

func (c Client) userAgent() string {
	if c.UserAgent == "" {
		return "tokengrant"
	}
	return c.UserAgent
}

// baseURL reads where Nextcloud is installed. Parse errors are not passed on: they quote the URL, which may hold a password.
func baseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("nextcloud.url is not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return nil, errors.New("nextcloud.url must be like https://cloud.example.com")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("nextcloud.url must have no user, no query and no fragment")
	}
	return u, nil
}

func fitsHeader(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
