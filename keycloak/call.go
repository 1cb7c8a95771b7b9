package keycloak

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/tokengrant/tokengrant/internal/stage"
)

// call sends a form to an endpoint that answers with something else than a token, and returns the body of a good answer.
// The client authenticates as it does at the token endpoint.
func (c Client) call(ctx context.Context, a asked, endpoint string, params url.Values) (_ []byte, err error) {
	ctx, end := stage.Begin(ctx, a.op)
	defer func() { end(err) }()
	cfg, err := c.authenticated(ctx, &a, endpoint, params)
	if err != nil {
		return nil, err
	}
	form := cfg.EndpointParams
	if cfg.AuthStyle == oauth2.AuthStyleInParams {
		for name, value := range map[string]string{"client_id": cfg.ClientID, "client_secret": cfg.ClientSecret} {
			if value != "" {
				form.Set(name, value)
			}
		}
	}
	if len(cfg.Scopes) > 0 {
		form.Set("scope", strings.Join(cfg.Scopes, " "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, noAnswer(a.op, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cfg.AuthStyle == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(cfg.ClientID), url.QueryEscape(cfg.ClientSecret))
	}
	clean := newCleaner(c.ID, secretsOf(cfg)...)
	resp, err := withReader(c.HTTP, a.op, func(_ string, resp *http.Response, body []byte) ([]byte, error) {
		if resp.StatusCode < 200 || resp.StatusCode > 299 {
			return nil, classify(a, answerOf(resp, body), clean)
		}
		return body, nil
	}).Do(req)
	if err != nil {
		return nil, noAnswer(a.op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, noAnswer(a.op, err)
	}
	return body, nil
}

// notOffered says that the discovery document does not name an endpoint.
func notOffered(op, endpoint, hint string) *Error {
	return &Error{
		Op: op, Reason: ReasonGrantTypeUnsupported,
		Description: "the discovery document has no " + endpoint, Hint: hint,
	}
}
