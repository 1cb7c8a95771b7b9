package keycloak

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// assertionTypeJWT is the client_assertion_type of every JWT that authenticates a client (RFC 7523 §2.2).
const assertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	// assertionLife is how long a client assertion is valid. It is used at once, and the issuer has to remember its
	// jti for as long.
	assertionLife = 60 * time.Second
	// minRSABits is the size that RFC 7518 §3.3 and §3.5 require.
	minRSABits = 2048
)

// PrivateKeyJWTOptions describe the key of a client.
type PrivateKeyJWTOptions struct {
	// Key is the private key: PEM (PKCS #8, PKCS #1, SEC 1) or a JSON Web Key (RFC 7517 §4).
	Key sensitive.String
	// Algorithm is RS256, PS256 or ES256 (RFC 7518 §3.1), and the key must be of its kind.
	Algorithm string
	// KeyID names the key to the issuer. Without it the kid of the JWK counts, else the thumbprint (RFC 7638, SHA-256).
	KeyID string
	// Now is the clock that dates the assertions.
	Now func() time.Time
}

// PrivateKeyJWT authenticates with a JWT that the client's private key signs, a fresh one for each request
// (RFC 7523 §2.2, private_key_jwt). It is safe for concurrent use.
//
// Errors: CredentialMissing. They say nothing of the key but its kind and size.
func PrivateKeyJWT(o PrivateKeyJWTOptions) (ClientAuth, error) {
	signer, err := newSigner(o)
	if err != nil {
		return nil, badKey(o, err)
	}
	return privateKeyJWT{signer, o.Now}, nil
}

func badKey(o PrivateKeyJWTOptions, err error) *Error {
	return &Error{
		Op: opClientAuthentication, Reason: ReasonCredentialMissing, Description: err.Error(),
		Hint: "the Secret must hold a private key for " + cleaner{}.text(o.Algorithm) + ", as PEM or JWK",
	}
}

// PublicKeySet returns the public half of the key, as the issuer has to know it: a JWK Set (RFC 7517 §5).
//
// Errors: as PrivateKeyJWT.
func PublicKeySet(o PrivateKeyJWTOptions) (string, error) {
	key, err := namedKey(o)
	if err != nil {
		return "", badKey(o, err)
	}
	public := key.Public()
	public.Algorithm, public.Use = o.Algorithm, "sig"
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		return "", badKey(o, errors.New("the key has no public half"))
	}
	return string(set), nil
}

type privateKeyJWT struct {
	signer jose.Signer
	now    func() time.Time
}

func (privateKeyJWT) method() string { return methodPrivateKeyJWT }

// authenticate adds an assertion whose only audience is the issuer: Keycloak 26.4 and 26.7 refuse several, and others
// than the issuer are what let one server's assertions be used at another.
func (k privateKeyJWT) authenticate(_ context.Context, p *Provider, cfg *clientcredentials.Config) error {
	now := k.now()
	claims, err := json.Marshal(map[string]any{
		"iss": cfg.ClientID, "sub": cfg.ClientID, "aud": p.Issuer,
		"jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return err
	}
	jws, err := k.signer.Sign(claims)
	if err != nil {
		return errors.New("the client assertion cannot be signed with the private key")
	}
	assertion, err := jws.CompactSerialize()
	if err != nil {
		return err
	}
	cfg.AuthStyle = oauth2.AuthStyleInParams
	cfg.EndpointParams.Set("client_assertion_type", assertionTypeJWT)
	cfg.EndpointParams.Set("client_assertion", assertion)
	return nil
}

func newSigner(o PrivateKeyJWTOptions) (jose.Signer, error) {
	key, err := namedKey(o)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(o.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, errors.New("the key cannot sign with " + o.Algorithm)
	}
	return signer, nil
}

// namedKey reads the private key, with the name that the issuer knows it by.
func namedKey(o PrivateKeyJWTOptions) (jose.JSONWebKey, error) {
	key, err := parseKey(o.Key.Reveal())
	if err != nil {
		return key, err
	}
	if err := checkKey(key, o.Algorithm); err != nil {
		return key, err
	}
	key.KeyID = first(o.KeyID, key.KeyID)
	if key.KeyID == "" {
		thumbprint, err := key.Thumbprint(crypto.SHA256)
		if err != nil {
			return key, errors.New("the key has no thumbprint")
		}
		key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	}
	return key, nil
}

// parseKey reads a private key. The errors of the parsers stay behind: they may quote what they read.
func parseKey(text string) (jose.JSONWebKey, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return jose.JSONWebKey{}, errors.New("the private key is empty")
	}
	if len(text) > maxKeyBytes {
		return jose.JSONWebKey{}, fmt.Errorf("the private key is %d bytes, and at most %d are read: an RSA key of %d bits is shorter", len(text), maxKeyBytes, maxRSABits)
	}
	if strings.HasPrefix(text, "{") {
		var key jose.JSONWebKey
		if json.Unmarshal([]byte(text), &key) != nil || !key.Valid() {
			return jose.JSONWebKey{}, errors.New("the private key is JSON and no JWK of a key pair (RFC 7517)")
		}
		return key, nil
	}
	var seen []string
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default: // EC PARAMETERS, CERTIFICATE: what else a file may hold
			seen = append(seen, block.Type)
			continue
		}
		if err != nil {
			return jose.JSONWebKey{}, errors.New("the PEM block " + block.Type + " cannot be read: damaged, or encrypted")
		}
		return jose.JSONWebKey{Key: key}, nil
	}
	if len(seen) > 0 {
		return jose.JSONWebKey{}, errors.New("the PEM holds no private key in the clear, but " + strings.Join(seen, ", "))
	}
	return jose.JSONWebKey{}, errors.New("the private key is neither PEM nor a JWK")
}

// maxKeyBytes bounds a private key as PEM, its certificate beside it, or as JWK: to check an RSA key takes time that grows
// with the third power of its length.
const maxKeyBytes = 16 << 10

// checkKey says why a key cannot sign with an algorithm (RFC 7518 §3.3 to §3.5).
func checkKey(key jose.JSONWebKey, algorithm string) error {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return errors.New("the JWK is for " + cleaner{}.text(key.Algorithm) + ", not for " + cleaner{}.text(algorithm))
	}
	private, ok := key.Key.(crypto.Signer)
	if !ok {
		return errors.New("the JWK is not a private key")
	}
	switch algorithm {
	case "RS256", "PS256":
		public, isRSA := private.Public().(*rsa.PublicKey)
		switch {
		case !isRSA:
			return errors.New(algorithm + " needs an RSA key, and this is another kind")
		case public.N.BitLen() > maxRSABits:
			return fmt.Errorf("%s takes an RSA key of at most %d bits, and this has %d", algorithm, maxRSABits, public.N.BitLen())
		case public.N.BitLen() < minRSABits:
			return fmt.Errorf("%s needs an RSA key of at least %d bits, and this has %d", algorithm, minRSABits, public.N.BitLen())
		}
	case "ES256":
		if public, isEC := private.Public().(*ecdsa.PublicKey); !isEC || public.Curve != elliptic.P256() {
			return errors.New("ES256 needs an elliptic-curve key on P-256, and this is another kind")
		}
	default:
		return errors.New("the algorithm is " + cleaner{}.text(algorithm) + ", not RS256, PS256 or ES256")
	}
	return nil
}
