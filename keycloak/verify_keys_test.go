package keycloak

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestKeysAreFetchedOnceAndWhenTheyRotate(t *testing.T) {
	s, v := issuer(t)
	verify := func() {
		t.Helper()
		if _, err := v.Verify(t.Context(), sensitive.New(s.Sign(s.Claims("alice", "plain"))), Expect{Now: noon}); err != nil {
			t.Error(err)
		}
	}
	verify()
	verify()
	if n := s.KeysCount(); n != 1 {
		t.Errorf("keys fetched %d times, want once", n)
	}
	if _, err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	verify()
	if n := s.KeysCount(); n != 2 {
		t.Errorf("keys fetched %d times after a rotation, want twice", n)
	}
}

func TestKeysThatCannotBeFetched(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer keycloaktest.Answer
		reason string
		says   string
	}{
		{"unavailable", keycloaktest.Answer{Status: 503, Body: "canary"}, ReasonIssuerUnreachable, "HTTP 503"},
		{"not found", keycloaktest.Answer{Status: 404, Body: "canary"}, ReasonIssuerUnreachable, "signing keys (jwks_uri) could not be fetched"},
		{"throttled", keycloaktest.Answer{Status: 429}, ReasonThrottled, "HTTP 429"},
		{"dropped", keycloaktest.Answer{Drop: true, Forever: true}, ReasonIssuerUnreachable, "the connection broke"},
		{"HTML", keycloaktest.Answer{Status: 200, Body: "<html>canary"}, ReasonIssuerUnreachable, "no JSON Web Key Set"},
		{"another document", keycloaktest.Answer{Status: 200, Body: `{"canary":1}`}, ReasonIssuerUnreachable, "no JSON Web Key Set"},
		{"2 MB", keycloaktest.Answer{Status: 200, Body: strings.Repeat("canary", 400_000)}, ReasonIssuerInvalid, "larger than 1 MiB"},
		{"redirect", keycloaktest.Answer{Status: 302}, ReasonIssuerInvalid, "redirects are not followed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, v := issuer(t)
			token := sensitive.New(s.Sign(s.Claims("alice", "plain")))
			s.ScriptKeys(c.answer)
			_, err := v.Verify(t.Context(), token, Expect{Now: noon})
			wantError(t, err, c.reason, c.says)
			s.ScriptKeys()
			// Who comes within microseconds of a fetch's end may still share its answer (go-oidc forgets it after it has told it).
			for begin := time.Now(); err != nil && time.Since(begin) < time.Second; {
				_, err = v.Verify(t.Context(), token, Expect{Now: noon})
			}
			if err != nil {
				t.Errorf("when the keys are back: %v", err)
			}
		})
	}
}

// The fetch is for everybody: one caller's end must not fail it for the others, nor leave the keys unknown.
func TestACallersEndDoesNotEndTheFetch(t *testing.T) {
	s, v := issuer(t)
	token := sensitive.New(s.Sign(s.Claims("alice", "plain")))
	s.ScriptKeys(keycloaktest.Answer{Delay: 100 * time.Millisecond})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := v.Verify(short, token, Expect{Now: noon})
		wantError(t, err, ReasonIssuerUnreachable, "no answer in time")
	})
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), token, Expect{Now: noon}); err != nil {
			t.Errorf("the patient caller: %v", err)
		}
	})
	wg.Wait()
	if n := s.KeysCount(); n != 1 {
		t.Errorf("keys fetched %d times, want once", n)
	}
}

func TestRecordedTokensVerifyWithTheRecordedKeys(t *testing.T) {
	recordings := loadRecordings(t)
	verified := 0
	for _, version := range []string{"26.4.2", "26.7.3"} {
		var keys []byte
		for _, r := range recordings {
			if r.file == version+"/g26e-realm-disabled-certs" {
				keys = r.body
			}
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) }))
		t.Cleanup(server.Close)
		for _, name := range []string{"a4-*", "c1-*", "c5-*", "c6-*", "c10-*", "c13-*", "d2-*", "d3-*"} {
			for _, r := range recordings {
				if path.Dir(r.file) != version {
					continue
				}
				if ok, _ := path.Match(name, path.Base(r.file)); !ok {
					continue
				}
				token, err := r.replay(t)
				if err != nil {
					t.Fatalf("%s: %v", r.file, err)
				}
				claims, err := parseClaims(payloadOf(t, token.AccessToken.Reveal()))
				if err != nil {
					t.Fatalf("%s: %v", r.file, err)
				}
				id, _, _ := r.request.BasicAuth()
				v := NewVerifier(&Provider{Issuer: "http://" + r.request.Host + "/realms/lab", JWKSURI: server.URL}, server.Client())
				_, err = v.Verify(t.Context(), token.AccessToken, Expect{Audience: r.form["audience"], Exact: true, ClientID: id, Now: claims.IssuedAt})
				if err != nil {
					t.Errorf("%s: %v", r.file, err)
				}
				verified++
			}
		}
	}
	if verified < 16 {
		t.Errorf("%d recorded tokens verified, want at least 16", verified)
	}
}

func payloadOf(t testing.TB, token string) []byte {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
