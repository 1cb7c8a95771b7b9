package keycloak

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reasons an Error can have.
const (
	ReasonIssuerUnreachable        = "IssuerUnreachable"        // no answer, or 5xx
	ReasonIssuerInvalid            = "IssuerInvalid"            // what answers at the URL is not a usable issuer
	ReasonThrottled                = "Throttled"                // 429
	ReasonCredentialMissing        = "CredentialMissing"        // a secret, key or token to send is empty or cannot be used
	ReasonClientRejected           = "ClientRejected"           // the client could not authenticate, or not in this way
	ReasonServiceAccountDisabled   = "ServiceAccountDisabled"   // the client has no (enabled) service account
	ReasonGrantTypeUnsupported     = "GrantTypeUnsupported"     // the issuer does not know the grant
	ReasonExchangeNotEnabled       = "ExchangeNotEnabled"       // the client may not exchange tokens
	ReasonAudienceNotAvailable     = "AudienceNotAvailable"     // the client cannot get tokens for this audience
	ReasonNotInSubjectAudience     = "NotInSubjectAudience"     // the subject token was not meant for the client
	ReasonScopeInvalid             = "ScopeInvalid"             // the client cannot get this scope
	ReasonSubjectTokenInvalid      = "SubjectTokenInvalid"      // expired, revoked, foreign or malformed
	ReasonImpersonationUnsupported = "ImpersonationUnsupported" // the issuer's exchange has no requested_subject
	ReasonImpersonationForbidden   = "ImpersonationForbidden"   // the client may not impersonate this user
	ReasonReloginRequired          = "ReloginRequired"          // the session of a refresh token is gone
	ReasonRequestRefused           = "RequestRefused"           // for a cause that is not known here
	ReasonTokenMalformed           = "TokenMalformed"           // not a signed bearer JWT with an expiry
	ReasonTokenNotVerified         = "TokenNotVerified"         // wrong signature, issuer or client
	ReasonTokenWrongAudience       = "TokenWrongAudience"       // aud is not what was asked for
	ReasonTokenExpired             = "TokenExpired"             // by our clock
)

// Reasons returns every Reason this package gives.
func Reasons() []string {
	return []string{
		ReasonIssuerUnreachable, ReasonIssuerInvalid, ReasonThrottled, ReasonCredentialMissing, ReasonClientRejected,
		ReasonServiceAccountDisabled, ReasonGrantTypeUnsupported, ReasonExchangeNotEnabled, ReasonAudienceNotAvailable,
		ReasonNotInSubjectAudience, ReasonScopeInvalid, ReasonSubjectTokenInvalid, ReasonRequestRefused, ReasonTokenMalformed,
		ReasonTokenNotVerified, ReasonTokenWrongAudience, ReasonTokenExpired, ReasonImpersonationUnsupported,
		ReasonImpersonationForbidden, ReasonReloginRequired,
	}
}

// The operations an Error can come from.
const (
	opDiscovery            = "discovery"
	opClientAuthentication = "client_authentication"
	opClientCredentials    = "client_credentials"
	opRefresh              = "refresh_token"
	opJWTBearer            = "jwt_bearer"
	opTokenExchange        = "token_exchange"
	opImpersonation        = opTokenExchange + "_requested_subject" // what holds for an exchange holds for it
	opDeviceAuthorization  = "device_authorization"
	opDeviceCode           = "device_code"
	opRevocation           = "revocation"
	opLogout               = "logout"
	opVerify               = "verify"
)

// Error is the only type of error this package returns. Its text is one line and safe to show: it holds
// no token, no secret and no body.
type Error struct {
	// Reason is one of Reasons.
	Reason string
	// Op is what was tried: discovery, verify, or the grant or call by its name.
	Op string
	// Code is the error code of the answer (RFC 6749 §5.2) when it is one that is known, else empty.
	Code string
	// Description is what the server, or the network, said about it: at most 200 printable characters.
	Description string
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// RetryAfter is how long the server asks to wait (RFC 9110 §10.2.3): 0 when it did not say, at most an hour.
	RetryAfter time.Duration
	// Hint says what to do.
	Hint string

	// cause is context.Canceled, context.DeadlineExceeded, the error of an Assertion's function, or nil: other causes
	// may quote a body.
	cause error
}

// Error says "<op>: <code> (<description>), HTTP <status>: <hint>", without the parts that are empty.
func (e *Error) Error() string {
	said := e.Code
	switch {
	case e.Description == "":
	case said == "":
		said = e.Description
	default:
		said += " (" + e.Description + ")"
	}
	parts := []string{said}
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", e.Status))
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(slices.DeleteFunc([]string{e.Op, strings.Join(parts, ", "), e.Hint},
		func(s string) bool { return s == "" }), ": ")
}

// Outcome is the Reason, for metrics and traces.
func (e *Error) Outcome() string { return e.Reason }

// Unwrap lets errors.Is find context.Canceled, context.DeadlineExceeded and what the function of an Assertion said.
func (e *Error) Unwrap() error { return e.cause }
