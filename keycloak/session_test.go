package keycloak

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// offlineClient is a client with a secret that alice has given an offline token to.
func offlineClient(t *testing.T) (*keycloaktest.Server, Client, sensitive.String) {
	t.Helper()
	s := keycloaktest.NewServer(t)
	s.Client("notes sync:1", "secret")
	return s, newClient(t, s, SecretBasic(sensitive.New("secret"))), sensitive.New(s.OfflineToken("notes sync:1", "alice"))
}

func TestRefreshSaysWhatRFC6749Says(t *testing.T) {
	s, c, offline := offlineClient(t)
	token, err := c.Refresh(t.Context(), offline, []string{"email"})
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken.IsZero() || token.RefreshToken.Equal(offline) {
		t.Error("no new refresh token")
	}
	if diff := cmp.Diff([]string{"offline_access", "profile", "email"}, token.Scopes); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {offline.Reveal()}, "scope": {"email"}}
	if diff := cmp.Diff(want, s.Requests()[0].Form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestARefreshTokenThatTheServerKeepsIsReturned(t *testing.T) {
	s, c, offline := offlineClient(t)
	s.Script(keycloaktest.Answer{Fields: func(f map[string]any) { delete(f, "refresh_token") }})
	token, err := c.Refresh(t.Context(), offline, nil)
	if err != nil || !token.RefreshToken.Equal(offline) {
		t.Errorf("%v; want the refresh token that was sent", err)
	}
}

func TestRefreshIsRefusedForItsCause(t *testing.T) {
	for name, tt := range map[string]struct {
		before       func(t *testing.T, s *keycloaktest.Server, c Client, offline sensitive.String) sensitive.String
		reason, says string
	}{
		"nothing to send": {func(*testing.T, *keycloaktest.Server, Client, sensitive.String) sensitive.String {
			return sensitive.String{}
		}, ReasonCredentialMissing, "the refresh token is empty"},
		"garbage": {func(*testing.T, *keycloaktest.Server, Client, sensitive.String) sensitive.String {
			return sensitive.New("canary")
		}, ReasonReloginRequired, "Invalid refresh token"},
		"another client's": {func(_ *testing.T, s *keycloaktest.Server, _ Client, _ sensitive.String) sensitive.String {
			return sensitive.New(s.OfflineToken("other", "alice"))
		}, ReasonSubjectTokenInvalid, `another client than "notes sync:1"`},
		"an ended session": {func(_ *testing.T, s *keycloaktest.Server, _ Client, offline sensitive.String) sensitive.String {
			s.EndSessions("alice")
			return offline
		}, ReasonReloginRequired, "log in again with client"},
		"a revoked token": {func(t *testing.T, _ *keycloaktest.Server, c Client, offline sensitive.String) sensitive.String {
			if err := c.Revoke(t.Context(), offline, TokenTypeHintRefreshToken); err != nil {
				t.Error(err)
			}
			return offline
		}, ReasonReloginRequired, "Offline user session not found"},
		"a disabled user": {func(_ *testing.T, s *keycloaktest.Server, _ Client, offline sensitive.String) sensitive.String {
			s.SetUser("alice", false)
			return offline
		}, ReasonSubjectTokenInvalid, "enable the user"},
		"used twice where tokens rotate": {func(t *testing.T, s *keycloaktest.Server, c Client, offline sensitive.String) sensitive.String {
			s.SetRotation(true, 0)
			if _, err := c.Refresh(t.Context(), offline, nil); err != nil {
				t.Error(err)
			}
			return offline
		}, ReasonReloginRequired, "Refresh Token Max Reuse"},
		"the new one after the old one was used twice": {func(t *testing.T, s *keycloaktest.Server, c Client, offline sensitive.String) sensitive.String {
			s.SetRotation(true, 0)
			token, err := c.Refresh(t.Context(), offline, nil)
			if err != nil {
				t.Error(err)
			}
			if _, err := c.Refresh(t.Context(), offline, nil); err == nil {
				t.Error("a token was used twice")
			}
			return token.RefreshToken
		}, ReasonReloginRequired, "log in again"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, offline := offlineClient(t)
			token := tt.before(t, s, c, offline)
			_, err := c.Refresh(t.Context(), token, nil)
			wantError(t, err, tt.reason, tt.says)
		})
	}
}

func TestOneLostAnswerSurvivesWithMaxReuse1(t *testing.T) {
	s, c, offline := offlineClient(t)
	s.SetRotation(true, 1)
	for range 2 {
		if _, err := c.Refresh(t.Context(), offline, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Refresh(t.Context(), offline, nil)
	wantError(t, err, ReasonReloginRequired, "reuse")
}

func TestLogoutEndsTheSession(t *testing.T) {
	s, c, offline := offlineClient(t)
	if err := (Client{Provider: c.Provider, ID: c.ID, Auth: SecretPost(sensitive.New("wrong")), HTTP: c.HTTP}).Logout(t.Context(), offline); err == nil {
		t.Error("a wrong secret could log alice out")
	}
	wantError(t, c.Logout(t.Context(), sensitive.New(s.OfflineToken("other", "bob"))), ReasonSubjectTokenInvalid, "another client")
	for range 2 {
		if err := c.Logout(t.Context(), offline); err != nil {
			t.Error(err)
		}
	}
	if err := c.Logout(t.Context(), sensitive.New("garbage")); err != nil {
		t.Errorf("what is no session any more: %v", err)
	}
	if n := s.OfflineSessions("alice"); n != 0 {
		t.Errorf("%d sessions after the logout", n)
	}
	c.Provider.EndSessionEndpoint = ""
	wantError(t, c.Logout(t.Context(), offline), ReasonGrantTypeUnsupported, "no end_session_endpoint")
}

func TestRevokeForgetsAToken(t *testing.T) {
	s := keycloaktest.NewServer(t)
	s.SetClient(keycloaktest.Client{ID: "notes sync:1", Secret: special, Audience: []string{"nextcloud"}})
	for name, auth := range map[string]ClientAuth{"basic": SecretBasic(sensitive.New(special)), "post": SecretPost(sensitive.New(special))} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, s, auth)
			token, err := c.ClientCredentials(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := c.Revoke(t.Context(), token.AccessToken, TokenTypeHintAccessToken); err != nil {
					t.Error(err)
				}
			}
			_, err = c.Exchange(t.Context(), token.AccessToken, ExchangeRequest{Audience: []string{"nextcloud"}})
			wantError(t, err, ReasonSubjectTokenInvalid, "revoked")
			if err := c.Revoke(t.Context(), sensitive.New("garbage"), ""); err != nil {
				t.Errorf("an unknown token: %v", err)
			}
			foreign := sensitive.New(s.Sign(s.Claims("alice", "other")))
			wantError(t, c.Revoke(t.Context(), foreign, ""), ReasonSubjectTokenInvalid, "only that one")
			c.Provider.RevocationEndpoint = ""
			wantError(t, c.Revoke(t.Context(), foreign, ""), ReasonGrantTypeUnsupported, "no revocation_endpoint")
		})
	}
	wantError(t, newClient(t, s, SecretBasic(sensitive.New("wrong"))).Revoke(t.Context(), sensitive.New("t"), ""), ReasonClientRejected, "secret")
	wantError(t, newClient(t, s, SecretBasic(sensitive.String{})).Revoke(t.Context(), sensitive.New("t"), ""), ReasonCredentialMissing, "empty")
	down := newClient(t, s, SecretBasic(sensitive.New(special)))
	s.SetDown(true)
	wantError(t, down.Revoke(t.Context(), sensitive.New("t"), ""), ReasonIssuerUnreachable, "connection broke")
}

func TestAJWTOfAnotherRealmBecomesAToken(t *testing.T) {
	a, b := keycloaktest.NewServer(t), keycloaktest.NewServer(t)
	claims := func(audience ...string) map[string]any {
		c := a.Claims("alice", "x", audience...)
		c["sub"] = "alice-in-a"
		return c
	}
	b.SetIdentityProvider(keycloaktest.IdentityProvider{Alias: "a", Issuer: a.URL, Keys: a.Keys, Links: map[string]string{"alice-in-a": "alice"}})
	set := func(aliases ...string) {
		b.SetClient(keycloaktest.Client{ID: "notes sync:1", Secret: "secret", Audience: []string{"nextcloud"}, JWTBearer: aliases})
	}
	set("a")
	c := newClient(t, b, SecretBasic(sensitive.New("secret")))
	once := sensitive.New(a.Sign(claims(b.URL)))
	token, err := c.JWTBearer(t.Context(), once, []string{"email"})
	if err != nil {
		t.Fatal(err)
	}
	if !token.RefreshToken.IsZero() {
		t.Error("a refresh token without a session")
	}
	want := url.Values{"grant_type": {GrantTypeJWTBearer}, "assertion": {once.Reveal()}, "scope": {"email"}}
	if diff := cmp.Diff(want, b.Requests()[0].Form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	if _, err := c.Exchange(t.Context(), token.AccessToken, ExchangeRequest{Audience: []string{"nextcloud"}}); err != nil {
		t.Error(err)
	}

	stranger := claims(b.URL)
	stranger["sub"] = "bob-in-a"
	expired := claims(b.URL)
	expired["exp"] = time.Now().Add(-time.Minute).Unix()
	foreign := claims(b.URL)
	foreign["iss"] = "https://id.example.com"
	for name, tt := range map[string]struct {
		assertion    string
		aliases      []string
		reason, says string
	}{
		"used before":             {once.Reveal(), []string{"a"}, ReasonSubjectTokenInvalid, "a fresh one for each mint"},
		"of an unknown user":      {a.Sign(stranger), []string{"a"}, ReasonSubjectTokenInvalid, "link the user"},
		"expired":                 {a.Sign(expired), []string{"a"}, ReasonSubjectTokenInvalid, "expired"},
		"of an unknown issuer":    {a.Sign(foreign), []string{"a"}, ReasonSubjectTokenInvalid, "jwt-authorization-grant"},
		"for somebody else":       {a.Sign(claims("nextcloud")), []string{"a"}, ReasonSubjectTokenInvalid, "only audience"},
		"for somebody else, too":  {a.Sign(claims("nextcloud", b.URL)), []string{"a"}, ReasonSubjectTokenInvalid, "only audience"},
		"garbage":                 {"canary", []string{"a"}, ReasonSubjectTokenInvalid, "malformed"},
		"nothing":                 {"", []string{"a"}, ReasonCredentialMissing, "the assertion is empty"},
		"the client may not":      {a.Sign(claims(b.URL)), nil, ReasonGrantTypeUnsupported, "oauth2.jwt.authorization.grant.enabled=true"},
		"not with this provider":  {a.Sign(claims(b.URL)), []string{"z"}, ReasonSubjectTokenInvalid, "oauth2.jwt.authorization.grant.idp"},
		"signed by somebody else": {b.Sign(claims(b.URL)), []string{"a"}, ReasonSubjectTokenInvalid, "a key that its identity provider does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			set(tt.aliases...)
			_, err := c.JWTBearer(t.Context(), sensitive.New(tt.assertion), nil)
			wantError(t, err, tt.reason, tt.says)
		})
	}
}

func TestImpersonationKeepsOneSession(t *testing.T) {
	s := keycloaktest.NewServer(t, keycloaktest.Options{LegacyExchange: true})
	s.SetClient(keycloaktest.Client{ID: "notes sync:1", Secret: "secret", Audience: []string{"nextcloud"}, Impersonates: true})
	c := newClient(t, s, SecretBasic(sensitive.New("secret")))
	own, err := c.ClientCredentials(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Exchange(t.Context(), own.AccessToken, ExchangeRequest{RequestedSubject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"grant_type": {GrantTypeTokenExchange}, "subject_token": {own.AccessToken.Reveal()},
		"subject_token_type": {tokenTypeAccessToken}, "requested_subject": {"alice"},
	}
	if diff := cmp.Diff(want, s.Requests()[1].Form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	for range 10 {
		if token, err = c.Refresh(t.Context(), token.RefreshToken, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exchange(t.Context(), token.AccessToken, ExchangeRequest{Audience: []string{"nextcloud"}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Sessions("alice"); n != 1 {
		t.Errorf("%d sessions after ten refreshes, want 1", n)
	}
	if err := c.Logout(t.Context(), token.RefreshToken); err != nil || s.Sessions("alice") != 0 {
		t.Errorf("%d sessions after the logout, %v", s.Sessions("alice"), err)
	}
	for name, tt := range map[string]struct {
		user     string
		audience []string
	}{"an unknown user": {"nobody", nil}, "an audience it may not name": {"alice", []string{"nextcloud"}}} {
		_, err := c.Exchange(t.Context(), own.AccessToken, ExchangeRequest{RequestedSubject: tt.user, Audience: tt.audience})
		t.Log(name)
		wantError(t, err, ReasonImpersonationForbidden, "the role impersonation of the client realm-management")
	}
}

func TestImpersonationNeedsTheLegacyExchange(t *testing.T) {
	s := keycloaktest.NewServer(t)
	s.Client("notes sync:1", "secret")
	c := newClient(t, s, SecretBasic(sensitive.New("secret")))
	_, err := c.Exchange(t.Context(), sensitive.New("t"), ExchangeRequest{RequestedSubject: "alice", Audience: []string{"nextcloud"}})
	wantError(t, err, ReasonImpersonationUnsupported, "--features=token-exchange:v1")
}
