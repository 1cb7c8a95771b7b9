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
	method                string
}{
	{opClientCredentials, "", "", 429, ReasonThrottled, ""},
	{opClientCredentials, "", "", 408, ReasonIssuerUnreachable, ""},
	{opVerify, "", "", 404, ReasonIssuerUnreachable, ""},
	{opTokenExchange, "invalid_target", "", 400, ReasonAudienceNotAvailable, ""},
	{opTokenExchange, "access_denied", "no", 403, ReasonExchangeNotEnabled, ""},
	{opTokenExchange, "invalid_grant", "", 400, ReasonSubjectTokenInvalid, ""},
	{opTokenExchange, "invalid_token", "", 401, ReasonSubjectTokenInvalid, ""},
	{opTokenExchange, "unsupported_grant_type", "", 400, ReasonGrantTypeUnsupported, ""},
	{opClientCredentials, "temporarily_unavailable", "", 400, ReasonIssuerUnreachable, ""},
	{opClientCredentials, "server_error", "", 400, ReasonIssuerUnreachable, ""},
	{opDiscovery, "", "", 404, ReasonIssuerInvalid, ""},
	{opClientCredentials, "", "", 401, ReasonIssuerInvalid, ""},
	{opClientCredentials, "no_such_code", "", 400, ReasonIssuerInvalid, ""},
	{opClientCredentials, "invalid_grant", "", 400, ReasonRequestRefused, ""},
	{opClientCredentials, "unknown_error", "", 500, ReasonIssuerUnreachable, ""},
	{opClientCredentials, "", "", 302, ReasonIssuerInvalid, ""},
	{opJWTBearer, "unsupported_grant_type", "", 400, ReasonGrantTypeUnsupported, ""},
	{opImpersonation, "unsupported_grant_type", "", 400, ReasonImpersonationUnsupported, ""},
	{opRefresh, "invalid_grant", "User disabled", 400, ReasonSubjectTokenInvalid, ""},
	{opRefresh, "not_allowed", "Offline tokens not allowed for the user or client", 400, ReasonSubjectTokenInvalid, ""},
	{opDeviceAuthorization, "unauthorized_client", "Client is not allowed to initiate OAuth 2.0 Device Authorization Grant. The flow is disabled for the client.", 400, ReasonGrantTypeUnsupported, ""},
	{opClientCredentials, "invalid_client", "Missing client_id parameter", 400, ReasonClientRejected, methodSecretBasic},
	{opClientCredentials, "invalid_client", "Unable to load public key", 400, ReasonClientRejected, methodPrivateKeyJWT},
	{opImpersonation, "invalid_request", "Invalid token", 400, ReasonSubjectTokenInvalid, ""},
	{opLogout, "invalid_grant", "Invalid refresh token. Token client and authorized client don't match", 400, ReasonSubjectTokenInvalid, ""},
	{opLogout, "invalid_grant", "", 400, ReasonReloginRequired, ""},
	{opDeviceCode, "access_denied", "", 400, ReasonReloginRequired, ""},
	{opDeviceCode, "expired_token", "", 400, ReasonReloginRequired, ""},
	{opDeviceCode, "authorization_pending", "", 400, ReasonRequestRefused, ""},
	{opDeviceCode, "slow_down", "", 400, ReasonRequestRefused, ""},
	{opClientCredentials, "invalid_client", "", 401, ReasonClientRejected, methodPrivateKeyJWT},
	{opClientCredentials, "unauthorized_client", "", 401, ReasonClientRejected, methodPrivateKeyJWT},
	{opClientCredentials, "invalid_client", "", 401, ReasonClientRejected, methodTLS},
	{opClientCredentials, "unauthorized_client", "", 401, ReasonClientRejected, methodTLS},
}

func TestUnrecordedAnswersHaveTheirMeaning(t *testing.T) {
	for _, u := range unrecorded {
		e := classify(asked{op: u.op, method: u.method}, answer{status: u.status, code: u.code, description: u.description}, cleaner{})
		if e.Reason != u.reason || e.Hint == "" {
			t.Errorf("%+v: %s, hint %q", u, e.Reason, e.Hint)
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
