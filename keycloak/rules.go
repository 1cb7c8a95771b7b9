package keycloak

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// asked is what a request wanted: it gives an answer its meaning, and its hint the names.
type asked struct {
	op       string
	clientID string
	audience []string
	scopes   []string
}

// answer is an HTTP answer that brought no token.
type answer struct {
	status      int
	header      http.Header
	code        string // "error" of RFC 6749 §5.2, as sent
	description string // "error_description", as sent
}

// rule gives one kind of answer its meaning. An empty field matches everything, code noCode only an answer without one.
type rule struct {
	op     string
	status int
	code   string
	says   string // text within the description: the tie-breaker where Keycloak uses one code for many faults

	reason string
	class  Class
	hint   string // {client}, {audience} and {scopes} stand for what was asked
}

// noCode matches an answer without an OAuth error code: it comes from something else than a token endpoint.
const noCode = "-"

// rules is the only place that reads descriptions. The first match wins, so the special stands above the general.
// A version behind a rule: only that Keycloak sends it. V1: where the feature token-exchange:v1 is on.
var rules = []rule{
	// Answers that pass.
	{status: 429, reason: ReasonThrottled, class: Retry, hint: "the issuer asks for fewer requests; lower the limits of the issuer object"},
	{status: 408, reason: ReasonIssuerUnreachable, class: Retry, hint: "the issuer waited too long for the request"},
	{op: opVerify, reason: ReasonIssuerUnreachable, class: Retry, hint: "the issuer's signing keys (jwks_uri) could not be fetched"},

	// The realm.
	{status: 404, code: "Realm does not exist", reason: ReasonIssuerInvalid, class: Refused, hint: "create the realm, or correct the issuer URL"},
	{status: 403, code: "access_denied", says: "Realm not enabled", reason: ReasonIssuerInvalid, class: Refused, hint: "enable the realm"},

	// The client: who it is.
	{code: "unauthorized_client", says: "not enabled to retrieve service account", reason: ReasonServiceAccountDisabled, class: Refused, hint: `switch on "Service accounts roles" on client {client}`},
	{code: "unauthorized_client", says: "Public client not allowed to retrieve service account", reason: ReasonServiceAccountDisabled, class: Refused, hint: `client {client} is public: switch on "Client authentication" and "Service accounts roles" on it`},
	{code: "invalid_request", says: "User 'service-account-", reason: ReasonServiceAccountDisabled, class: Refused, hint: "enable the service account user of client {client}"},
	{code: "invalid_client", says: "client_assertion", reason: ReasonClientRejected, class: Refused, hint: `client {client} does not take a client secret: set its "Client Authenticator" to "Client Id and Secret", or authenticate as it expects`},
	{code: "unauthorized_client", says: "Unexpected error when authenticating client", reason: ReasonClientRejected, class: Refused, hint: `client {client} cannot authenticate in this way: look at its "Client Authenticator"`}, // 26.4
	{says: "Token reuse detected", reason: ReasonClientRejected, class: Refused, hint: "the client assertion was used before and client {client} takes each only once"},
	{says: "Token is not active", reason: ReasonClientRejected, class: Refused, hint: "the client assertion has expired; compare the clocks of the issuer and of this cluster"},
	{says: "issued in the future", reason: ReasonClientRejected, class: Refused, hint: "the clock of this cluster is ahead of the issuer's"},
	{op: opClientCredentials, code: "invalid_client", says: "audience", reason: ReasonClientRejected, class: Refused, hint: "the client assertion must have the issuer URL as its only audience"},
	{says: "Signature on JWT", reason: ReasonClientRejected, class: Refused, hint: "the key that signs the client assertion is not registered for client {client}"},
	{says: "DPoP proof", reason: ReasonClientRejected, class: Refused, hint: `switch off "Require DPoP bound tokens" on client {client} (and do not exchange a DPoP-bound subject token): pods that mount a token cannot prove possession of a key`},
	{says: "MTLS HoK", reason: ReasonClientRejected, class: Refused, hint: `switch off "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled" on client {client}: pods that mount a token do not have its certificate`},

	// The exchange: what the client may do, and for whom.
	{code: "invalid_request", says: "token exchange is not enabled", reason: ReasonExchangeNotEnabled, class: Refused, hint: exchangeHint},
	{code: "access_denied", says: "Client not allowed to exchange", reason: ReasonExchangeNotEnabled, class: Refused, hint: exchangeHint}, // V1
	{code: "invalid_client", says: "Public client is not allowed to exchange", reason: ReasonExchangeNotEnabled, class: Refused, hint: `switch on "Client authentication" on client {client}: public clients may not exchange`},
	{code: "access_denied", says: "not the holder of the token", reason: ReasonExchangeNotEnabled, class: Refused, hint: exchangeHint}, // V1, public client
	{code: "access_denied", says: "not within the token audience", reason: ReasonNotInSubjectAudience, class: Refused, hint: `the subject token must have {client} in its aud: add an "Audience" mapper for {client} to a client scope of the client that mints it`},
	{code: "invalid_client", says: "Audience not found", reason: ReasonAudienceNotAvailable, class: Refused, hint: "the realm has no client {audience}: create it, or correct spec.exchange.audience"},
	{op: opTokenExchange, code: "invalid_client", says: "Client disabled", reason: ReasonAudienceNotAvailable, class: Refused, hint: "client {audience} is disabled: enable it"},
	{code: "invalid_request", says: "Requested audience not available", reason: ReasonAudienceNotAvailable, class: Refused, hint: `add an "Audience" mapper for {audience} to a client scope of client {client}; where that scope is optional, name it in spec.exchange.scopes; switch off "Always use lightweight access token" on {client}`},
	{code: "invalid_target", reason: ReasonAudienceNotAvailable, class: Refused, hint: "the issuer does not give client {client} tokens for {audience}"}, // RFC 8693 §2.2.2
	{code: "invalid_scope", reason: ReasonScopeInvalid, class: Refused, hint: "client {client} cannot ask for {scopes}: add the scope to its client scopes as optional, or correct the scopes of the grant"},

	// The general: what a code means when its description is not known.
	{op: opTokenExchange, code: "unsupported_grant_type", reason: ReasonGrantTypeUnsupported, class: Refused, hint: "the issuer has no standard token exchange: use Keycloak 26.2 or newer and do not disable its feature token-exchange-standard"},
	{code: "unsupported_grant_type", reason: ReasonGrantTypeUnsupported, class: Refused, hint: "the issuer does not offer this grant; switch the feature on there"},
	{code: "unauthorized_client", reason: ReasonClientRejected, class: Refused, hint: "the client secret of {client} is wrong: copy it from its Credentials page, without a newline at its end"},
	{code: "invalid_client", reason: ReasonClientRejected, class: Refused, hint: "client {client} does not exist in the realm, is disabled, or does not authenticate in this way"},
	{op: opTokenExchange, code: "access_denied", reason: ReasonExchangeNotEnabled, class: Refused, hint: exchangeHint},
	{op: opTokenExchange, code: "invalid_request", reason: ReasonSubjectTokenInvalid, class: Refused, hint: subjectHint},
	{op: opTokenExchange, code: "invalid_grant", reason: ReasonSubjectTokenInvalid, class: Refused, hint: subjectHint},
	{op: opTokenExchange, code: "invalid_token", reason: ReasonSubjectTokenInvalid, class: Refused, hint: subjectHint},
	{code: "temporarily_unavailable", reason: ReasonIssuerUnreachable, class: Retry, hint: "the issuer is overloaded or in maintenance"},
	{code: "server_error", reason: ReasonIssuerUnreachable, class: Retry, hint: "the issuer has an internal error; look at its log"},
	{op: opDiscovery, reason: ReasonIssuerInvalid, class: Refused, hint: "the issuer URL must be the one of the realm, https://<host>/realms/<realm>, where its discovery document is found"},
	{code: noCode, reason: ReasonIssuerInvalid, class: Refused, hint: "this is no answer of a token endpoint: correct the issuer URL, and look at the proxies on the way"},
	{reason: ReasonRequestRefused, class: Refused, hint: "the issuer's log says more about client {client}"},
}

const (
	exchangeHint = "set the attribute standard.token.exchange.enabled=true on client {client}"
	subjectHint  = "the issuer does not accept the subject token: expired, revoked, logged out, of another realm, or its user or client is disabled"
)

// codes are the error codes an Error shows: RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 8693 §2.2.2, and Keycloak's own.
var codes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "server_error", "temporarily_unavailable", "invalid_token", "insufficient_scope", "invalid_target",
	"invalid_issuer", "not_allowed", "unknown_error", "Realm does not exist",
}

// classify turns an answer into an Error.
func classify(a asked, ans answer, clean cleaner) *Error {
	code := ans.code
	if !slices.Contains(codes, code) {
		code = ""
	}
	e := &Error{
		Op: a.op, Code: code, Status: ans.status, Description: clean.text(ans.description),
		RetryAfter: retryAfter(ans.header),
	}
	switch {
	case ans.status >= 500:
		e.Reason, e.Class, e.Hint = ReasonIssuerUnreachable, Retry, "the issuer, or a proxy before it, has a fault; look at its log"
		return e
	case ans.status >= 300 && ans.status < 400:
		e.Reason, e.Class, e.Hint = ReasonIssuerInvalid, Refused, redirectHint(ans.header, clean)
		return e
	}
	r := rules[ruleFor(a.op, ans.status, code, ans.description)]
	e.Reason, e.Class, e.Hint = r.reason, r.class, a.fill(r.hint)
	return e
}

// ruleFor returns the index of the first rule that matches. The last one always does.
func ruleFor(op string, status int, code, description string) int {
	return slices.IndexFunc(rules, func(r rule) bool { return r.matches(op, status, code, description) })
}

func (r rule) matches(op string, status int, code, description string) bool {
	return (r.op == "" || r.op == op) &&
		(r.status == 0 || r.status == status) &&
		(r.code == "" || r.code == code || r.code == noCode && code == "") &&
		strings.Contains(description, r.says)
}

// fill puts the names of the request into a hint.
func (a asked) fill(hint string) string {
	list := func(names []string) string {
		quoted := make([]string, len(names))
		for i, n := range names {
			quoted[i] = strconv.Quote(cleaner{}.text(n))
		}
		return strings.Join(quoted, ", ")
	}
	return strings.NewReplacer(
		"{client}", list([]string{a.clientID}),
		"{audience}", list(a.audience),
		"{scopes}", list(a.scopes),
	).Replace(hint)
}

// redirectHint names the origin a redirect leads to. It is not followed: a POST would carry the credentials there.
func redirectHint(h http.Header, clean cleaner) string {
	hint := "the issuer redirects, and redirects are not followed: set the issuer URL to the final address"
	if origin, ok := originOf(h.Get("Location")); ok {
		hint += ", on " + clean.text(origin)
	}
	return hint
}

// retryAfter reads Retry-After, seconds or date (RFC 9110 §10.2.3). A date is taken against the Date of the same
// answer, so that neither side's clock matters.
func retryAfter(h http.Header) time.Duration {
	const limit = time.Hour
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(s, 0), int64(limit/time.Second))) * time.Second
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(until.Sub(date), 0), limit)
}
