//go:build integration

// Package keycloak tests the package keycloak against a real Keycloak, $KEYCLOAK_VERSION: each way to authenticate a
// client and each grant. What a version cannot do is tested to be refused with the right reason.
package keycloak

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// oldest is the version that lacks the newer ways.
const oldest = "26.4.2"

// server is a running Keycloak with both realms.
type server struct{ *stack.Keycloak }

func start(t *testing.T, features ...string) server {
	t.Helper()
	kc, err := stack.StartKeycloak(t.Context(), stack.KeycloakOptions{Realms: [][]byte{realm.Export, realm.ExportB}, Features: features})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kc.Close(); err != nil {
			t.Error(err)
		}
	})
	return server{kc}
}

// client returns a client of a realm.
func (s server) client(t *testing.T, realmName, id string, auth keycloak.ClientAuth) keycloak.Client {
	t.Helper()
	p, err := keycloak.Discover(t.Context(), http.DefaultClient, s.Issuer(realmName))
	if err != nil {
		t.Fatal(err)
	}
	return keycloak.Client{Provider: p, ID: id, Auth: auth, HTTP: http.DefaultClient}
}

// withSecret returns a client that authenticates with the secret it has in the exports.
func (s server) withSecret(t *testing.T, realmName, id string) keycloak.Client {
	t.Helper()
	leaks.Plant("the secret of "+id, id+"-secret")
	return s.client(t, realmName, id, keycloak.SecretBasic(sensitive.New(id+"-secret")))
}

// admin calls the Admin REST API, below /admin/realms.
func (s server) admin(t *testing.T, method, path string, body, out any) {
	t.Helper()
	if err := s.Admin(t.Context(), method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

// id returns the ID of the one object that a query of the Admin REST API finds.
func (s server) id(t *testing.T, path string) string {
	t.Helper()
	var found []struct{ ID string }
	s.admin(t, http.MethodGet, path, nil, &found)
	if len(found) != 1 {
		t.Fatalf("%s: %d found, want 1", path, len(found))
	}
	return found[0].ID
}

func (s server) user(t *testing.T, realmName, name string) string {
	t.Helper()
	return s.id(t, "/"+realmName+"/users?exact=true&username="+name)
}

// sessions counts the online sessions of a user.
func (s server) sessions(t *testing.T, realmName, name string) int {
	t.Helper()
	var found []any
	s.admin(t, http.MethodGet, "/"+realmName+"/users/"+s.user(t, realmName, name)+"/sessions", nil, &found)
	return len(found)
}

// attributes sets attributes of a client.
func (s server) attributes(t *testing.T, realmName, id string, changed map[string]string) {
	t.Helper()
	path := "/" + realmName + "/clients/" + s.id(t, "/"+realmName+"/clients?clientId="+url.QueryEscape(id))
	var client map[string]any
	s.admin(t, http.MethodGet, path, nil, &client)
	attributes, _ := client["attributes"].(map[string]any)
	for name, value := range changed {
		attributes[name] = value
	}
	s.admin(t, http.MethodPut, path, client, nil)
}

// login returns a refresh token of alice, as a user's login in a browser would; with offline_access an offline token.
func (s server) login(t *testing.T, scope string) sensitive.String {
	t.Helper()
	form := url.Values{
		"grant_type": {"password"}, "username": {"alice"}, "password": {"alice-password"},
		"client_id": {"offline"}, "client_secret": {"offline-secret"},
	}
	if scope != "" {
		form.Set("scope", scope)
	}
	resp, err := http.PostForm(s.Issuer(realm.Name)+"/protocol/openid-connect/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	body, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(body, &answer); err != nil || answer.RefreshToken == "" {
		t.Fatalf("login: HTTP %d, %s", resp.StatusCode, body)
	}
	return sensitive.New(answer.RefreshToken)
}

// verify checks a token as it is checked before it is published, and returns its claims.
func (s server) verify(t *testing.T, c keycloak.Client, token keycloak.Token, audience ...string) *keycloak.Claims {
	t.Helper()
	minted(token)
	e := keycloak.Expect{Audience: audience, Exact: true, ClientID: c.ID, Now: now()}
	if len(audience) == 0 {
		e.Exact = false
	}
	claims, err := keycloak.NewVerifier(c.Provider, http.DefaultClient).Verify(t.Context(), token.AccessToken, e)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// refused checks the reason of an error and that its text names the cure.
func refused(t *testing.T, err error, reason string, cure ...string) {
	t.Helper()
	var e *keycloak.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %s", err, reason)
	}
	t.Log(err)
	told(err)
	if e.Reason != reason {
		t.Errorf("reason %s, want %s: %v", e.Reason, reason, err)
	}
	for _, words := range cure {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v\ndoes not say %q", err, words)
		}
	}
}

// issuerOf serves discovery and keys, as a kube-apiserver does.
func issuerOf(t *testing.T, keys func() jose.JSONWebKeySet) *httptest.Server {
	t.Helper()
	var issuer *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/openid/v1/jwks"})
	})
	mux.HandleFunc("GET /openid/v1/jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(w).Encode(keys())
	})
	issuer = httptest.NewServer(mux)
	t.Cleanup(issuer.Close)
	return issuer
}
