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
	method   string // how the client authenticated
	audience []string
	scopes   []string
	user     string // requested_subject
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
	op     string // or the beginning of one
	method string // or the beginning of one
	status int
	code   string
	says   string // text within the description: the tie-breaker where Keycloak uses one code for many faults

	reason string
	hint   string // {client}, {audience}, {scopes} and {user} stand for what was asked
}

// noCode matches an answer without an OAuth error code: it comes from something else than a token endpoint.
const noCode = "-"

// rules is the only place that reads descriptions. The first match wins, so the special stands above the general.
// A version behind a rule: only that Keycloak sends it. V1: where the feature token-exchange:v1 is on.
var rules = []rule{
	// Answers that pass.
	{status: 429, reason: ReasonThrottled, hint: "the issuer asks for fewer requests; lower the limits of the issuer object"},
	{status: 408, reason: ReasonIssuerUnreachable, hint: "the issuer waited too long for the request"},
	{op: opVerify, reason: ReasonIssuerUnreachable, hint: "the issuer's signing keys (jwks_uri) could not be fetched"},

	// The realm.
	{status: 404, code: "Realm does not exist", reason: ReasonIssuerInvalid, hint: "create the realm, or correct the issuer URL"},
	{status: 403, code: "access_denied", says: "Realm not enabled", reason: ReasonIssuerInvalid, hint: "enable the realm"},

	// The client: who it is.
	{code: "unauthorized_client", says: "not enabled to retrieve service account", reason: ReasonServiceAccountDisabled, hint: `switch on "Service accounts roles" on client {client}`},
	{code: "unauthorized_client", says: "Public client not allowed to retrieve service account", reason: ReasonServiceAccountDisabled, hint: `client {client} is public: switch on "Client authentication" and "Service accounts roles" on it`},
	{code: "invalid_request", says: "User 'service-account-", reason: ReasonServiceAccountDisabled, hint: "enable the service account user of client {client}"},
	{code: "invalid_client", says: "client_assertion", reason: ReasonClientRejected, hint: noSecretHint},
	{code: "invalid_client", says: "Missing client_id", reason: ReasonClientRejected, hint: noSecretHint},                                                                                                         // it expects a certificate
	{code: "unauthorized_client", says: "Unexpected error when authenticating client", reason: ReasonClientRejected, hint: `client {client} cannot authenticate in this way: look at its "Client Authenticator"`}, // 26.4
	{code: "invalid_client", says: "Token reuse detected", reason: ReasonClientRejected, hint: "the client assertion was used before and client {client} takes each only once"},
	{code: "invalid_client", says: "Token is not active", reason: ReasonClientRejected, hint: "the client assertion has expired; compare the clocks of the issuer and of this cluster"},
	{code: "invalid_client", says: "issued in the future", reason: ReasonClientRejected, hint: "the clock of this cluster is ahead of the issuer's"},
	{code: "invalid_client", says: "Invalid token audience", reason: ReasonClientRejected, hint: "the client assertion must have the issuer URL as its only audience"},
	{code: "invalid_client", says: "Multiple audiences", reason: ReasonClientRejected, hint: "the client assertion must have the issuer URL as its only audience"},
	{code: "invalid_client", says: "Unable to load public key", reason: ReasonClientRejected, hint: "the keys of client {client} have none with the kid of the client assertion: register it with that kid, which is keyID, or else the key's RFC 7638 thumbprint"},
	{says: "Signature on JWT", reason: ReasonClientRejected, hint: "the key that signs the client assertion is not registered for client {client}"},
	{says: "DPoP proof", reason: ReasonClientRejected, hint: `switch off "Require DPoP bound tokens" on client {client} (and do not exchange a DPoP-bound subject token): pods that mount a token cannot prove possession of a key`},
	{says: "MTLS HoK", reason: ReasonClientRejected, hint: `switch off "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled" on client {client}: pods that mount a token do not have its certificate`},

	// The user whose token it is: by a refresh token, a JWT of another issuer, impersonation.
	{op: opRefresh, code: "invalid_grant", says: "client and authorized client don't match", reason: ReasonSubjectTokenInvalid, hint: otherClientHint},
	{op: opLogout, code: "invalid_grant", says: "client and authorized client don't match", reason: ReasonSubjectTokenInvalid, hint: otherClientHint},
	{op: opRevocation, code: "invalid_request", says: "Unmatching clients", reason: ReasonSubjectTokenInvalid, hint: otherClientHint},
	{op: opRefresh, code: "invalid_grant", says: "User disabled", reason: ReasonSubjectTokenInvalid, hint: "enable the user: the session is still there"},
	{op: opRefresh, code: "not_allowed", says: "Offline tokens not allowed", reason: ReasonSubjectTokenInvalid, hint: "give the user the role offline_access, and client {client} the optional scope offline_access: the session is still there"},
	{op: opRefresh, code: "invalid_grant", says: "Maximum allowed refresh token reuse exceeded", reason: ReasonReloginRequired, hint: "the refresh token was used twice, by somebody else too or after a lost answer, and that ended the session: log in again; the realm setting \"Refresh Token Max Reuse\" 1 survives one lost answer"},
	{op: opRefresh, code: "invalid_grant", reason: ReasonReloginRequired, hint: "the session of the refresh token has ended (logged out, revoked or expired): log in again with client {client}, and the scope offline_access, and store the new token"},
	{op: opLogout, code: "invalid_grant", reason: ReasonReloginRequired, hint: "the session has ended already"},
	{op: opDeviceAuthorization, code: "unauthorized_client", says: "Device Authorization Grant", reason: ReasonGrantTypeUnsupported, hint: "set the attribute oauth2.device.authorization.grant.enabled=true on client {client}"},
	{op: opDeviceCode, code: "access_denied", reason: ReasonReloginRequired, hint: "the user refused: log in again"},
	{op: opDeviceCode, code: "expired_token", reason: ReasonReloginRequired, hint: "the login came too late: log in again"},
	{op: opDeviceCode, code: "authorization_pending", reason: ReasonRequestRefused, hint: "the user has not logged in yet"},
	{op: opDeviceCode, code: "slow_down", reason: ReasonRequestRefused, hint: "poll more slowly"},
	{op: opJWTBearer, code: "invalid_grant", says: "not supported for the requested client", reason: ReasonGrantTypeUnsupported, hint: `set the attributes oauth2.jwt.authorization.grant.enabled=true and oauth2.jwt.authorization.grant.idp=<alias of the identity provider> on client {client}`},
	{op: opJWTBearer, code: "invalid_grant", says: "Identity Provider is not allowed for the client", reason: ReasonSubjectTokenInvalid, hint: `add the alias of the assertion's identity provider to the attribute oauth2.jwt.authorization.grant.idp of client {client}`},
	{op: opJWTBearer, code: "invalid_grant", says: "No Identity Provider", reason: ReasonSubjectTokenInvalid, hint: `create an identity provider of type jwt-authorization-grant whose issuer is exactly the assertion's iss, with useJwksUrl=true, jwksUrl and jwtAuthorizationGrantEnabled=true`},
	{op: opJWTBearer, code: "invalid_grant", says: "User not found", reason: ReasonSubjectTokenInvalid, hint: `link the user to the identity provider: on the user's tab "Identity provider links", with the assertion's sub as the ID`},
	{op: opJWTBearer, code: "invalid_grant", says: "Token reuse detected", reason: ReasonSubjectTokenInvalid, hint: `the assertion was used before: get a fresh one for each mint, or set jwtAuthorizationGrantAssertionReuseAllowed=true on the identity provider`},
	{op: opJWTBearer, code: "invalid_grant", says: "audience", reason: ReasonSubjectTokenInvalid, hint: `the assertion must have the issuer URL as its only audience: exchange it for a client of that name in the other realm`},
	{op: opJWTBearer, code: "invalid_grant", reason: ReasonSubjectTokenInvalid, hint: "the issuer does not accept the assertion: expired, malformed, or signed with a key that its identity provider does not know"},
	{op: opJWTBearer, code: "unsupported_grant_type", reason: ReasonGrantTypeUnsupported, hint: "the issuer has no JWT authorization grant: use Keycloak 26.6 or newer and do not disable its feature jwt-authorization-grant"},
	{op: opImpersonation, code: "invalid_request", says: "'requested_subject' is not supported", reason: ReasonImpersonationUnsupported, hint: impersonationHint},
	{op: opImpersonation, code: "unsupported_grant_type", reason: ReasonImpersonationUnsupported, hint: impersonationHint},
	{op: opImpersonation, code: "access_denied", reason: ReasonImpersonationForbidden, hint: forbiddenHint},

	// The exchange: what the client may do, and for whom.
	{code: "invalid_request", says: "token exchange is not enabled", reason: ReasonExchangeNotEnabled, hint: exchangeHint},
	{code: "access_denied", says: "Client not allowed to exchange", reason: ReasonExchangeNotEnabled, hint: exchangeHint}, // V1
	{code: "invalid_client", says: "Public client is not allowed to exchange", reason: ReasonExchangeNotEnabled, hint: `switch on "Client authentication" on client {client}: public clients may not exchange`},
	{code: "access_denied", says: "not the holder of the token", reason: ReasonExchangeNotEnabled, hint: exchangeHint}, // V1, public client
	{code: "access_denied", says: "not within the token audience", reason: ReasonNotInSubjectAudience, hint: `the subject token must have {client} in its aud: add an "Audience" mapper for {client} to a client scope of the client that mints it`},
	{code: "invalid_client", says: "Audience not found", reason: ReasonAudienceNotAvailable, hint: "the realm has no client {audience}: create it, or correct spec.exchange.audiences"},
	{op: opTokenExchange, code: "invalid_client", says: "Client disabled", reason: ReasonAudienceNotAvailable, hint: "client {audience} is disabled: enable it"},
	{code: "invalid_request", says: "Requested audience not available", reason: ReasonAudienceNotAvailable, hint: `add an "Audience" mapper for {audience} to a client scope of client {client}; where that scope is optional, name it in spec.exchange.scopes; switch off "Always use lightweight access token" on {client}`},
	{code: "invalid_target", reason: ReasonAudienceNotAvailable, hint: "the issuer does not give client {client} tokens for {audience}"}, // RFC 8693 §2.2.2
	{code: "invalid_scope", reason: ReasonScopeInvalid, hint: "client {client} cannot ask for {scopes}: add the scope to its client scopes as optional, or correct the scopes of the grant"},

	// The general: what a code means when its description is not known.
	{op: opTokenExchange, code: "unsupported_grant_type", reason: ReasonGrantTypeUnsupported, hint: "the issuer has no standard token exchange: use Keycloak 26.2 or newer and do not disable its feature token-exchange-standard"},
	{code: "unsupported_grant_type", reason: ReasonGrantTypeUnsupported, hint: "the issuer does not offer this grant; switch the feature on there"},
	{method: methodPrivateKeyJWT, code: "unauthorized_client", reason: ReasonClientRejected, hint: keyHint},
	{method: methodPrivateKeyJWT, code: "invalid_client", reason: ReasonClientRejected, hint: keyHint},
	{method: methodFederated, code: "unauthorized_client", reason: ReasonClientRejected, hint: federatedHint},
	{method: methodFederated, code: "invalid_client", reason: ReasonClientRejected, hint: federatedHint},
	{method: methodTLS, code: "unauthorized_client", reason: ReasonClientRejected, hint: tlsHint},
	{method: methodTLS, code: "invalid_client", reason: ReasonClientRejected, hint: tlsHint},
	{code: "unauthorized_client", reason: ReasonClientRejected, hint: "the client secret of {client} is wrong: copy it from its Credentials page, without a newline at its end"},
	{code: "invalid_client", reason: ReasonClientRejected, hint: "client {client} does not exist in the realm, is disabled, or does not authenticate in this way"},
	{op: opTokenExchange, code: "access_denied", reason: ReasonExchangeNotEnabled, hint: exchangeHint},
	{op: opTokenExchange, code: "invalid_request", reason: ReasonSubjectTokenInvalid, hint: subjectHint},
	{op: opTokenExchange, code: "invalid_grant", reason: ReasonSubjectTokenInvalid, hint: subjectHint},
	{op: opTokenExchange, code: "invalid_token", reason: ReasonSubjectTokenInvalid, hint: subjectHint},
	{code: "temporarily_unavailable", reason: ReasonIssuerUnreachable, hint: "the issuer is overloaded or in maintenance"},
	{code: "server_error", reason: ReasonIssuerUnreachable, hint: "the issuer has an internal error; look at its log"},
	{op: opDiscovery, reason: ReasonIssuerInvalid, hint: "the issuer URL must be the one of the realm, https://<host>/realms/<realm>, where its discovery document is found"},
	{code: noCode, reason: ReasonIssuerInvalid, hint: "this is no answer of a token endpoint: correct the issuer URL, and look at the proxies on the way"},
	{reason: ReasonRequestRefused, hint: "the issuer's log says more about client {client}"},
}

const (
	otherClientHint   = "the token was issued to another client than {client}, and only that one may use it"
	impersonationHint = "this issuer exchanges a user's token for the same user only: start Keycloak with --features=token-exchange:v1 (a preview) for requested_subject"
	forbiddenHint     = "give the service account of {client} the role impersonation of the client realm-management; or the realm has no user {user}, or that user is disabled"

	noSecretHint  = `client {client} does not take a client secret: set its "Client Authenticator" to "Client Id and Secret", or authenticate as it expects`
	keyHint       = `set the "Client Authenticator" of client {client} to "Signed JWT" (client-jwt), register the public key there, and look whether the client is enabled`
	federatedHint = "set the Client Authenticator of client {client} to federated-jwt with jwt.credential.issuer=<alias of the identity provider> and jwt.credential.sub=<sub of the assertion>; look whether that identity provider is enabled, its issuer is the assertion's iss, and Keycloak can fetch its keys (a new key counts some 10 s later)"
	tlsHint       = `set the "Client Authenticator" of client {client} to "X509 Certificate" (client-x509) with the subject of the certificate in x509.subjectdn, and start Keycloak with --https-client-auth=request and the certificate's authority in its truststore`

	exchangeHint = "set the attribute standard.token.exchange.enabled=true on client {client}"
	subjectHint  = "the issuer does not accept the subject token: expired, revoked, logged out, of another realm, or its user or client is disabled"
)

// codes are the error codes an Error shows: RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 8628 §3.5,
// RFC 8693 §2.2.2, and Keycloak's own.
var codes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "server_error", "temporarily_unavailable", "invalid_token", "insufficient_scope", "invalid_target",
	"invalid_issuer", "not_allowed", "unknown_error", "Realm does not exist", "unsupported_token_type",
	"authorization_pending", "slow_down", "expired_token",
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
		e.Reason, e.Hint = ReasonIssuerUnreachable, "the issuer, or a proxy before it, has a fault; look at its log"
		return e
	case ans.status >= 300 && ans.status < 400:
		e.Reason, e.Hint = ReasonIssuerInvalid, redirectHint(ans.header, clean)
		return e
	}
	r := rules[ruleFor(a, ans.status, code, ans.description)]
	e.Reason, e.Hint = r.reason, a.fill(r.hint)
	return e
}

// ruleFor returns the index of the first rule that matches. The last one always does.
func ruleFor(a asked, status int, code, description string) int {
	return slices.IndexFunc(rules, func(r rule) bool { return r.matches(a, status, code, description) })
}

func (r rule) matches(a asked, status int, code, description string) bool {
	return strings.HasPrefix(a.op, r.op) && strings.HasPrefix(a.method, r.method) &&
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
		"{user}", list([]string{a.user}),
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
