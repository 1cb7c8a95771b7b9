package keycloak

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestPrivateKeyJWTSaysWhatRFC7523Says(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		key, algorithm, keyID string
		signer                crypto.Signer
		kid                   string
	}{
		"RS256, PKCS #8":                   {pkcs8(rsa2048), "RS256", "", rsa2048, thumbprint(rsa2048)},
		"PS256, PKCS #1":                   {pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)), "PS256", "mine", rsa2048, "mine"},
		"ES256, SEC 1":                     {pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))), "ES256", "", p256, thumbprint(p256)},
		"ES256, after its parameters":      {pemOf("EC PARAMETERS", []byte{6, 8}) + pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))), "ES256", "", p256, thumbprint(p256)},
		"RS256, JWK with kid":              {jwkOf(rsa2048, "theirs", "RS256"), "RS256", "", rsa2048, "theirs"},
		"ES256, JWK without kid":           {"\n" + jwkOf(p256, "", "") + "\n", "ES256", "", p256, thumbprint(p256)},
		"RS256, the option before the JWK": {jwkOf(rsa2048, "theirs", ""), "RS256", "mine", rsa2048, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			s := keycloaktest.NewServer(t, keycloaktest.Options{Now: func() time.Time { return now }})
			s.SetClient(keycloaktest.Client{
				ID: "notes sync:1", Audience: []string{"nextcloud"}, Keys: []jose.JSONWebKey{{Key: c.signer.Public(), KeyID: c.kid}},
			})
			auth, err := PrivateKeyJWT(PrivateKeyJWTOptions{
				Key: sensitive.New(c.key), Algorithm: c.algorithm, KeyID: c.keyID, Now: func() time.Time { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			client := newClient(t, s, auth)
			for range 2 { // each request with an assertion of its own
				if _, err := client.ClientCredentials(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			form := s.Requests()[0].Form
			jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(c.algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
				t.Fatal(err)
			}
			if jti, _ := claims["jti"].(string); len(jti) < 20 {
				t.Errorf("jti %q", jti)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "notes sync:1", "sub": "notes sync:1", "aud": s.URL, "iat": float64(now.Unix()), "exp": float64(now.Unix() + 60),
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if kid := jws.Signatures[0].Header.KeyID; kid != c.kid {
				t.Errorf("kid %q, want %q", kid, c.kid)
			}
			if form.Get("client_id") != "notes sync:1" || form.Has("client_secret") || form.Get("client_assertion_type") != assertionTypeJWT {
				t.Errorf("form %v", form)
			}
		})
	}
}

func TestKeysThatCannotSignAreRefused(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ key, algorithm, says string }{
		"nothing":                       {"  \n", "RS256", "the private key is empty"},
		"no key at all":                 {"canary", "RS256", "neither PEM nor a JWK"},
		"JSON that is no key":           {`{"kty":"canary"}`, "RS256", "no JWK of a key pair"},
		"truncated JSON":                {`{"kty":"RSA","d":"canary`, "RS256", "no JWK of a key pair"},
		"a public JWK":                  {jwkOf(rsa2048.Public(), "", ""), "RS256", "not a private key"},
		"a symmetric JWK":               {jwkOf([]byte("canary-canary-canary"), "", ""), "RS256", "no JWK of a key pair"},
		"a JWK for another algorithm":   {jwkOf(rsa2048, "", "PS256"), "RS256", "the JWK is for PS256, not for RS256"},
		"a certificate":                 {pemOf("CERTIFICATE", []byte("canary")), "RS256", "but CERTIFICATE"},
		"an encrypted key":              {pemOf("ENCRYPTED PRIVATE KEY", []byte("canary")), "RS256", "in the clear, but ENCRYPTED PRIVATE KEY"},
		"a damaged key":                 {pemOf("PRIVATE KEY", []byte("canary")), "RS256", "cannot be read"},
		"an elliptic key for RS256":     {pkcs8(p256), "RS256", "RS256 needs an RSA key"},
		"an RSA key for ES256":          {pkcs8(rsa2048), "ES256", "ES256 needs an elliptic-curve key on P-256"},
		"another curve for ES256":       {pkcs8(p384), "ES256", "P-256"},
		"an Edwards key":                {pkcs8(edwards), "PS256", "PS256 needs an RSA key"},
		"a short RSA key":               {pkcs8(rsa1024), "RS256", "at least 2048 bits, and this has 1024"},
		"an algorithm that nobody has":  {pkcs8(rsa2048), "XS256", "the algorithm is XS256"},
		"a symmetric algorithm":         {pkcs8(rsa2048), "HS256", "not RS256, PS256 or ES256"},
		"a signature that proves least": {pkcs8(rsa2048), "none", "not RS256, PS256 or ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := PrivateKeyJWT(PrivateKeyJWTOptions{Key: sensitive.New(c.key), Algorithm: c.algorithm, Now: time.Now})
			wantError(t, err, ReasonCredentialMissing, c.says)
		})
	}
}

func TestPrivateKeyJWTIsRefusedForItsCause(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		client keycloaktest.Client
		ahead  time.Duration
		says   string
	}{
		"an unknown kid":            {keycloaktest.Client{Keys: []jose.JSONWebKey{{Key: rsa2048.Public(), KeyID: "other"}}}, 0, "with that kid"},
		"another key":               {keycloaktest.Client{Keys: []jose.JSONWebKey{{Key: p256.Public(), KeyID: "k"}}}, 0, "not registered"},
		"a clock that is ahead":     {keycloaktest.Client{Keys: []jose.JSONWebKey{{Key: rsa2048.Public(), KeyID: "k"}}}, time.Minute, "ahead of the issuer's"},
		"a clock that is behind":    {keycloaktest.Client{Keys: []jose.JSONWebKey{{Key: rsa2048.Public(), KeyID: "k"}}}, -time.Hour, "has expired"},
		"a client with a secret":    {keycloaktest.Client{Secret: "s"}, 0, `"Signed JWT"`},
		"a client that is disabled": {keycloaktest.Client{Disabled: true}, 0, "is enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			s := keycloaktest.NewServer(t, keycloaktest.Options{Now: func() time.Time { return now }})
			c.client.ID = "notes sync:1"
			s.SetClient(c.client)
			auth, err := PrivateKeyJWT(PrivateKeyJWTOptions{
				Key: sensitive.New(pkcs8(rsa2048)), Algorithm: "RS256", KeyID: "k", Now: func() time.Time { return now.Add(c.ahead) },
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = newClient(t, s, auth).ClientCredentials(t.Context(), nil)
			wantError(t, err, ReasonClientRejected, c.says)
		})
	}
}
