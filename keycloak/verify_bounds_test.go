package keycloak

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// attack is an issuer whose keys and token cost as much to verify as they may.
type attack struct {
	keys    []string
	kid     string
	payload int
	// algorithm is RS256 when empty.
	algorithm string
	// signature is in bytes.
	signature int
}

// rsaJWK describes a key that nobody has, with a modulus of so many bits.
func rsaJWK(bits int, members string) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.Add(n, big.NewInt(1))
	return `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(n.Bytes()) + `","e":"AQAB"` + members + `}`
}

// verifier serves the keys, and gives the token.
func (a attack) verifier(t testing.TB) (*Verifier, sensitive.String) {
	t.Helper()
	set := `{"keys":[` + strings.Join(a.keys, ",") + `]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) }))
	t.Cleanup(server.Close)
	hc, err := httpclient.New(httpclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	claims, err := json.Marshal(map[string]any{"iss": "https://id.example.com", "exp": noon.Add(time.Hour).Unix(), "pad": strings.Repeat("x", a.payload)})
	if err != nil {
		t.Fatal(err)
	}
	header := `{"alg":"` + cmp.Or(a.algorithm, "RS256") + `","typ":"JWT"`
	if a.kid != "" {
		header += `,"kid":"` + a.kid + `"`
	}
	signature := make([]byte, a.signature)
	signature[0] = 0x40
	if a.algorithm != "" { // Both halves are above 0 and below the order of the curve.
		signature[0], signature[5], signature[len(signature)/2+5] = 0, 1, 1
	}
	token := b64([]byte(header+"}")) + "." + b64(claims) + "." + b64(signature)
	return NewVerifier(&Provider{Issuer: "https://id.example.com", JWKSURI: server.URL}, hc), sensitive.New(token)
}

func many(n int, key string) []string {
	return strings.Split(strings.TrimSuffix(strings.Repeat(key+"\n", n), "\n"), "\n")
}

// TestVerificationIsBounded: what is too much is refused before any arithmetic, with the bound.
func TestVerificationIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		attack
		reason, says string
	}{
		"a token of 600 KiB": {attack{keys: many(1, rsaJWK(2048, "")), payload: 600 << 10, signature: 256}, ReasonTokenMalformed, "and at most 65536 are verified"},
		"900 keys":           {attack{keys: many(900, rsaJWK(2048, "")), signature: 256}, ReasonIssuerInvalid, "and at most 262144 are read"},
		"9 keys, and no kid": {attack{keys: many(9, rsaJWK(2048, "")), signature: 256}, ReasonTokenNotVerified, "9 keys of the issuer fit the token, and at most 8 are tried"},
		"9 keys of one kid":  {attack{keys: many(9, rsaJWK(2048, `,"kid":"k"`)), kid: "k", signature: 256}, ReasonTokenNotVerified, "at most 8 are tried"},
		"9 keys, one of the kid": {
			attack{keys: append(many(8, rsaJWK(2048, `,"kid":"other"`)), rsaJWK(2048, `,"kid":"k"`)), kid: "k", signature: 256}, ReasonTokenNotVerified, "no key of the issuer fits",
		},
		"3 keys on P-521, and no kid":     {attack{keys: many(3, ecJWK(t)), algorithm: "ES512", signature: 132}, ReasonTokenNotVerified, "at most 2 are tried"},
		"5 keys of 8192 bits, and no kid": {attack{keys: many(5, rsaJWK(8192, "")), signature: 1024}, ReasonTokenNotVerified, "at most 4 are tried"},
		"keys of another algorithm":       {attack{keys: many(9, rsaJWK(2048, `,"alg":"PS256"`)), signature: 256}, ReasonTokenNotVerified, "no key of the issuer fits"},
		"a modulus of 100 000 bits":       {attack{keys: many(1, rsaJWK(100_000, "")), signature: 12_500}, ReasonTokenNotVerified, "1 were passed over: they cannot be read, or are RSA keys beyond 2048 to 8192 bits"},
		"a modulus of 1024 bits":          {attack{keys: many(1, rsaJWK(1024, "")), signature: 128}, ReasonTokenNotVerified, "RSA keys beyond 2048 to 8192 bits"},
		"keys in 65 lists":                {attack{keys: many(1, strings.Repeat("[", 65)+strings.Repeat("]", 65)), signature: 256}, ReasonIssuerUnreachable, "no JSON Web Key Set"},
	} {
		t.Run(name, func(t *testing.T) {
			v, token := tt.verifier(t)
			began := cpu(t)
			_, err := v.Verify(t.Context(), token, Expect{Now: noon})
			wantError(t, err, tt.reason, tt.says)
			if spent := cpu(t) - began; spent > 500*time.Millisecond { // The smallest of these took seconds.
				t.Errorf("it took %s of processor time", spent)
			}
		})
	}
}

// TestKeysThatCannotBeUsedArePassedOver, so that one odd key of a realm fails no other.
func TestKeysThatCannotBeUsedArePassedOver(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "good"})
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[null,7,{},{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"},{"kty":"oct","k":"AAAA"},%s,%s]}`, rsaJWK(1024, ""), good)
	if keys, passedOver, err := parseKeys([]byte(set)); err != nil || len(keys) != 1 || keys[0].KeyID != "good" || passedOver != 6 {
		t.Errorf("%d keys, %d passed over, error %v, want the good one", len(keys), passedOver, err)
	}
}

func TestNestedJSON(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("[", maxDepth):                                           false,
		strings.Repeat("[", maxDepth+1):                                         true,
		strings.Repeat("[]", 1000):                                              false,
		`"` + strings.Repeat("[", 1000) + `"`:                                   false,
		`"\"` + strings.Repeat("{", 1000) + `"`:                                 false,
		`"\\"` + strings.Repeat("{", 1000):                                      true,
		`{"a":` + strings.Repeat(`{"a":`, maxDepth):                             true,
		strings.Repeat(`{"a":[`, maxDepth/2) + strings.Repeat("]}", maxDepth/2): false,
	} {
		if got := tooDeep([]byte(text)); got != want {
			t.Errorf("%.40s…: %t, want %t", text, got, want)
		}
	}
}

// TestTextsOfServersAreBounded in time and space, whatever the secrets are.
func TestTextsOfServersAreBounded(t *testing.T) {
	for name, tt := range map[string]struct{ secret, text string }{
		"a secret of one letter":                 {"e", strings.Repeat("e", 8<<10)},
		"a secret of its own mark":               {"redacted", strings.Repeat("redacted ", 8<<10/9)},
		"1 MiB":                                  {"secret", strings.Repeat("eyJ", 1<<20/3)},
		"a secret at the end of 1 MiB of spaces": {"a-long-secret", strings.Repeat(" ", 1<<20) + "a-long-secre"},
	} {
		t.Run(name, func(t *testing.T) {
			began := cpu(t)
			got := newCleaner("client", tt.secret).text(tt.text)
			if len(got) > 4*maxText || strings.Contains(got, "a-long") {
				t.Errorf("%d bytes: %.80s", len(got), got)
			}
			if spent := cpu(t) - began; spent > 2*time.Second { // What grows with the square of the text takes minutes.
				t.Errorf("it took %s of processor time", spent)
			}
		})
	}
}

// BenchmarkWorstVerification is the costliest of what is not refused: as many keys as are tried, none of which has signed,
// from an issuer whose keys are fetched anew each time.
func BenchmarkWorstVerification(b *testing.B) {
	for name, a := range map[string]attack{
		"RSA-8192": {keys: many(maxKeysTried/2, rsaJWK(maxRSABits, "")), payload: 45 << 10, signature: maxRSABits / 8},
		"RSA-4096": {keys: many(maxKeysTried, rsaJWK(4096, "")), payload: 45 << 10, signature: 512},
		"ES512":    {keys: many(maxKeysTried/4, ecJWK(b)), payload: 45 << 10, algorithm: "ES512", signature: 132},
	} {
		b.Run(name, func(b *testing.B) {
			v, token := a.verifier(b)
			now, began := noon, cpu(b)
			for b.Loop() {
				now = now.Add(keysPause)
				if _, err := v.Verify(context.Background(), token, Expect{Now: now}); err == nil {
					b.Fatal("verified")
				}
			}
			b.ReportMetric(float64((cpu(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			if n := len(v.keys.keys); n != len(a.keys) {
				b.Fatalf("%d keys were used, want %d", n, len(a.keys))
			}
		})
	}
}

// ecJWK is a key on P-521.
func ecJWK(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// cpu is the processor time of this process.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
