package keycloaktest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded returns status and body that Keycloak 26.7.3 answered with, or the version before the slash of name.
func recorded(t *testing.T, name string) (status string, fields map[string]any) {
	t.Helper()
	if !strings.Contains(name, "/") {
		name = "26.7.3/" + name
	}
	raw, err := os.ReadFile("../testdata/" + name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	_, answer, _ := bytes.Cut(raw, []byte("\nHTTP/1.1 "))
	head, body, _ := bytes.Cut(answer, []byte("\n\n"))
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(head[:3]), fields
}

func claimsIn(t *testing.T, fields map[string]any) map[string]any {
	t.Helper()
	token, _ := fields["access_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no token in %v", fields)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// kinds maps each name to the JSON kind of its value.
func kinds(m map[string]any) map[string]string {
	k := map[string]string{}
	for name, value := range m {
		b, _ := json.Marshal(value)
		switch b[0] {
		case '"':
			k[name] = "string"
		case '{':
			k[name] = "object"
		case '[':
			k[name] = "array"
		case 't', 'f':
			k[name] = "boolean"
		default:
			k[name] = "number"
		}
	}
	return k
}

// post sends a form to the token endpoint as a client and returns status and body.
func post(t *testing.T, s *Server, id, secret string, form url.Values) (string, map[string]any) {
	t.Helper()
	return postTo(t, s, "token", id, secret, form)
}

func postTo(t *testing.T, s *Server, endpoint, id, secret string, form url.Values) (string, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/protocol/openid-connect/"+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(id, secret)
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var fields map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&fields); err != nil {
		t.Fatal(err)
	}
	return resp.Status[:3], fields
}

func realmAsRecorded(t *testing.T) *Server {
	s := NewServer(t)
	s.SetClient(Client{ID: "nextcloud-mcp-server", Secret: "mcp-secret", Audience: []string{"nextcloud"}, OptionalScopes: map[string][]string{"other-api-aud": {"other-api"}}})
	s.SetClient(Client{ID: "plain", Secret: "plain-secret", NoExchange: true})
	s.SetClient(Client{ID: "no-sa", Secret: "nosa-secret", NoServiceAccount: true})
	s.SetClient(Client{ID: "other-api"})
	s.SetClient(Client{ID: "disabled-aud", Disabled: true})
	return s
}

func exchange(s *Server, subject map[string]any, more url.Values) url.Values {
	form := url.Values{
		"grant_type": {grantExchange}, "subject_token": {s.Sign(subject)}, "subject_token_type": {typeAccessToken},
	}
	maps.Copy(form, more)
	return form
}

func TestErrorsAreThoseOfKeycloak(t *testing.T) {
	s := realmAsRecorded(t)
	own := s.Claims("service-account-nextcloud-mcp-server", "nextcloud-mcp-server", "nextcloud", "account")
	expired := s.Claims("alice", "nextcloud-mcp-server")
	expired["exp"] = time.Now().Add(-time.Second).Unix()
	cc := url.Values{"grant_type": {"client_credentials"}}
	for _, c := range []struct {
		recording, id, secret string
		form                  url.Values
	}{
		{"g01-wrong-secret-basic", "nextcloud-mcp-server", "wrong", cc},
		{"g03-unknown-client", "nosuch", "x", cc},
		{"g04-disabled-client", "disabled-aud", "x", cc},
		{"g05-no-client-auth", "", "", cc},
		{"g07-no-service-account", "no-sa", "nosa-secret", cc},
		{"g08-unknown-grant", "nextcloud-mcp-server", "mcp-secret", url.Values{"grant_type": {"foo"}}},
		{"g10-invalid-scope", "nextcloud-mcp-server", "mcp-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {"nonsense"}}},
		{"d4-plain-not-enabled", "plain", "plain-secret", exchange(s, own, url.Values{"audience": {"nextcloud"}})},
		{"d1-user-no-aud", "nextcloud-mcp-server", "mcp-secret", exchange(s, s.Claims("alice", "plain", "account"), url.Values{"audience": {"nextcloud"}})},
		{"g14-expired-subject", "nextcloud-mcp-server", "mcp-secret", exchange(s, expired, url.Values{"audience": {"nextcloud"}})},
		{"g12-subject-type-jwt", "nextcloud-mcp-server", "mcp-secret", exchange(s, own, url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}})},
		{"c7-exchange-unknown-aud", "nextcloud-mcp-server", "mcp-secret", exchange(s, own, url.Values{"audience": {"nope"}})},
		{"g13-disabled-aud", "nextcloud-mcp-server", "mcp-secret", exchange(s, own, url.Values{"audience": {"disabled-aud"}})},
		{"c4-exchange-aud-optional-noscope", "nextcloud-mcp-server", "mcp-secret", exchange(s, own, url.Values{"audience": {"other-api"}})},
		{"c11-exchange-scope-invalid", "nextcloud-mcp-server", "mcp-secret", exchange(s, own, url.Values{"audience": {"nextcloud"}, "scope": {"doesnotexist"}})},
	} {
		t.Run(c.recording, func(t *testing.T) {
			wantStatus, want := recorded(t, c.recording)
			status, got := post(t, s, c.id, c.secret, c.form)
			if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
		})
	}
}

func TestTokensAreThoseOfKeycloak(t *testing.T) {
	s := realmAsRecorded(t)
	own := s.Claims("service-account-nextcloud-mcp-server", "nextcloud-mcp-server", "nextcloud", "account")
	for _, c := range []struct {
		recording string
		form      url.Values
	}{
		{"b1-client-credentials", url.Values{"grant_type": {"client_credentials"}}},
		{"c1-exchange-aud", exchange(s, own, url.Values{"audience": {"nextcloud"}})},
		{"c6-exchange-two-auds", exchange(s, own, url.Values{"audience": {"nextcloud", "other-api"}, "scope": {"other-api-aud"}})},
	} {
		t.Run(c.recording, func(t *testing.T) {
			wantStatus, want := recorded(t, c.recording)
			status, got := post(t, s, "nextcloud-mcp-server", "mcp-secret", c.form)
			if diff := cmp.Diff(kinds(want), kinds(got)); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
			wantClaims, claims := claimsIn(t, want), claimsIn(t, got)
			if diff := cmp.Diff(kinds(wantClaims), kinds(claims)); diff != "" {
				t.Errorf("claims (-recorded +got):\n%s", diff)
			}
			for _, name := range []string{"aud", "azp", "typ", "acr", "preferred_username", "email_verified", "client_id"} {
				sorted := cmp.Transformer("sort", func(in []any) []string {
					var out []string
					for _, v := range in {
						out = append(out, v.(string))
					}
					slices.Sort(out)
					return out
				})
				if diff := cmp.Diff(wantClaims[name], claims[name], sorted); diff != "" {
					t.Errorf("%s (-recorded +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestScriptedAnswersComeInOrderAndEnd(t *testing.T) {
	s := realmAsRecorded(t)
	cc := url.Values{"grant_type": {"client_credentials"}}
	s.Script(
		Answer{Status: 503, Body: `{"error":"first"}`},
		Answer{Fields: func(f map[string]any) { f["expires_in"] = -1 }, Claims: func(c map[string]any) { c["aud"] = "wrong" }},
	)
	if status, _ := post(t, s, "plain", "plain-secret", cc); status != "503" {
		t.Errorf("first answer: HTTP %s", status)
	}
	if _, fields := post(t, s, "plain", "plain-secret", cc); fields["expires_in"] != -1.0 || claimsIn(t, fields)["aud"] != "wrong" {
		t.Errorf("second answer: %v", fields)
	}
	if status, fields := post(t, s, "plain", "plain-secret", cc); status != "200" || fields["expires_in"] != 300.0 {
		t.Errorf("third answer: HTTP %s, %v", status, fields)
	}
	s.Script(Answer{Status: 500, Body: "{}", Forever: true})
	for range 3 {
		if status, _ := post(t, s, "plain", "plain-secret", cc); status != "500" {
			t.Errorf("forever: HTTP %s", status)
		}
	}
	s.Script()
	if status, _ := post(t, s, "plain", "plain-secret", cc); status != "200" {
		t.Errorf("after Script(): HTTP %s", status)
	}
	if n := s.Count("client_credentials"); n != 7 || len(s.Requests()) != 7 {
		t.Errorf("%d requests counted, want 7", n)
	}
}

func TestDownDropsEveryConnection(t *testing.T) {
	s := NewServer(t)
	s.SetDown(true)
	if _, err := s.HTTPClient().Get(s.URL + "/.well-known/openid-configuration"); err == nil {
		t.Error("a server that is down answered")
	}
	s.SetDown(false)
	resp, err := s.HTTPClient().Get(s.URL + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func TestLifespanAndClockAreTheServers(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := NewServer(t, Options{Now: func() time.Time { return now }, Lifespan: time.Hour})
	s.Client("a", "s")
	s.SetClient(Client{ID: "b", Secret: "s", Lifespan: 15 * time.Second})
	s.SetLifespan(time.Minute)
	for id, seconds := range map[string]int64{"a": 60, "b": 15} {
		_, fields := post(t, s, id, "s", url.Values{"grant_type": {"client_credentials"}})
		claims := claimsIn(t, fields)
		if fields["expires_in"] != float64(seconds) || claims["exp"] != float64(now.Unix()+seconds) || claims["iat"] != float64(now.Unix()) {
			t.Errorf("%s: expires_in %v, exp %v, iat %v", id, fields["expires_in"], claims["exp"], claims["iat"])
		}
	}
}
