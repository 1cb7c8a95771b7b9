package keycloak

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// The bounds of what is verified. An issuer may be a tenant's, and each try of a key costs processor time that no context
// ends.
const (
	// maxTokenBytes bounds a token, maxKeySetBytes a key set.
	maxTokenBytes  = 64 << 10
	maxKeySetBytes = 256 << 10
	// maxKeysTried is how many keys are tried where several fit a token; fewer where one costs more, see cost.
	maxKeysTried = 8
	// maxRSABits bounds a modulus, beside minRSABits (RFC 7518 §3.3), and maxRSAExponent what it is raised to: F4, which all
	// issuers use.
	maxRSABits     = 8192
	maxRSAExponent = 1<<16 + 1
	// keysPause is how long keys are not fetched again after a fetch that brought none that fits.
	keysPause = 10 * time.Second
)

func init() { jose.MaxRSAModulusBits = maxRSABits } // Its own bound is 4096.

// keySet holds the signing keys of an issuer, and fetches them again when none fits a token. Calls at the same time share
// one request, which no caller's context cancels.
type keySet struct {
	url     string
	client  *http.Client
	flights singleflight.Group

	mu   sync.Mutex
	keys []jose.JSONWebKey
	// passedOver is how many keys could not be used, and inVain when a fetch brought none that fits.
	passedOver int
	inVain     time.Time
}

var errNoKeyFits = errors.New("no key fits")

// payload returns what a token says, if one of the keys has signed it.
func (s *keySet) payload(ctx context.Context, token *jose.JSONWebSignature, now time.Time) ([]byte, error) {
	s.mu.Lock()
	keys, since := s.keys, now.Sub(s.inVain)
	s.mu.Unlock()
	payload, tried, err := verifyWith(keys, token, 0)
	if err == nil || !errors.Is(err, errNoKeyFits) || since >= 0 && since < keysPause {
		return payload, err
	}
	flight := s.flights.DoChan("", func() (any, error) { return s.fetch(context.WithoutCancel(ctx)) })
	select {
	case landed := <-flight:
		if landed.Err != nil {
			return nil, landed.Err
		}
		fetched, _ := landed.Val.([]jose.JSONWebKey)
		payload, _, err = verifyWith(fetched, token, tried)
		if err != nil {
			s.mu.Lock()
			s.inVain = now
			s.mu.Unlock()
		}
		return payload, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, invalidIssuer("jwks_uri is not a URL", "look at the discovery document")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, noAnswer(opVerify, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, noAnswer(opVerify, err)
	}
	keys, passedOver, err := parseKeys(body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.keys, s.passedOver = keys, passedOver
	s.mu.Unlock()
	return keys, nil
}

// parseKeys reads a key set. A key that cannot be read or used is passed over (RFC 7517 §5).
func parseKeys(body []byte) (keys []jose.JSONWebKey, passedOver int, err error) {
	if len(body) > maxKeySetBytes {
		return nil, 0, &Error{
			Op: opVerify, Reason: ReasonIssuerInvalid, Status: http.StatusOK,
			Description: fmt.Sprintf("the key set is %d bytes, and at most %d are read", len(body), maxKeySetBytes),
			Hint:        "remove old keys from the realm",
		}
	}
	var set struct{ Keys []json.RawMessage }
	if tooDeep(body) || json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, 0, &Error{
			Op: opVerify, Reason: ReasonIssuerUnreachable, Status: http.StatusOK,
			Description: "the answer is no JSON Web Key Set", Hint: "look at what answers at the issuer's jwks_uri",
		}
	}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && sized(key.Key) {
			keys = append(keys, key)
		} else {
			passedOver++
		}
	}
	return keys, passedOver, nil
}

// unusable says how many keys were passed over; empty when none was.
func (s *keySet) unusable() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passedOver == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d were passed over: they cannot be read, or are RSA keys beyond %d to %d bits)", s.passedOver, minRSABits, maxRSABits)
}

// sized reports whether arithmetic with a public key is bounded. The curves bound the others.
func sized(key any) bool {
	public, isRSA := key.(*rsa.PublicKey)
	return !isRSA || public.N.BitLen() >= minRSABits && public.N.BitLen() <= maxRSABits && public.E <= maxRSAExponent
}

// verifyWith tries the keys that fit the header of a token, so many of which were tried before. More than the bound are
// refused: which of them has signed is for the issuer to say.
func verifyWith(keys []jose.JSONWebKey, token *jose.JSONWebSignature, before int) (payload []byte, tried int, err error) {
	header := token.Signatures[0].Header
	var fitting []jose.JSONWebKey
	for _, key := range keys {
		if fits(key, header) {
			fitting = append(fitting, key)
		}
	}
	most := maxKeysTried
	for _, key := range fitting {
		most = min(most, maxKeysTried/cost(key.Key))
	}
	if len(fitting) > most {
		return nil, before, notVerified(fmt.Sprintf("%d keys of the issuer fit the token, and at most %d are tried", len(fitting), most),
			"make the issuer name the signing key in the token's header (kid), and give each key a kid of its own")
	}
	for _, key := range fitting {
		if before == most {
			break // The issuer gives out other keys each time.
		}
		before++
		if payload, err := token.Verify(key); err == nil {
			return payload, before, nil
		}
	}
	return nil, before, errNoKeyFits
}

// cost is what one try of a public key costs, in tries of an RSA key of 4096 bits.
func cost(key any) int {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() > 4096 {
			return 2
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P521() {
			return 4
		}
	}
	return 1
}

// fits reports whether a key is of the kind that a token's algorithm needs, and the one that it names.
func fits(key jose.JSONWebKey, header jose.Header) bool {
	if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm || key.Use == "enc" {
		return false
	}
	switch key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "RS") || strings.HasPrefix(header.Algorithm, "PS")
	case *ecdsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "ES")
	case ed25519.PublicKey:
		return header.Algorithm == string(jose.EdDSA)
	}
	return false
}

// maxDepth bounds how deep JSON of a server is nested.
const maxDepth = 64

// tooDeep reports whether a JSON text is nested deeper than maxDepth. It counts brackets outside of strings, and leaves
// everything else to the decoder.
func tooDeep(text []byte) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
			if depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
