package keycloak

import (
	"slices"
	"testing"
)

// unrecorded are answers that Keycloak was not seen to give: of other servers, of proxies, or rare.
var unrecorded = []struct {
	op, code, description string
	status                int
	reason                string
	class                 Class
	method                string
}{
	{opClientCredentials, "", "", 429, ReasonThrottled, Retry, ""},
	{opClientCredentials, "", "", 408, ReasonIssuerUnreachable, Retry, ""},
	{opVerify, "", "", 404, ReasonIssuerUnreachable, Retry, ""},
	{opTokenExchange, "invalid_target", "", 400, ReasonAudienceNotAvailable, Refused, ""},
	{opTokenExchange, "access_denied", "no", 403, ReasonExchangeNotEnabled, Refused, ""},
	{opTokenExchange, "invalid_grant", "", 400, ReasonSubjectTokenInvalid, Refused, ""},
	{opTokenExchange, "invalid_token", "", 401, ReasonSubjectTokenInvalid, Refused, ""},
	{opTokenExchange, "unsupported_grant_type", "", 400, ReasonGrantTypeUnsupported, Refused, ""},
	{opClientCredentials, "temporarily_unavailable", "", 400, ReasonIssuerUnreachable, Retry, ""},
	{opClientCredentials, "server_error", "", 400, ReasonIssuerUnreachable, Retry, ""},
	{opDiscovery, "", "", 404, ReasonIssuerInvalid, Refused, ""},
	{opClientCredentials, "", "", 401, ReasonIssuerInvalid, Refused, ""},
	{opClientCredentials, "no_such_code", "", 400, ReasonIssuerInvalid, Refused, ""},
	{opClientCredentials, "invalid_grant", "", 400, ReasonRequestRefused, Refused, ""},
	{opClientCredentials, "unknown_error", "", 500, ReasonIssuerUnreachable, Retry, ""},
	{opClientCredentials, "", "", 302, ReasonIssuerInvalid, Refused, ""},
	{opJWTBearer, "unsupported_grant_type", "", 400, ReasonGrantTypeUnsupported, Refused, ""},
	{opImpersonation, "unsupported_grant_type", "", 400, ReasonImpersonationUnsupported, Refused, ""},
	{opRefresh, "invalid_grant", "User disabled", 400, ReasonSubjectTokenInvalid, Refused, ""},
	{opRefresh, "not_allowed", "Offline tokens not allowed for the user or client", 400, ReasonSubjectTokenInvalid, Refused, ""},
	{opDeviceAuthorization, "unauthorized_client", "Client is not allowed to initiate OAuth 2.0 Device Authorization Grant. The flow is disabled for the client.", 400, ReasonGrantTypeUnsupported, Refused, ""},
	{opClientCredentials, "invalid_client", "Missing client_id parameter", 400, ReasonClientRejected, Refused, methodSecretBasic},
	{opClientCredentials, "invalid_client", "Unable to load public key", 400, ReasonClientRejected, Refused, methodPrivateKeyJWT},
	{opImpersonation, "invalid_request", "Invalid token", 400, ReasonSubjectTokenInvalid, Refused, ""},
	{opLogout, "invalid_grant", "Invalid refresh token. Token client and authorized client don't match", 400, ReasonSubjectTokenInvalid, Refused, ""},
	{opLogout, "invalid_grant", "", 400, ReasonReloginRequired, Refused, ""},
	{opDeviceCode, "access_denied", "", 400, ReasonReloginRequired, Refused, ""},
	{opDeviceCode, "expired_token", "", 400, ReasonReloginRequired, Refused, ""},
	{opDeviceCode, "authorization_pending", "", 400, ReasonRequestRefused, Retry, ""},
	{opDeviceCode, "slow_down", "", 400, ReasonRequestRefused, Retry, ""},
	{opClientCredentials, "invalid_client", "", 401, ReasonClientRejected, Refused, methodPrivateKeyJWT},
	{opClientCredentials, "unauthorized_client", "", 401, ReasonClientRejected, Refused, methodPrivateKeyJWT},
	{opClientCredentials, "invalid_client", "", 401, ReasonClientRejected, Refused, methodTLS},
	{opClientCredentials, "unauthorized_client", "", 401, ReasonClientRejected, Refused, methodTLS},
}

func TestUnrecordedAnswersHaveTheirMeaning(t *testing.T) {
	for _, u := range unrecorded {
		e := classify(asked{op: u.op, method: u.method}, answer{status: u.status, code: u.code, description: u.description}, cleaner{})
		if e.Reason != u.reason || e.Class != u.class || e.Hint == "" {
			t.Errorf("%+v: %s, class %d, hint %q", u, e.Reason, e.Class, e.Hint)
		}
	}
}

func TestEveryRuleHasACase(t *testing.T) {
	seen := make([]bool, len(rules))
	see := func(a asked, ans answer) {
		if !slices.Contains(codes, ans.code) {
			ans.code = ""
		}
		seen[ruleFor(a, ans.status, ans.code, ans.description)] = true
	}
	for _, r := range loadRecordings(t) {
		if outOfScope(r) == "" {
			see(r.asked(), answerOf(r.response, r.body))
		}
	}
	for _, u := range unrecorded {
		see(asked{op: u.op, method: u.method}, answer{status: u.status, code: u.code, description: u.description})
	}
	for i, rule := range rules {
		if !seen[i] {
			t.Errorf("nothing tests the rule %+v", rule)
		}
	}
}
