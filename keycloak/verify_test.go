package keycloak

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// issuer is a stand-in at noon and its verifier.
func issuer(t *testing.T) (*keycloaktest.Server, *Verifier) {
	t.Helper()
	s := keycloaktest.NewServer(t, keycloaktest.Options{Now: atNoon})
	p, err := Discover(t.Context(), s.HTTPClient(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, NewVerifier(p, s.HTTPClient())
}

func TestVerifyReadsAGoodToken(t *testing.T) {
	s, v := issuer(t)
	claims := s.Claims("service-account-notes-sync", "notes-sync", "nextcloud")
	got, err := v.Verify(t.Context(), sensitive.New(s.Sign(claims)), Expect{Audience: []string{"nextcloud"}, Exact: true, ClientID: "notes-sync", Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	want := &Claims{
		Issuer: s.URL, Subject: claims["sub"].(string), Username: "service-account-notes-sync", ClientID: "notes-sync",
		KeyID: s.KeyID(), TokenID: claims["jti"].(string), Audience: []string{"nextcloud"}, Scopes: []string{"profile", "email"},
		IssuedAt: noon, Expiry: noon.Add(5 * time.Minute),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Claims{}, "All"), cmpopts.IgnoreUnexported(Claims{})); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if got.All["exp"] != json.Number("1795435500") || got.All["acr"] != "1" || len(got.All) != len(claims) {
		t.Errorf("All = %v", got.All)
	}
}

// claimCases changes a good token and says what becomes of it.
var claimCases = []struct {
	name   string
	change func(map[string]any)
	reason string // empty: accepted
	says   string
}{
	{"another issuer", set("iss", "https://evil.example"), ReasonTokenNotVerified, "iss is https://evil.example, not http://127.0.0.1"},
	{"no issuer", set("iss", nil), ReasonTokenNotVerified, "iss is"},
	{"another audience", set("aud", "account"), ReasonTokenWrongAudience, "aud is [account]: it lacks nextcloud"},
	{"no audience", set("aud", nil), ReasonTokenWrongAudience, "it lacks nextcloud"},
	{"an audience too many", set("aud", []string{"nextcloud", "account"}), ReasonTokenWrongAudience, "nobody asked for account"},
	{"a list of one audience", set("aud", []string{"nextcloud"}), "", ""},
	{"an audience that is a number", set("aud", 1), ReasonTokenMalformed, "wrong type"},
	{"an audience with a number", set("aud", []any{"nextcloud", 1}), ReasonTokenMalformed, "wrong type"},
	{"another client", set("azp", "plain"), ReasonTokenNotVerified, "azp is plain, not notes-sync"},
	{"no client", set("azp", nil), ReasonTokenNotVerified, "azp is"},
	{"client_id in the place of azp", func(c map[string]any) { delete(c, "azp"); c["client_id"] = "notes-sync" }, "", ""},
	{"expired", set("exp", noon.Unix()), ReasonTokenExpired, "expired at 2026-11-23T12:00:00Z, our time is 2026-11-23T12:00:00Z"},
	{"expires in a second", func(c map[string]any) { c["iat"] = noon.Unix() - 9; c["exp"] = noon.Unix() + 1 }, "", ""},
	{"no exp", set("exp", nil), ReasonTokenMalformed, "has no exp"},
	{"exp is a string", set("exp", "1795435500"), ReasonTokenMalformed, "claim"},
	{"exp in milliseconds", set("exp", noon.UnixMilli()), ReasonTokenMalformed, "exp"},
	{"exp in nanoseconds", set("exp", noon.UnixNano()), ReasonTokenMalformed, "exp"},
	{"exp before 1970", set("exp", -1), ReasonTokenMalformed, "exp"},
	{"exp with a fraction", set("exp", 1795435500.5), "", ""},
	{"expires before it is issued", set("iat", noon.Add(time.Hour).Unix()), ReasonTokenMalformed, "expires before it is issued"},
	{"issued in the future, by another clock", func(c map[string]any) {
		c["iat"] = noon.Add(time.Hour).Unix()
		c["exp"] = noon.Add(2 * time.Hour).Unix()
	}, "", ""},
	{"no iat", set("iat", nil), "", ""},
	{"iat is a string", set("iat", "now"), ReasonTokenMalformed, "claim"},
	{"not valid yet", set("nbf", noon.Add(2*time.Minute).Unix()), ReasonTokenNotVerified, "not valid before 2026-11-23T12:02:00Z"},
	{"valid from now, by another clock", set("nbf", noon.Add(59*time.Second).Unix()), "", ""},
	{"an ID token", set("typ", "ID"), ReasonTokenMalformed, "typ is ID"},
	{"a refresh token", set("typ", "Refresh"), ReasonTokenMalformed, "typ is Refresh"},
	{"an offline token", set("typ", "Offline"), ReasonTokenMalformed, "typ is Offline"},
	{"no typ, as other issuers", set("typ", nil), "", ""},
	{"bound by DPoP", func(c map[string]any) { c["typ"] = "DPoP"; c["cnf"] = map[string]any{"jkt": "x"} }, ReasonTokenMalformed, "cnf"},
	{"bound to a certificate", set("cnf", map[string]any{"x5t#S256": "x"}), ReasonTokenMalformed, "cannot prove possession"},
	{"typ DPoP without cnf", set("typ", "DPoP"), ReasonTokenMalformed, "DPoP"},
	{"a username of 32 KiB", set("preferred_username", strings.Repeat("x", 32<<10)), ReasonTokenMalformed, "longer than any name"},
	{"scopes without end", set("scope", strings.Repeat("scope ", 5000)), ReasonTokenMalformed, "longer than any name"},
	{"a username that is a token", set("preferred_username", "me eyJhbGciOiJSUzI1NiJ9.canary"), ReasonTokenMalformed, "is a token or a secret"},
	{"the secret of the client as a user", set("sub", "user of canary-secret-4711"), ReasonTokenMalformed, "is a token or a secret"},
	{"the secret of the client as a scope", set("scope", "openid canary-secret-4711"), ReasonTokenMalformed, "is a token or a secret"},
	{"a username that moves the cursor", set("preferred_username", "alice\x1b[2Kadmin"), ReasonTokenMalformed, "cannot be seen"},
	{"a username that reads backwards", set("preferred_username", "alice\u202enimda"), ReasonTokenMalformed, "cannot be seen"},
	{"a username of another script", set("preferred_username", "Ζωή \u0645\u06cc\u200c\u062e"), "", ""},
	{"a username that is a number", set("preferred_username", 7), ReasonTokenMalformed, "preferred_username"},
}

func set(name string, value any) func(map[string]any) {
	return func(c map[string]any) { c[name] = value }
}

func TestVerifyJudgesEveryClaim(t *testing.T) {
	s, v := issuer(t)
	expect := Expect{
		Audience: []string{"nextcloud"}, Exact: true, ClientID: "notes-sync", Now: noon,
		Secrets: []sensitive.String{sensitive.New("canary-secret-4711"), sensitive.New("alice"), {}},
	}
	for _, c := range claimCases {
		t.Run(c.name, func(t *testing.T) {
			claims := s.Claims("service-account-notes-sync", "notes-sync", "nextcloud")
			c.change(claims)
			for name, value := range claims {
				if value == nil {
					delete(claims, name)
				}
			}
			got, err := v.Verify(t.Context(), sensitive.New(s.Sign(claims)), expect)
			if c.reason == "" {
				if err != nil || got == nil {
					t.Errorf("%v, want claims", err)
				}
				return
			}
			wantError(t, err, c.reason, c.says)
			if got != nil {
				t.Error("claims of a refused token were returned")
			}
		})
	}
}

func TestVerifyExpectsOnlyWhatIsAsked(t *testing.T) {
	s, v := issuer(t)
	token := sensitive.New(s.Sign(s.Claims("alice", "plain", "nextcloud", "account")))
	for _, e := range []Expect{{Now: noon}, {Now: noon, Audience: []string{"account"}}, {Now: noon, Audience: []string{"account", "nextcloud"}, Exact: true, ClientID: "plain"}} {
		if _, err := v.Verify(t.Context(), token, e); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestVerifySaysWhatIsNoVerifiableToken(t *testing.T) {
	s, v := issuer(t)
	good := s.Sign(s.Claims("alice", "plain", "nextcloud"))
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	sign := func(algorithm jose.SignatureAlgorithm, key any, payload, typ string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		token, _ := jws.CompactSerialize()
		return token
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encrypter, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: jose.RSA_OAEP, Key: &foreign.PublicKey}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := encrypter.Encrypt([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	encrypted, _ := jwe.CompactSerialize()
	sameKeyID := jose.JSONWebKey{Key: foreign, KeyID: s.KeyID()}
	for _, c := range []struct{ name, token, reason, says string }{
		{"nothing", "", ReasonTokenMalformed, "opaque"},
		{"opaque", "canary-4711", ReasonTokenMalformed, "the token is opaque, not a JWT: make the issuer give out JWT"},
		{"opaque, with dots", "canary.47.11", ReasonTokenMalformed, "opaque"},
		{"encrypted", encrypted, ReasonTokenMalformed, "encrypted (JWE)"},
		{"not signed", b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ReasonTokenNotVerified, "signed with none"},
		{"signed with a shared secret", sign(jose.HS256, []byte(strings.Repeat("k", 32)), `{}`, "JWT"), ReasonTokenNotVerified, "signed with HS256"},
		{"signed by another key", sign(jose.RS256, foreign, `{}`, "JWT"), ReasonTokenNotVerified, "no key of the issuer fits"},
		{"signed by another key under our kid", sign(jose.RS256, sameKeyID, `{}`, "JWT"), ReasonTokenNotVerified, "no key of the issuer fits"},
		{"changed payload", parts[0] + "." + b64([]byte(`{"iss":"canary"}`)) + "." + parts[2], ReasonTokenNotVerified, "no key of the issuer fits"},
		{"broken base64", parts[0] + ".canary!." + parts[2], ReasonTokenMalformed, "cannot be read"},
		{"a good token with a line break", good[:99] + "\n" + good[99:], ReasonTokenMalformed, "cannot be read"},
		{"a logout token", sign(jose.RS256, foreign, `{}`, "logout+jwt"), ReasonTokenMalformed, "typ logout+jwt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), sensitive.New(c.token), Expect{Now: noon})
			wantError(t, err, c.reason, c.says)
		})
	}
}

// signingIssuer publishes one key and signs with it.
func signingIssuer(t *testing.T, algorithm jose.SignatureAlgorithm, private crypto.Signer) (*Verifier, func(payload string) sensitive.String) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "k"}}})
	}))
	t.Cleanup(server.Close)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: private, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewVerifier(&Provider{Issuer: "https://i", JWKSURI: server.URL}, server.Client()), func(payload string) sensitive.String {
		jws, err := signer.Sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		token, _ := jws.CompactSerialize()
		return sensitive.New(token)
	}
}

func TestVerifyTakesEveryAsymmetricSignature(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[jose.SignatureAlgorithm]crypto.Signer{}
	for _, a := range []jose.SignatureAlgorithm{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		keys[a] = rsaKey
	}
	for a, curve := range map[jose.SignatureAlgorithm]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if keys[a], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	_, keys["EdDSA"], err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != len(algorithms) {
		t.Fatalf("%d algorithms tested, %d allowed", len(keys), len(algorithms))
	}
	for algorithm, key := range keys {
		v, sign := signingIssuer(t, algorithm, key)
		claims, err := v.Verify(t.Context(), sign(`{"iss":"https://i","exp":1795435500}`), Expect{Now: noon})
		if err != nil || claims.KeyID != "k" {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestVerifyRefusesClaimsThatAreNone(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, sign := signingIssuer(t, jose.EdDSA, key)
	for _, payload := range []string{``, `null`, `[]`, `"canary"`, `{"canary"`, `{"_claim_names":{"a":"b"}}`} {
		_, err := v.Verify(t.Context(), sign(payload), Expect{Now: noon})
		wantError(t, err, ReasonTokenMalformed, "")
	}
}
