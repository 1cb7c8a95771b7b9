//go:build integration

package keycloak

import (
	"net/http"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

func TestKeycloakByDefault(t *testing.T) {
	s := start(t)
	t.Run("private_key_jwt", func(t *testing.T) { testPrivateKeyJWT(t, s) })
	if s.Version != oldest {
		t.Run("service account token", func(t *testing.T) { testFederated(t, s) })
	}
	t.Run("refresh", func(t *testing.T) { testRefresh(t, s) })
	t.Run("rotation", func(t *testing.T) { testRotation(t, s) })
	t.Run("logout and revocation", func(t *testing.T) { testLogout(t, s) })
	t.Run("JWT authorization grant", func(t *testing.T) { testJWTBearer(t, s) })
	t.Run("device", func(t *testing.T) { testDevice(t, s) })
	t.Run("impersonation is refused", func(t *testing.T) {
		c := s.withSecret(t, realm.Name, "impersonator")
		_, err := impersonate(t, c, "alice")
		refused(t, err, keycloak.ReasonImpersonationUnsupported, "--features=token-exchange:v1")
	})
}

func TestKeycloakWithPreviewFeatures(t *testing.T) {
	features := []string{"token-exchange:v1", "admin-fine-grained-authz:v1"}
	if stack.DefaultKeycloakVersion() == oldest {
		features = append(features, "client-auth-federated:v1")
	}
	s := start(t, features...)
	t.Run("impersonation", func(t *testing.T) { testImpersonation(t, s) })
	if s.Version == oldest {
		t.Run("service account token", func(t *testing.T) { testFederated(t, s) })
	}
}

func refresh(t *testing.T, c keycloak.Client, token sensitive.String) keycloak.Token {
	t.Helper()
	answer, err := c.Refresh(t.Context(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func testRefresh(t *testing.T, s server) {
	c := s.withSecret(t, realm.Name, "offline")
	offline := s.login(t, "offline_access")
	answer := refresh(t, c, offline)
	if answer.RefreshToken.IsZero() || answer.RefreshToken.Equal(offline) {
		t.Error("a refresh brought no new refresh token")
	}
	if claims := s.verify(t, c, answer); claims.Username != "alice" {
		t.Errorf("username %s", claims.Username)
	}
	exchanged, err := c.Exchange(t.Context(), answer.AccessToken, keycloak.ExchangeRequest{Audience: []string{"nextcloud"}})
	if err != nil {
		t.Fatal(err)
	}
	if claims := s.verify(t, c, exchanged, "nextcloud"); claims.Username != "alice" {
		t.Errorf("username %s", claims.Username)
	}
	refresh(t, c, offline) // without rotation an old one stays good

	_, err = s.withSecret(t, realm.Name, "notes-sync").Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonSubjectTokenInvalid, `"notes-sync"`)
	_, err = c.Refresh(t.Context(), sensitive.New("garbage"), nil)
	refused(t, err, keycloak.ReasonReloginRequired)
	_, err = c.Refresh(t.Context(), answer.AccessToken, nil)
	refused(t, err, keycloak.ReasonReloginRequired)
	_, err = c.Refresh(t.Context(), offline, []string{"nonsense"})
	refused(t, err, keycloak.ReasonScopeInvalid)

	alice := "/" + realm.Name + "/users/" + s.user(t, realm.Name, "alice")
	s.admin(t, http.MethodPut, alice, map[string]any{"enabled": false}, nil)
	_, err = c.Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonSubjectTokenInvalid, "enable the user")
	s.admin(t, http.MethodPut, alice, map[string]any{"enabled": true}, nil)
	refresh(t, c, offline)

	nextSecond()
	s.admin(t, http.MethodPost, alice+"/logout", nil, nil)
	_, err = c.Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again") // its user's not-before is later now
	s.admin(t, http.MethodDelete, alice+"/consents/offline", nil, nil)
	_, err = c.Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")
}

// nextSecond waits for a user's not-before to be later than what was issued until now: Keycloak counts both in whole seconds.
func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

// testRotation tests what a lost answer costs (realm settings "Revoke Refresh Token" and "Refresh Token Max Reuse").
func testRotation(t *testing.T, s server) {
	c := s.withSecret(t, realm.Name, "offline")
	rotate := func(maxReuse int) {
		s.admin(t, http.MethodPut, "/"+realm.Name, map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": maxReuse}, nil)
	}
	defer s.admin(t, http.MethodPut, "/"+realm.Name, map[string]any{"revokeRefreshToken": false}, nil)

	rotate(0)
	first := s.login(t, "offline_access")
	second := refresh(t, c, first).RefreshToken
	third := refresh(t, c, second).RefreshToken
	_, err := c.Refresh(t.Context(), second, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")
	_, err = c.Refresh(t.Context(), third, nil)
	refused(t, err, keycloak.ReasonReloginRequired)

	rotate(1)
	first = s.login(t, "offline_access")
	refresh(t, c, first) // the answer is lost
	second = refresh(t, c, first).RefreshToken
	refresh(t, c, second)
	refresh(t, c, second)
	_, err = c.Refresh(t.Context(), second, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")
}

func testLogout(t *testing.T, s server) {
	c := s.withSecret(t, realm.Name, "offline")
	s.admin(t, http.MethodPost, "/"+realm.Name+"/users/"+s.user(t, realm.Name, "alice")+"/logout", nil, nil)
	online, offline := s.login(t, ""), s.login(t, "offline_access")
	before := s.sessions(t, realm.Name, "alice")
	if err := s.withSecret(t, realm.Name, "notes-sync").Logout(t.Context(), online); err == nil {
		t.Error("another client could log alice out")
	} else {
		refused(t, err, keycloak.ReasonSubjectTokenInvalid, `"notes-sync"`)
	}
	for range 2 { // the second finds nothing to end
		if err := c.Logout(t.Context(), online); err != nil {
			t.Error(err)
		}
	}
	if after := s.sessions(t, realm.Name, "alice"); after != before-1 {
		t.Errorf("%d sessions after the logout, %d before", after, before)
	}
	_, err := c.Refresh(t.Context(), online, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")

	if err := s.withSecret(t, realm.Name, "notes-sync").Revoke(t.Context(), offline, keycloak.TokenTypeHintRefreshToken); err == nil {
		t.Error("another client could revoke alice's offline token")
	} else {
		refused(t, err, keycloak.ReasonSubjectTokenInvalid, `"notes-sync"`)
	}
	for range 2 {
		if err := c.Revoke(t.Context(), offline, keycloak.TokenTypeHintRefreshToken); err != nil {
			t.Error(err)
		}
	}
	_, err = c.Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")

	offline = s.login(t, "offline_access")
	if err := c.Logout(t.Context(), offline); err != nil {
		t.Error(err)
	}
	_, err = c.Refresh(t.Context(), offline, nil)
	refused(t, err, keycloak.ReasonReloginRequired, "log in again")
}

func testJWTBearer(t *testing.T, s server) {
	b := s.withSecret(t, realm.NameB, "jwt-bearer")
	if s.Version == oldest {
		_, err := b.JWTBearer(t.Context(), sensitive.New("x"), nil)
		refused(t, err, keycloak.ReasonGrantTypeUnsupported, "26.6")
		return
	}
	s.meetB(t)
	assertion := func(audience string) sensitive.String {
		user := refresh(t, s.withSecret(t, realm.Name, "offline"), s.login(t, ""))
		token, err := s.withSecret(t, realm.Name, "offline").Exchange(t.Context(), user.AccessToken, keycloak.ExchangeRequest{Audience: []string{audience}})
		if err != nil {
			t.Fatal(err)
		}
		return token.AccessToken
	}
	issuerB := s.Issuer(realm.NameB)
	_, err := b.JWTBearer(t.Context(), assertion(issuerB), nil)
	refused(t, err, keycloak.ReasonSubjectTokenInvalid, "No Identity Provider", "jwt-authorization-grant")

	s.admin(t, http.MethodPost, "/"+realm.NameB+"/identity-provider/instances", map[string]any{
		"alias": "tokengrant", "providerId": "jwt-authorization-grant", "enabled": true, "config": map[string]any{
			"issuer": s.Issuer(realm.Name), "useJwksUrl": "true", "jwksUrl": s.Issuer(realm.Name) + "/protocol/openid-connect/certs",
			"jwtAuthorizationGrantEnabled": "true",
		},
	}, nil)
	_, err = b.JWTBearer(t.Context(), assertion(issuerB), nil)
	refused(t, err, keycloak.ReasonSubjectTokenInvalid, "User not found", "Identity provider links")
	alice := s.user(t, realm.Name, "alice")
	s.admin(t, http.MethodPost, "/"+realm.NameB+"/users/"+s.user(t, realm.NameB, "alice")+"/federated-identity/tokengrant",
		map[string]any{"identityProvider": "tokengrant", "userId": alice, "userName": "alice"}, nil)

	once := assertion(issuerB)
	token, err := b.JWTBearer(t.Context(), once, nil)
	if err != nil {
		t.Fatal(err)
	}
	if claims := s.verify(t, b, token); claims.Username != "alice" || !token.RefreshToken.IsZero() {
		t.Errorf("username %s, refresh token %t", claims.Username, !token.RefreshToken.IsZero())
	}
	exchanged, err := b.Exchange(t.Context(), token.AccessToken, keycloak.ExchangeRequest{Audience: []string{"nextcloud"}})
	if err != nil {
		t.Fatal(err)
	}
	s.verify(t, b, exchanged, "nextcloud")

	for name, tt := range map[string]struct {
		client    string
		assertion sensitive.String
		reason    string
		cure      string
	}{
		"used before":             {"jwt-bearer", once, keycloak.ReasonSubjectTokenInvalid, "a fresh one"},
		"for somebody else":       {"jwt-bearer", assertion("nextcloud"), keycloak.ReasonSubjectTokenInvalid, "only audience"},
		"garbage":                 {"jwt-bearer", sensitive.New("garbage"), keycloak.ReasonSubjectTokenInvalid, "malformed"},
		"the grant is not on":     {"no-jwt-bearer", assertion(issuerB), keycloak.ReasonGrantTypeUnsupported, "oauth2.jwt.authorization.grant.enabled=true"},
		"the provider is not on":  {"no-idp", assertion(issuerB), keycloak.ReasonSubjectTokenInvalid, "oauth2.jwt.authorization.grant.idp"},
		"its signature is broken": {"jwt-bearer", sensitive.New(assertion(issuerB).Reveal()[:900] + "AAAA"), keycloak.ReasonSubjectTokenInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.withSecret(t, realm.NameB, tt.client).JWTBearer(t.Context(), tt.assertion, nil)
			refused(t, err, tt.reason, tt.cure)
		})
	}
	var provider map[string]any
	s.admin(t, http.MethodGet, "/"+realm.NameB+"/identity-provider/instances/tokengrant", nil, &provider)
	provider["config"].(map[string]any)["jwtAuthorizationGrantAssertionReuseAllowed"] = "true"
	s.admin(t, http.MethodPut, "/"+realm.NameB+"/identity-provider/instances/tokengrant", provider, nil)
	again := assertion(issuerB)
	for range 2 {
		if _, err := b.JWTBearer(t.Context(), again, nil); err != nil {
			t.Error(err)
		}
	}
}

// meetB makes realm B an audience in realm A: a client whose ID is B's issuer URL, available to the client offline.
func (s server) meetB(t *testing.T) {
	t.Helper()
	issuer := s.Issuer(realm.NameB)
	s.admin(t, http.MethodPost, "/"+realm.Name+"/clients", map[string]any{"clientId": issuer, "standardFlowEnabled": false}, nil)
	s.admin(t, http.MethodPost, "/"+realm.Name+"/clients/"+s.id(t, "/"+realm.Name+"/clients?clientId=offline")+"/protocol-mappers/models", map[string]any{
		"name": "audience B", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
		"config": map[string]any{"included.client.audience": issuer, "access.token.claim": "true"},
	}, nil)
}

func testDevice(t *testing.T, s server) {
	c := s.client(t, realm.Name, "device", keycloak.Public())
	d, err := c.DeviceAuth(t.Context(), []string{"offline_access"})
	if err != nil {
		t.Fatal(err)
	}
	if d.UserCode == "" || d.VerificationURI == "" || d.Interval <= 0 || d.ExpiresIn <= 0 {
		t.Errorf("%+v", d)
	}
	_, err = s.withSecret(t, realm.Name, "notes-sync").DeviceAuth(t.Context(), nil)
	refused(t, err, keycloak.ReasonGrantTypeUnsupported, "oauth2.device.authorization.grant.enabled=true")
}

func impersonate(t *testing.T, c keycloak.Client, user string, audience ...string) (keycloak.Token, error) {
	t.Helper()
	subject, err := c.ClientCredentials(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Exchange(t.Context(), subject.AccessToken, keycloak.ExchangeRequest{RequestedSubject: user, Audience: audience})
}

func testImpersonation(t *testing.T, s server) {
	c := s.withSecret(t, realm.Name, "impersonator")
	token, err := impersonate(t, c, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if claims := s.verify(t, c, token); claims.Username != "alice" {
		t.Errorf("username %s", claims.Username)
	}
	for range 10 {
		token = refresh(t, c, token.RefreshToken)
		exchanged, err := c.Exchange(t.Context(), token.AccessToken, keycloak.ExchangeRequest{Audience: []string{"nextcloud"}})
		if err != nil {
			t.Fatal(err)
		}
		if claims := s.verify(t, c, exchanged, "nextcloud"); claims.Username != "alice" {
			t.Errorf("username %s", claims.Username)
		}
	}
	if n := s.sessions(t, realm.Name, "alice"); n != 1 {
		t.Errorf("%d sessions after ten refreshes, want 1", n)
	}
	if err := c.Logout(t.Context(), token.RefreshToken); err != nil {
		t.Error(err)
	}
	if n := s.sessions(t, realm.Name, "alice"); n != 0 {
		t.Errorf("%d sessions after the logout, want none", n)
	}

	_, err = impersonate(t, c, "alice", "nextcloud")
	refused(t, err, keycloak.ReasonImpersonationForbidden, "realm-management")
	_, err = impersonate(t, c, "nobody")
	refused(t, err, keycloak.ReasonImpersonationForbidden, `"nobody"`)
	_, err = impersonate(t, s.withSecret(t, realm.Name, "notes-sync"), "alice")
	refused(t, err, keycloak.ReasonImpersonationForbidden, `"notes-sync"`, "impersonation")
}
