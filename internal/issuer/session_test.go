package issuer

import (
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// impersonating returns an Issuer whose client "notes-sync" may impersonate alice.
func impersonating(t *testing.T) (*Issuer, *keycloaktest.Server) {
	t.Helper()
	server := keycloaktest.NewServer(t, keycloaktest.Options{LegacyExchange: true})
	server.SetClient(keycloaktest.Client{ID: "notes-sync", Secret: secret, Audience: []string{"nextcloud"}, Impersonates: true})
	i, err := NewRegistry().Get("k", Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.client.CloseIdleConnections)
	return i, server
}

func TestASessionIsOpenedContinuedAndEnded(t *testing.T) {
	i, server := impersonating(t)
	mint(t, i, exchanged("notes-sync"))
	token, err := i.Impersonate(t.Context(), subjectOf("notes-sync"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	expectCounts(t, server, 1, 2) // The client's own token is shared with all others.
	for range 3 {
		if token, err = i.Refresh(t.Context(), subjectOf("notes-sync"), token.RefreshToken); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Sessions("alice"); n != 1 {
		t.Errorf("%d sessions after three refreshes, want 1", n)
	}
	for range 2 { // The second finds nothing to end.
		if err := i.Logout(t.Context(), subjectOf("notes-sync"), token.RefreshToken); err != nil {
			t.Error(err)
		}
	}
	if n := server.Sessions("alice"); n != 0 {
		t.Errorf("%d sessions after the logout, want none", n)
	}
	_, err = i.Refresh(t.Context(), subjectOf("notes-sync"), token.RefreshToken)
	if got := reasonOf(err); got != keycloak.ReasonReloginRequired {
		t.Errorf("%v, want that the session is gone", err)
	}
}

func TestASessionIsOpenedWithANewTokenWhereTheSharedOneIsVoid(t *testing.T) {
	i, server := impersonating(t)
	shared, err := i.SubjectToken(t.Context(), subjectOf("notes-sync"))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Revoke(t.Context(), subjectOf("notes-sync"), shared.AccessToken, keycloak.TokenTypeHintAccessToken); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Impersonate(t.Context(), subjectOf("notes-sync"), "alice"); err != nil {
		t.Fatal(err)
	}
	expectCounts(t, server, 2, 2)
	if n := server.Sessions("alice"); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestSessionsOfAnIssuerThatDoesNotAnswer(t *testing.T) {
	i, server := impersonating(t)
	server.SetDown(true)
	r, token := subjectOf("notes-sync"), sensitive.New("refresh")
	for name, ask := range map[string]func() error{
		"refresh":     func() error { _, err := i.Refresh(t.Context(), r, token); return err },
		"impersonate": func() error { _, err := i.Impersonate(t.Context(), r, "alice"); return err },
		"logout":      func() error { return i.Logout(t.Context(), r, token) },
		"revoke":      func() error { return i.Revoke(t.Context(), r, token, "") },
	} {
		if got := reasonOf(ask()); got != keycloak.ReasonIssuerUnreachable {
			t.Errorf("%s: %s, want %s", name, got, keycloak.ReasonIssuerUnreachable)
		}
	}
}
