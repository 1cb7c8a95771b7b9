package keycloak

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Claims is what a verified access token says (RFC 7519 §4.1, RFC 9068 §2.2, Keycloak's own).
type Claims struct {
	Issuer  string
	Subject string
	// Username is preferred_username, empty where the token has none.
	Username string
	// ClientID is the client the token was issued to: azp, else client_id.
	ClientID string
	// KeyID is the kid of the signing key.
	KeyID string
	// TokenID is jti.
	TokenID  string
	Audience []string
	Scopes   []string
	// IssuedAt is zero when the token does not say. By our clock it may lie in the future.
	IssuedAt time.Time
	Expiry   time.Time
	// All holds every claim; numbers are json.Number.
	All map[string]any

	notBefore time.Time
}

// UnverifiedClaims reads what a JWT says of itself. It proves nothing: it is for telling what is wrong with one.
//
// Errors: TokenMalformed.
func UnverifiedClaims(token sensitive.String) (*Claims, error) {
	parts := strings.Split(strings.TrimSpace(token.Reveal()), ".")
	if len(parts) != 3 {
		return nil, malformed("this is no signed JWT", "bring one")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, malformed("this is no signed JWT", "bring one")
	}
	return parseClaims(payload)
}

// parseClaims reads a payload whose signature is good. Errors are TokenMalformed.
func parseClaims(payload []byte) (*Claims, error) {
	c := &Claims{}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if tooDeep(payload) || d.Decode(&c.All) != nil || c.All == nil {
		return nil, malformed("the token's claims are no JSON object", "look at the issuer")
	}
	var wrong string // the first claim of a wrong type
	fail := func(name string) { wrong = first(wrong, name) }
	text := func(name string) string {
		s, ok := c.All[name].(string)
		if !ok && c.All[name] != nil {
			fail(name)
		}
		return s
	}
	date := func(name string) time.Time {
		t, ok := dateOf(c.All[name])
		if !ok {
			fail(name)
		}
		return t
	}
	var ok bool
	if c.Audience, ok = audienceOf(c.All["aud"]); !ok {
		fail("aud")
	}
	c.Issuer, c.Subject, c.TokenID = text("iss"), text("sub"), text("jti")
	c.Username, c.ClientID = text("preferred_username"), first(text("azp"), text("client_id"))
	c.Scopes = strings.Fields(text("scope"))
	c.Expiry, c.IssuedAt, c.notBefore = date("exp"), date("iat"), date("nbf")
	switch {
	case wrong != "":
		return nil, malformed("the claim "+wrong+" has a wrong type or value", "look at the protocol mappers of the client")
	case c.Expiry.IsZero():
		return nil, malformed("the token has no exp", "a token that never expires cannot be refreshed in time; give the client an access token lifespan")
	}
	return c, nil
}

const (
	maxNameLength = 1024     // bytes of one name in a token
	maxNames      = 16 << 10 // bytes of all its names
)

// checkNames refuses names that cannot be shown. They stand in a status and an annotation, for more people to read than
// may read the token, and an issuer can write into them what it likes: also what it was sent.
func checkNames(c *Claims, e Expect) error {
	sum := 0
	for _, name := range slices.Concat([]string{c.Subject, c.Username, c.ClientID, c.KeyID}, c.Audience, c.Scopes) {
		sum += len(name)
		switch {
		case len(name) > maxNameLength || sum > maxNames:
			return malformed("the names in the token (sub, preferred_username, azp, aud, scope, kid) are longer than any name is", "look at the protocol mappers of the client")
		case strings.ContainsFunc(name, unseen):
			return malformed("a name in the token has characters that cannot be seen", "look at the protocol mappers of the client")
		case jwtLike.MatchString(name), holds(name, e.Secrets):
			return malformed("a name in the token is a token or a secret", "look at the protocol mappers of the client: a name is shown to whoever may read the TokenGrant")
		}
	}
	return nil
}

// jwtLike matches what only a JWT or a part of one looks like.
var jwtLike = regexp.MustCompile(`eyJ[\w-]{8,}`)

// unseen characters do nothing but deceive who reads a name: control characters, and those that turn the direction.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar
}

// holds looks for secrets. One of less than 12 characters could be a word of a name.
func holds(text string, secrets []sensitive.String) bool {
	return slices.ContainsFunc(secrets, func(s sensitive.String) bool {
		return len(s.Reveal()) >= 12 && strings.Contains(text, s.Reveal())
	})
}

// audienceOf reads aud: one string or several (RFC 7519 §4.1.3).
func audienceOf(v any) ([]string, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case []any:
		names := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, false
			}
			names[i] = s
		}
		return names, true
	}
	return nil, false
}

// dateOf reads a NumericDate (RFC 7519 §2), which may have a fraction. Dates that RFC 3339 cannot write are refused:
// a status would not hold them.
func dateOf(v any) (time.Time, bool) {
	const endOf9999 = 253402300799
	if v == nil {
		return time.Time{}, true
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > endOf9999 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
