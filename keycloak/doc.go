// Package keycloak speaks OAuth with Keycloak, or with any issuer that keeps to the same standards:
//
//   - Discover reads where the endpoints are (OpenID Connect Discovery 1.0, RFC 8414);
//   - Client asks the token endpoint for tokens: its own (RFC 6749 §4.4), those of users by their refresh token
//     (RFC 6749 §6), a JWT of another issuer (RFC 7523) or a login on another device (RFC 8628), and exchanged ones
//     (RFC 8693); it revokes them (RFC 7009) and ends sessions;
//   - Verifier judges a token before anybody gets it (RFC 7519, keys of RFC 7517).
//
// It knows nothing of Kubernetes and keeps no state but the cached signing keys of a Verifier.
//
// All grants take one way over the wire, Client.post, which sends through golang.org/x/oauth2; the few requests that
// bring no token take Client.call. A new grant is one file with one method that calls it; a new way to authenticate a
// client is one file with one ClientAuth.
//
// Every error is an *Error: a Reason for the status of an object, what the server said (cut down, never a body, a token
// or a secret) and what to do about it.
// Keycloak's error codes are coarse, so one table, rules in rules.go, gives them meaning. It is tested
// against the recorded answers of Keycloak 26.4.2 and 26.7.3 in testdata.
package keycloak
