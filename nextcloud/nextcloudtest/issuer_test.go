package nextcloudtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tokengrant/tokengrant/nextcloud/internal/recording"
)

// recordedIssuer is the host of every issuer in the recordings; the tests' own takes its place in tokens.
const recordedIssuer = "http://127.0.0.1:8180"

// issuer publishes keys under the ids that the recorded ones had, for any realm in its path.
type issuer struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	published []string
	hangs     bool
	loggedOut []string // sid
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t, published: []string{keyMCP, keyLab}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realms/{realm}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		realm := i.URL + "/realms/" + r.PathValue("realm")
		writeJSON(w, map[string]string{"issuer": realm, "jwks_uri": realm + "/certs", "userinfo_endpoint": realm + "/userinfo"})
	})
	mux.HandleFunc("GET /realms/{realm}/certs", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, i.keySet()) })
	mux.HandleFunc("GET /realms/{realm}/userinfo", i.userInfo)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.isHanging() {
			<-r.Context().Done()
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

// Ids of the keys in the recordings: one of the realm nextcloud-mcp, two of the realm nc-lab.
const (
	keyMCP    = "KVZtiPSfzVUVQD7_SmLcc70bmSJua6i0gz6tMmlnDGk"
	keyLab    = "TkFkNuWfx7Sl_K4qmu47_KygNMKN4pM-VViCkJ4qIqU"
	keyLabNew = "gB4CqZI8her_KCt3rQ3Sb2hBOPj9QghdTRjqMSKvBVQ"
)

// signature takes the place of the recorded RS256: an RSA key takes seconds to make on a busy machine.
const signature = jose.ES256

// privateKey makes one key for each id, once.
var privateKey = func() func(t *testing.T, id string) *ecdsa.PrivateKey {
	var mu sync.Mutex
	keys := map[string]*ecdsa.PrivateKey{}
	return func(t *testing.T, id string) *ecdsa.PrivateKey {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if keys[id] == nil {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keys[id] = key
		}
		return keys[id]
	}
}()

func (i *issuer) keySet() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, id := range i.published {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: privateKey(i.t, id).Public(), KeyID: id, Algorithm: string(signature), Use: "sig"})
	}
	return set
}

func (i *issuer) publish(ids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = ids
}

func (i *issuer) setHanging(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hangs = on
}

func (i *issuer) isHanging() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hangs
}

func (i *issuer) logout(sid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.loggedOut = append(i.loggedOut, sid)
}

// userInfo is Keycloak's: scope openid is needed, any audience will do, and a logout is noticed. It verifies no signature.
func (i *issuer) userInfo(w http.ResponseWriter, r *http.Request) {
	token, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{signature})
	claims := map[string]any{}
	if err != nil || token.UnsafeClaimsWithoutVerification(&claims) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	scope, _ := claims["scope"].(string)
	sid, _ := claims["sid"].(string)
	i.mu.Lock()
	out := slices.Contains(i.loggedOut, sid)
	i.mu.Unlock()
	if out || !slices.Contains(strings.Fields(scope), "openid") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	writeJSON(w, claims)
}

// token signs a recorded token again, issued by this issuer and moved in time.
func (i *issuer) token(rec *recording.JWT, shift time.Duration) string {
	i.t.Helper()
	claims := map[string]any{}
	for name, value := range rec.Claims {
		claims[name] = value
		if seconds, ok := value.(float64); ok {
			claims[name] = int64(seconds) + int64(shift.Seconds())
		}
	}
	if iss, ok := claims["iss"].(string); ok {
		claims["iss"] = strings.Replace(iss, recordedIssuer, i.URL, 1)
	}
	if rec.Algorithm == "none" {
		payload, err := json.Marshal(claims)
		if err != nil {
			i.t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
	}
	var key any = privateKey(i.t, rec.KeyID)
	algorithm := signature
	if strings.HasPrefix(rec.Algorithm, "HS") {
		key, algorithm = []byte(strings.Repeat("the client secret ", 5)), jose.SignatureAlgorithm(rec.Algorithm)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: rec.KeyID}}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	if rec.Tampered {
		return tamper(signed)
	}
	return signed
}

// tamper changes the first character of the signature.
func tamper(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}
