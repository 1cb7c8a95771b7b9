package keycloak

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/internal/stage"
)

// Client is one OAuth client at one issuer. It keeps no state and is cheap to build.
type Client struct {
	Provider *Provider
	ID       string
	Auth     ClientAuth
	// HTTP sends the requests. Redirects are never followed, whatever it says about them.
	HTTP *http.Client
}

// Token is an answer of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1). Nothing in it is verified.
type Token struct {
	AccessToken sensitive.String
	// TokenType is always Bearer, in the server's spelling (RFC 6749 §7.1: the case does not matter).
	TokenType       string
	IssuedTokenType string
	// Scopes are those granted; the requested ones when the server does not say (RFC 6749 §5.1).
	Scopes []string
	// ExpiresIn is the life in seconds as the server said it: it may be 0, negative or huge. A fraction is cut
	// off. It is nil when the server said nothing, or something that is no number.
	ExpiresIn *int64
	// RefreshToken is empty with grants that open no session.
	RefreshToken sensitive.String
	// Sent is what the request carried that nobody may be shown.
	Sent []sensitive.String
}

// ClientCredentials mints a token of the client's own service account (RFC 6749 §4.4).
//
// Errors: IssuerUnreachable, Throttled, IssuerInvalid, CredentialMissing, ClientRejected, ServiceAccountDisabled,
// GrantTypeUnsupported, ScopeInvalid, TokenMalformed.
func (c Client) ClientCredentials(ctx context.Context, scopes []string) (Token, error) {
	return c.post(ctx, asked{op: opClientCredentials, scopes: scopes}, url.Values{})
}

// post is the one way over the wire. params go into the body as they are; a grant_type among them replaces
// client_credentials.
func (c Client) post(ctx context.Context, a asked, params url.Values) (_ Token, err error) {
	ctx, end := stage.Begin(ctx, a.op)
	defer func() { end(err) }()
	cfg, err := c.authenticated(ctx, &a, c.Provider.TokenEndpoint, params)
	if err != nil {
		return Token{}, err
	}
	var expiresIn *int64
	hc := withReader(c.HTTP, a.op, func(_ string, resp *http.Response, body []byte) ([]byte, error) {
		// x/oauth2 would read a JSON object that calls itself text/plain as a form.
		resp.Header.Set("Content-Type", "application/json")
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			body, expiresIn = takeExpiresIn(body)
		}
		return body, nil
	})
	t, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, hc))
	if err != nil {
		return Token{}, tokenError(a, err, newCleaner(c.ID, secretsOf(cfg)...))
	}
	sent := secretsOf(cfg)
	token, err := tokenOf(a, t, expiresIn, newCleaner(c.ID, append(sent, t.AccessToken, t.RefreshToken)...))
	for _, secret := range sent {
		if err == nil && secret != "" {
			token.Sent = append(token.Sent, sensitive.New(secret))
		}
	}
	return token, err
}

// takeExpiresIn takes expires_in out of an answer. x/oauth2 refuses the whole answer when it is no whole number of 64 bits.
func takeExpiresIn(body []byte) (rest []byte, seconds *int64) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body, nil
	}
	said := fields["expires_in"]
	delete(fields, "expires_in")
	rest, err := json.Marshal(fields)
	if err != nil {
		return body, nil
	}
	// RFC 6749 wants a number; some servers send it as a string.
	f, err := strconv.ParseFloat(strings.Trim(string(said), `"`), 64)
	if math.IsNaN(f) || err != nil && !errors.Is(err, strconv.ErrRange) {
		return rest, nil
	}
	var n int64
	switch {
	case f >= math.MaxInt64:
		n = math.MaxInt64
	case f <= math.MinInt64:
		n = math.MinInt64
	default:
		n = int64(f)
	}
	return rest, &n
}

// tokenOf checks that the answer is a token that pods can use.
func tokenOf(a asked, t *oauth2.Token, expiresIn *int64, clean cleaner) (Token, error) {
	text := func(field string) string {
		s, _ := t.Extra(field).(string)
		return s
	}
	malformed := func(description, hint string) (Token, error) {
		return Token{}, &Error{
			Op: a.op, Reason: ReasonTokenMalformed, Description: description, Hint: a.fill(hint),
		}
	}
	wanted := []string{"", tokenTypeAccessToken}
	if a.op == opImpersonation {
		wanted = append(wanted, tokenTypeRefreshToken) // beside the access token
	}
	switch issued := text("issued_token_type"); {
	case t.TokenType == "":
		return malformed("the answer has no token_type", "RFC 6749 §5.1 requires it; look at the issuer")
	case strings.EqualFold(t.TokenType, "DPoP"):
		return malformed("the token_type is DPoP", `switch off "Require DPoP bound tokens" on client {client}: pods that mount a token cannot prove possession of a key`)
	case !strings.EqualFold(t.TokenType, "Bearer"):
		return malformed("the token_type is "+clean.text(t.TokenType), "only Bearer tokens can be published")
	case !slices.Contains(wanted, issued):
		return malformed("the issued_token_type is "+clean.text(issued), "an access token was asked for; look at the issuer")
	}
	scopes := strings.Fields(text("scope"))
	if _, said := t.Extra("scope").(string); !said {
		scopes = a.scopes
	}
	return Token{
		AccessToken:     sensitive.New(t.AccessToken),
		TokenType:       t.TokenType,
		IssuedTokenType: text("issued_token_type"),
		Scopes:          scopes,
		ExpiresIn:       expiresIn,
		RefreshToken:    sensitive.New(t.RefreshToken),
	}, nil
}

// tokenError turns an error of x/oauth2 into ours and leaves its text, which may quote the body, behind.
func tokenError(a asked, err error, clean cleaner) *Error {
	var known *Error
	var refused *oauth2.RetrieveError
	var wire *url.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused):
		return classify(a, answer{
			status: refused.Response.StatusCode, header: refused.Response.Header,
			code: refused.ErrorCode, description: refused.ErrorDescription,
		}, clean)
	case errors.As(err, &wire), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return noAnswer(a.op, err)
	}
	return &Error{
		Op: a.op, Reason: ReasonTokenMalformed,
		Description: "the answer is not a JSON object with an access_token (RFC 6749 §5.1)",
		Hint:        "correct the issuer URL, and look at the proxies on the way",
	}
}

// answerOf reads a failed answer whose body is already here.
func answerOf(resp *http.Response, body []byte) answer {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	// Not JSON: then there is no code, which is a finding of its own.
	_ = json.Unmarshal(body, &said)
	return answer{status: resp.StatusCode, header: resp.Header, code: said.Code, description: said.Description}
}
