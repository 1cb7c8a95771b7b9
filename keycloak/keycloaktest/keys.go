package keycloaktest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

type signingKey struct {
	private *rsa.PrivateKey
	id      string
}

func newSigningKey() (signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, err
	}
	thumbprint, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, err
	}
	return signingKey{private, base64.RawURLEncoding.EncodeToString(thumbprint)}, nil
}

// RotateKey makes a new signing key and returns its kid. Keys of before stay published, as Keycloak's passive keys.
func (s *Server) RotateKey() (string, error) {
	key, err := newSigningKey()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	return key.id, nil
}

// RemoveKey takes a key out of those that are published, as an administrator does. The key that signs stays.
func (s *Server) RemoveKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	signs := s.keys[len(s.keys)-1]
	s.keys = append(slices.DeleteFunc(s.keys[:len(s.keys)-1], func(k signingKey) bool { return k.id == id }), signs)
}

// KeyID returns the kid of the key that signs now.
func (s *Server) KeyID() string { return s.signer().id }

func (s *Server) signer() signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1]
}

// Sign returns a JWT of exactly these claims, signed with the server's key (RS256). It panics on claims that are no JSON.
func (s *Server) Sign(claims map[string]any) string {
	key := s.signer()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(fmt.Errorf("keycloaktest: %w", err))
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(fmt.Errorf("keycloaktest: %w", err))
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		panic(fmt.Errorf("keycloaktest: %w", err))
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		panic(fmt.Errorf("keycloaktest: %w", err))
	}
	return token
}

// claimsOf returns the claims of a valid access token of this server.
func (s *Server) claimsOf(token string) (map[string]any, error) {
	claims, err := verified(token, s.Keys().Keys)
	switch {
	case err != nil:
		return nil, err
	case claims["iss"] != s.URL || claims["typ"] != "Bearer" || s.expired(claims):
		return nil, errors.New("expired, or no access token of this realm")
	case s.isRevoked(claims):
		return nil, errors.New("revoked, or its session has ended")
	}
	return claims, nil
}

// expired reports whether a JWT has expired by the server's clock.
func (s *Server) expired(claims map[string]any) bool {
	exp, _ := claims["exp"].(float64)
	return int64(exp) <= s.now().Unix()
}

// unverified reads a JWT without looking at its signature.
func unverified(token string) (*jose.JSONWebSignature, map[string]any, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256})
	if err != nil {
		return nil, nil, err
	}
	var claims map[string]any
	err = json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims)
	return jws, claims, err
}

// verified reads a JWT that one of the keys signed: the one it names, if it names one.
func verified(token string, keys []jose.JSONWebKey) (map[string]any, error) {
	jws, claims, err := unverified(token)
	if err != nil {
		return nil, err
	}
	kid := jws.Signatures[0].Header.KeyID
	for _, key := range keys {
		if kid != "" && kid != key.KeyID {
			continue
		}
		if _, err := jws.Verify(key.Key); err == nil {
			return claims, nil
		}
	}
	return nil, errors.New("bad signature, or an unknown key")
}

// Keys returns the public signing keys, as they are published.
func (s *Server) Keys() jose.JSONWebKeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, key := range s.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.private.Public(), KeyID: key.id, Algorithm: "RS256", Use: "sig"})
	}
	return set
}

func (s *Server) publishKeys(w http.ResponseWriter, _ *http.Request, _ Answer) {
	writeJSON(w, http.StatusOK, s.Keys())
}
