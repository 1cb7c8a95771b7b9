//go:build integration

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
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

func now() time.Time { return time.Now() }

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// register makes the public key the only one of the client signed-jwt. Keycloak looks for it by its kid.
func (s server) register(t *testing.T, key crypto.Signer, algorithm, kid string) {
	t.Helper()
	public := jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: algorithm, Use: "sig"}
	if kid == "" {
		thumbprint, err := public.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		t.Fatal(err)
	}
	s.attributes(t, realm.Name, "signed-jwt", map[string]string{"use.jwks.string": "true", "jwks.string": string(set)})
}

func (s server) signedJWT(t *testing.T, key crypto.Signer, algorithm, kid string) keycloak.Client {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := keycloak.PrivateKeyJWT(keycloak.PrivateKeyJWTOptions{
		Key:       sensitive.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))),
		Algorithm: algorithm, KeyID: kid, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.client(t, realm.Name, "signed-jwt", auth)
}

// mint gets a token of the service account and exchanges it.
func (s server) mint(t *testing.T, c keycloak.Client) {
	t.Helper()
	subject, err := c.ClientCredentials(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Exchange(t.Context(), subject.AccessToken, keycloak.ExchangeRequest{Audience: []string{"nextcloud"}})
	if err != nil {
		t.Fatal(err)
	}
	s.verify(t, c, token, "nextcloud")
}

func testPrivateKeyJWT(t *testing.T, s server) {
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[string]crypto.Signer{"RS256": rsaKey(t), "PS256": rsaKey(t), "ES256": elliptical} {
		t.Run(algorithm, func(t *testing.T) {
			s.register(t, key, algorithm, "")
			s.mint(t, s.signedJWT(t, key, algorithm, ""))
			s.register(t, key, algorithm, "a name")
			s.mint(t, s.signedJWT(t, key, algorithm, "a name"))
		})
	}
	t.Run("a key that is not registered", func(t *testing.T) {
		_, err := s.signedJWT(t, rsaKey(t), "RS256", "").ClientCredentials(t.Context(), nil)
		refused(t, err, keycloak.ReasonClientRejected, "key", `"signed-jwt"`)
	})
	t.Run("a client that wants a secret", func(t *testing.T) {
		c := s.signedJWT(t, rsaKey(t), "RS256", "")
		c.ID = "notes-sync"
		_, err := c.ClientCredentials(t.Context(), nil)
		refused(t, err, keycloak.ReasonClientRejected, `"notes-sync"`, "Client Authenticator")
	})
	t.Run("revoke and logout take it too", func(t *testing.T) {
		key := rsaKey(t)
		s.register(t, key, "RS256", "")
		c := s.signedJWT(t, key, "RS256", "")
		token, err := c.ClientCredentials(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Revoke(t.Context(), token.AccessToken, keycloak.TokenTypeHintAccessToken); err != nil {
			t.Error(err)
		}
		_, err = c.Exchange(t.Context(), token.AccessToken, keycloak.ExchangeRequest{Audience: []string{"nextcloud"}})
		refused(t, err, keycloak.ReasonSubjectTokenInvalid)
	})
}

// testFederated authenticates with a service account token of a cluster that the test plays.
func testFederated(t *testing.T, s server) {
	key := rsaKey(t)
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}
	cluster := issuerOf(t, func() jose.JSONWebKeySet { return public })
	provider := map[string]any{"alias": "kubernetes", "providerId": "kubernetes", "enabled": true, "config": map[string]any{"issuer": cluster.URL}}
	if s.Version == oldest {
		provider["providerId"], provider["hideOnLogin"] = "oidc", true
		provider["config"] = map[string]any{
			"issuer": cluster.URL, "validateSignature": "true", "useJwksUrl": "true", "jwksUrl": cluster.URL + "/openid/v1/jwks",
			"supportsClientAssertions": "true", "supportsClientAssertionReuse": "true",
			"clientId": "unused", "clientSecret": "unused", "authorizationUrl": cluster.URL, "tokenUrl": cluster.URL,
		}
	}
	s.admin(t, http.MethodPost, "/"+realm.Name+"/identity-provider/instances", provider, nil)
	token := func(sub string, audience ...string) keycloak.ClientAuth {
		return keycloak.Assertion(func(context.Context) (sensitive.String, error) {
			return sensitive.New(sign(t, key, "k1", map[string]any{
				"iss": cluster.URL, "sub": sub, "aud": audience, "jti": rand.Text(),
				"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
			})), nil
		})
	}
	const account = "system:serviceaccount:apps:notes-sync"
	issuer := s.Issuer(realm.Name)
	s.mint(t, s.client(t, realm.Name, "kubernetes", token(account, issuer)))

	_, err := s.client(t, realm.Name, "kubernetes", token("system:serviceaccount:apps:other", issuer)).ClientCredentials(t.Context(), nil)
	refused(t, err, keycloak.ReasonClientRejected, "jwt.credential.sub")
	// The assertion says which client it is, whatever the caller thinks: only the verification tells.
	misnamed := s.client(t, realm.Name, "notes-sync", token(account, issuer))
	minted, err := misnamed.ClientCredentials(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = keycloak.NewVerifier(misnamed.Provider, http.DefaultClient).Verify(t.Context(), minted.AccessToken, keycloak.Expect{ClientID: "notes-sync", Now: now()})
	refused(t, err, keycloak.ReasonTokenNotVerified, "azp is kubernetes")

	_, err = s.client(t, realm.Name, "kubernetes", token(account, "https://kubernetes.default.svc")).ClientCredentials(t.Context(), nil)
	refused(t, err, keycloak.ReasonClientRejected, "only audience")
	_, err = s.client(t, realm.Name, "kubernetes", token(account, issuer, "https://kubernetes.default.svc")).ClientCredentials(t.Context(), nil)
	refused(t, err, keycloak.ReasonClientRejected, "only audience")
}

func sign(t *testing.T, key crypto.Signer, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
