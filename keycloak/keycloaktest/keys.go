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

// claimsOf returns the claims of a token of this server that has not expired by its clock.
func (s *Server) claimsOf(token string) (map[string]any, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	keys := s.keys
	s.mu.Unlock()
	for _, key := range keys {
		payload, err := jws.Verify(key.private.Public())
		if err != nil {
			continue
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			return nil, err
		}
		exp, _ := claims["exp"].(float64)
		if claims["iss"] != s.URL || claims["typ"] != "Bearer" || int64(exp) <= s.now().Unix() {
			return nil, errors.New("expired, or no access token of this realm")
		}
		return claims, nil
	}
	return nil, errors.New("bad signature")
}

func (s *Server) publishKeys(w http.ResponseWriter, _ *http.Request, _ Answer) {
	s.mu.Lock()
	var set jose.JSONWebKeySet
	for _, key := range s.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.private.Public(), KeyID: key.id, Algorithm: "RS256", Use: "sig"})
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, set)
}
