package nextcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// maxBody is far above any answer to what is asked here. An answer of that size is not read: it may be cut.
const maxBody = 1 << 20

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// askOCS sends one request without a body to the OCS API, as the bearer.
func (c Client) askOCS(ctx context.Context, method string, base *url.URL, path string, bearer sensitive.String) (answer, error) {
	req, err := newOCS(ctx, method, base, path, nil)
	if err != nil {
		return answer{}, err
	}
	return c.sendAs(req, bearer)
}

func newOCS(ctx context.Context, method string, base *url.URL, path string, body io.Reader) (*http.Request, error) {
	target := base.JoinPath(path)
	target.RawQuery = "format=json"
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("OCS-APIRequest", "true")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// sendAs sends the request as the bearer. "Bearer" is written in this case on purpose: BEARER is not understood.
func (c Client) sendAs(req *http.Request, bearer sensitive.String) (answer, error) {
	req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	req.Header.Set("User-Agent", c.userAgent())
	return c.send(req)
}

func (c Client) send(req *http.Request) (answer, error) {
	res, err := c.stateless().Do(req) //nolint:gosec // asking the URL of the specification is the purpose; the caller's client has the dial policy
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
