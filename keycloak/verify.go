package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/internal/stage"
)

// algorithms are the signatures that are accepted: asymmetric ones only (RFC 7518 §3.1, RFC 8037 §3.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// maxSkew is how far a not-before may lie ahead of both our clock and the issuer's own (iat).
const maxSkew = 60 * time.Second

// Verifier judges the access tokens of one issuer. It is safe for concurrent use and made to live as long as the
// issuer: it keeps the signing keys, and fetches them again when a token names one it does not know. Fetches that
// many calls wait for are one request, which no caller's context cancels.
type Verifier struct {
	issuer string
	keys   *keySet
}

// NewVerifier returns a Verifier for the issuer. It sends nothing yet.
func NewVerifier(p *Provider, hc *http.Client) *Verifier {
	keysClient := withReader(hc, opVerify, documentOnly)
	if keysClient.Timeout == 0 {
		keysClient.Timeout = keysTimeout
	}
	return &Verifier{issuer: p.Issuer, keys: &keySet{url: p.JWKSURI, client: keysClient}}
}

// Expect is what a token has to be.
type Expect struct {
	// Audience must all be in aud.
	Audience []string
	// Exact refuses a token with any other audience.
	Exact bool
	// ClientID, when set, must be the client the token was issued to.
	ClientID string
	// Secrets are in none of the names of the token: those are shown.
	Secrets []sensitive.String
	// Now is our time. A token that has expired by it is refused.
	Now time.Time
}

// Verify checks that token is an access token of the issuer that whoever holds it can use: a JWT (RFC 9068, or as
// Keycloak makes them) with a good signature, iss, aud, azp, exp and nbf, that is bound to no key. What it says is
// returned only when all of that holds.
//
// An iat ahead of Now is not an error, however far: it shows the difference of the two clocks, which the caller
// needs for the schedule and finds in Claims.IssuedAt. An exp that has passed is one, because no clock but ours
// tells those who use the token when to stop.
//
// Errors: IssuerUnreachable, Throttled, TokenMalformed, TokenNotVerified, TokenWrongAudience, TokenExpired; IssuerInvalid
// where the key set is too large or redirected.
func (v *Verifier) Verify(ctx context.Context, token sensitive.String, e Expect) (_ *Claims, err error) {
	ctx, end := stage.Begin(ctx, opVerify)
	defer func() { end(err) }()
	signed, err := parseSigned(token.Reveal())
	if err != nil {
		return nil, err
	}
	payload, err := v.signedPayload(ctx, signed, e.Now)
	if err != nil {
		return nil, err
	}
	return v.judge(payload, signed.Signatures[0].Header.KeyID, e)
}

// judge reads claims whose signature is good.
func (v *Verifier) judge(payload []byte, keyID string, e Expect) (*Claims, error) {
	claims, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	claims.KeyID = keyID
	for _, check := range []func(*Claims, Expect) error{checkNames, v.checkIssuer, checkKind, checkTime, checkAudience, checkClient} {
		if err := check(claims, e); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

// parseSigned tells the forms apart that cannot be verified, and says why.
func parseSigned(token string) (*jose.JSONWebSignature, error) {
	if len(token) > maxTokenBytes {
		return nil, malformed(fmt.Sprintf("the token is %d bytes, and at most %d are verified", len(token), maxTokenBytes),
			"remove mappers from the client's scopes that put much into its tokens, such as all roles and groups")
	}
	parts := strings.Split(token, ".")
	allowed := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		allowed[i] = jose.SignatureAlgorithm(a)
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	isJOSE := err == nil && json.Valid(head)
	switch {
	case len(parts) == 5 && isJOSE:
		return nil, malformed("the token is encrypted (JWE)", `switch off "Access token encryption" for the client: what is in it cannot be verified, here or by the application`)
	case len(parts) != 3 || !isJOSE:
		return nil, malformed("the token is opaque, not a JWT", "make the issuer give out JWT access tokens (RFC 9068): switch off opaque, or reference, tokens for this client")
	}
	jws, err := jose.ParseSignedCompact(token, allowed)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return nil, notVerified("the token is signed with "+cleaner{}.text(string(algorithm.Got))+", which the issuer's public keys cannot prove",
			`set "Access token signature algorithm" of the client to one of `+strings.Join(algorithms, ", "))
	case err != nil, slices.ContainsFunc(parts, isNotBase64URL),
		strings.ContainsAny(token, "\r\n"): // encoding/base64 reads over line breaks, an HTTP header does not
		return nil, malformed("the token looks like a JWT and cannot be read", "look at the issuer")
	}
	header := jws.Signatures[0].Header
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "", "jwt", "at+jwt":
		return jws, nil
	}
	return nil, malformed("the token's header says typ "+cleaner{}.text(typ), "only access tokens (JWT, at+jwt) can be published")
}

// isNotBase64URL refuses what only a lenient reader takes for base64url (RFC 7515 §2): go-jose verifies what it has encoded
// anew, others what stands there, and to them the signature would be wrong.
func isNotBase64URL(part string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err != nil
}

// signedPayload returns the claims once their signature is good.
func (v *Verifier) signedPayload(ctx context.Context, token *jose.JSONWebSignature, now time.Time) ([]byte, error) {
	payload, err := v.keys.payload(ctx, token, now)
	var known *Error
	switch {
	case err == nil:
		return payload, nil
	case errors.As(err, &known):
		return nil, known
	case errors.Is(err, errNoKeyFits):
		return nil, notVerified("no key of the issuer fits the token's signature"+v.keys.unusable(), "look whether something between the issuer and this cluster changes tokens, or the issuer URL leads to another Keycloak than its jwks_uri")
	default:
		return nil, noAnswer(opVerify, err)
	}
}

func (v *Verifier) checkIssuer(c *Claims, _ Expect) error {
	if c.Issuer == v.issuer {
		return nil
	}
	return notVerified("iss is "+cleaner{}.text(c.Issuer)+", not "+cleaner{}.text(v.issuer), "the issuer URL must be the one Keycloak calls itself, see its hostname option")
}

// checkKind refuses what is no access token, or one that only the holder of a key can use.
func checkKind(c *Claims, _ Expect) error {
	if typ, said := c.All["typ"].(string); said && !strings.EqualFold(typ, "Bearer") && !strings.EqualFold(typ, "DPoP") {
		return malformed("the token's typ is "+cleaner{}.text(typ), "only access tokens (typ Bearer) can be published, no ID and no refresh tokens")
	}
	if _, bound := c.All["cnf"]; bound {
		return malformed("the token is bound to a key or certificate (cnf, RFC 7800)", `switch off "Require DPoP bound tokens" and "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled" on the client: pods that mount the token cannot prove possession`)
	}
	if typ, _ := c.All["typ"].(string); strings.EqualFold(typ, "DPoP") {
		return malformed("the token's typ is DPoP", `switch off "Require DPoP bound tokens" on the client`)
	}
	return nil
}

func checkTime(c *Claims, e Expect) error {
	if !c.Expiry.After(e.Now) {
		return &Error{
			Op: opVerify, Reason: ReasonTokenExpired,
			Description: "the token expired at " + c.Expiry.UTC().Format(time.RFC3339) + ", our time is " + e.Now.UTC().Format(time.RFC3339),
			Hint:        "compare the clocks of the issuer and of this cluster, and look at the client's access token lifespan",
		}
	}
	if !c.IssuedAt.IsZero() && !c.Expiry.After(c.IssuedAt) {
		return malformed("the token expires before it is issued", "look at the client's access token lifespan")
	}
	latest := e.Now
	if c.IssuedAt.After(latest) {
		latest = c.IssuedAt
	}
	if c.notBefore.After(latest.Add(maxSkew)) {
		return notVerified("the token is not valid before "+c.notBefore.UTC().Format(time.RFC3339), "look at the issuer: such a token cannot be used now")
	}
	return nil
}

func checkAudience(c *Claims, e Expect) error {
	missing := slices.DeleteFunc(slices.Clone(e.Audience), func(a string) bool { return slices.Contains(c.Audience, a) })
	extra := slices.DeleteFunc(slices.Clone(c.Audience), func(a string) bool { return slices.Contains(e.Audience, a) })
	wrong := func(what string, names []string, hint string) error {
		return &Error{
			Op: opVerify, Reason: ReasonTokenWrongAudience,
			Description: cleaner{}.text("aud is [" + strings.Join(c.Audience, ", ") + "]: " + what + " " + strings.Join(names, ", ")), Hint: hint,
		}
	}
	switch {
	case len(missing) > 0:
		return wrong("it lacks", missing, `add an "Audience" mapper for it to a client scope of the client, and exchange the token for it`)
	case e.Exact && len(extra) > 0:
		return wrong("nobody asked for", extra, "remove the mapper that adds it, or name it in spec.exchange.audiences")
	}
	return nil
}

func checkClient(c *Claims, e Expect) error {
	if e.ClientID == "" || c.ClientID == e.ClientID {
		return nil
	}
	return notVerified("azp is "+cleaner{}.text(c.ClientID)+", not "+cleaner{}.text(e.ClientID), "the token was issued to another client")
}

func malformed(description, hint string) *Error {
	return &Error{Op: opVerify, Reason: ReasonTokenMalformed, Description: description, Hint: hint}
}

func notVerified(description, hint string) *Error {
	return &Error{Op: opVerify, Reason: ReasonTokenNotVerified, Description: description, Hint: hint}
}
