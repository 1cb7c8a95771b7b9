package keycloaktest

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// users is a realm whose client plain has a session of alice, and that trusts the realm other.
func users(t *testing.T) (s, other *Server) {
	t.Helper()
	s, other = NewServer(t, Options{LegacyExchange: true}), NewServer(t)
	s.SetClient(Client{ID: "plain", Secret: "s", Audience: []string{"nextcloud"}, JWTBearer: []string{"realm-a"}, Impersonates: true})
	s.SetClient(Client{ID: "no-grant", Secret: "s"})
	s.SetClient(Client{ID: "no-idp", Secret: "s", JWTBearer: []string{"z"}})
	s.SetIdentityProvider(IdentityProvider{Alias: "realm-a", Issuer: other.URL, Keys: other.Keys, Links: map[string]string{subjectOf("alice"): "alice"}})
	return s, other
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func TestRefreshTokensAreRefusedAsRecorded(t *testing.T) {
	for name, tt := range map[string]struct {
		id    string
		token func(t *testing.T, s *Server, offline string) string
	}{
		"j11-garbage":      {"plain", func(*testing.T, *Server, string) string { return "x" }},
		"j10-wrong-client": {"no-grant", func(_ *testing.T, _ *Server, offline string) string { return offline }},
		"j21b-use-revoked-offline": {"plain", func(_ *testing.T, s *Server, offline string) string {
			s.EndSessions("alice")
			return offline
		}},
		"j06-rot-reuse": {"plain", func(t *testing.T, s *Server, offline string) string {
			s.SetRotation(true, 0)
			post(t, s, "plain", "s", refreshForm(offline))
			return offline
		}},
		"j07-rot-new-after-reuse": {"plain", func(t *testing.T, s *Server, offline string) string {
			s.SetRotation(true, 0)
			_, fields := post(t, s, "plain", "s", refreshForm(offline))
			post(t, s, "plain", "s", refreshForm(offline))
			return fields["refresh_token"].(string)
		}},
		"j09e": {"plain", func(t *testing.T, s *Server, offline string) string {
			s.SetRotation(true, 1)
			for range 2 {
				if status, _ := post(t, s, "plain", "s", refreshForm(offline)); status != "200" {
					t.Errorf("HTTP %s", status)
				}
			}
			return offline
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := users(t)
			token := tt.token(t, s, s.OfflineToken("plain", "alice"))
			wantStatus, want := recorded(t, name)
			status, got := post(t, s, tt.id, "s", refreshForm(token))
			if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
		})
	}
}

func TestJWTsOfAnotherRealmAreRefusedAsRecorded(t *testing.T) {
	for name, tt := range map[string]struct {
		id        string
		assertion func(s, other *Server) string
	}{
		"i04-client-not-enabled": {"no-grant", func(s, other *Server) string { return other.Sign(other.Claims("alice", "x", s.URL)) }},
		"i05-client-no-idp":      {"no-idp", func(s, other *Server) string { return other.Sign(other.Claims("alice", "x", s.URL)) }},
		"i06-no-link":            {"plain", func(s, other *Server) string { return other.Sign(other.Claims("bob", "x", s.URL)) }},
		"i10-multi-aud":          {"plain", func(s, other *Server) string { return other.Sign(other.Claims("alice", "x", s.URL, "account")) }},
		"i18-malformed":          {"plain", func(*Server, *Server) string { return "garbage" }},
		"i21-self-issuer":        {"plain", func(s, _ *Server) string { return s.Sign(s.Claims("alice", "x", s.URL)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s, other := users(t)
			wantStatus, want := recorded(t, name)
			status, got := post(t, s, tt.id, "s", url.Values{"grant_type": {grantJWTBearer}, "assertion": {tt.assertion(s, other)}})
			if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
		})
	}
}

func TestUsersTokensAreThoseOfKeycloak(t *testing.T) {
	s, other := users(t)
	s.SetClient(Client{ID: "narrow", Secret: "s", Audience: []string{"nextcloud"}, JWTBearer: []string{"realm-a"}})
	own := s.Claims("service-account-plain", "plain")
	for name, tt := range map[string]struct {
		id   string
		form url.Values
	}{
		"26.7.3/b2b-refresh-cc":             {"plain", refreshForm(s.refreshToken(s.open("plain", "alice", nil, false)))},
		"26.7.3/i08-linked":                 {"narrow", url.Values{"grant_type": {grantJWTBearer}, "assertion": {other.Sign(other.Claims("alice", "x", s.URL))}}},
		"26.7.3-v1/f2-01-role-noaud":        {"plain", exchange(s, own, url.Values{"requested_subject": {"alice"}})},
		"26.4.2/j05-rot-refresh":            {"plain", refreshForm(s.OfflineToken("plain", "alice"))},
		"26.7.3/c1-exchange-aud":            {"plain", exchange(s, own, url.Values{"audience": {"nextcloud"}})},
		"26.4.2-v1/v1-04-impersonate-noaud": {"plain", exchange(s, own, url.Values{"requested_subject": {"alice"}})},
	} {
		t.Run(name, func(t *testing.T) {
			wantStatus, want := recorded(t, name)
			delete(want, "id_token") // Where openid was asked for.
			status, got := post(t, s, tt.id, "s", tt.form)
			if diff := cmp.Diff(kinds(want), kinds(got)); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
			if got["issued_token_type"] != want["issued_token_type"] || (got["refresh_expires_in"] == 0.0) != (want["refresh_expires_in"] == 0.0) {
				t.Errorf("got %v, recorded %v", got, want)
			}
			for _, claim := range []string{"aud", "preferred_username"} {
				_, has := claimsIn(t, got)[claim]
				if _, had := claimsIn(t, want)[claim]; has != had {
					t.Errorf("claim %s: %t, recorded %t", claim, has, had)
				}
			}
		})
	}
}

func TestImpersonationIsRefusedAsRecorded(t *testing.T) {
	s, _ := users(t)
	standard := realmAsRecorded(t)
	for name, tt := range map[string]struct {
		s                *Server
		id, secret, user string
		audience         []string
	}{
		"26.7.3/f1-requested-subject-v2":  {standard, "nextcloud-mcp-server", "mcp-secret", "alice", []string{"nextcloud"}},
		"26.7.3-v1/f2-00":                 {s, "no-grant", "s", "alice", nil},
		"26.7.3-v1/f2-02-role-aud":        {s, "plain", "s", "alice", []string{"nextcloud"}},
		"26.7.3-v1/v1-09-unknown-subject": {s, "plain", "s", "nosuch", nil},
	} {
		t.Run(name, func(t *testing.T) {
			wantStatus, want := recorded(t, name)
			own := tt.s.Claims("service-account-"+tt.id, tt.id)
			status, got := post(t, tt.s, tt.id, tt.secret, exchange(tt.s, own, url.Values{"requested_subject": {tt.user}, "audience": tt.audience}))
			if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
				t.Errorf("HTTP %s, recorded %s (-recorded +got):\n%s", status, wantStatus, diff)
			}
		})
	}
	if n := s.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions of refused requests", n)
	}
}

func TestRevocationAnswersAsRecorded(t *testing.T) {
	s, _ := users(t)
	for name, token := range map[string]string{
		"j16b-revoke-garbage": "garbage", "j16-revoke-by-other": s.Sign(s.Claims("alice", "no-grant", "plain")),
	} {
		wantStatus, want := recorded(t, name)
		status, got := postTo(t, s, "revoke", "plain", "s", url.Values{"token": {token}})
		if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
			t.Errorf("%s: HTTP %s, recorded %s (-recorded +got):\n%s", name, status, wantStatus, diff)
		}
	}
}
