package controllers

import (
	"encoding/base64"
	"testing"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// TestAKeptSessionIsShownToItsIssuerOnly: the issuer that was gathered has another URL than the one that opened the session.
// Nobody is asked: there is not even a connection.
func TestAKeptSessionIsShownToItsIssuerOnly(t *testing.T) {
	b := newBench(t)
	grant := b.grant()
	grant.Spec.Exchange = &v1alpha1.Exchange{RequestedSubject: "alice"}
	g := b.ending(grant)
	g.clientID = "worker"
	g.issuer.spec = &v1alpha1.TokenIssuerSpec{URL: "https://id.example.com"}
	source := g.userSource()
	g.past.session = &session{State: offline.State{User: "alice", RefreshToken: sensitive.New("refresh-canary"), Source: source}}
	g.issuer.spec = &v1alpha1.TokenIssuerSpec{URL: "https://evil.example.com"}
	if _, err := b.userToken(t.Context(), g, issuer.SubjectRequest{}); err == nil {
		t.Error("the session was continued at another issuer")
	}
	if g.past.session.Source != source || g.past.session.RefreshToken.IsZero() {
		t.Error("the session was forgotten without an end")
	}
}

func TestSessionEnd(t *testing.T) {
	const idle = "it ends when it has been idle for as long as the issuer allows"
	of := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
	}
	for token, want := range map[string]string{
		of(`{"exp":1795806000}`): "its refresh token expires at 2026-11-27T19:00:00Z",
		of(`{"typ":"Offline"}`):  idle,
		of(`{"exp":"soon"}`):     idle,
		of(`{"exp":1e30}`):       idle,
		"opaque":                 idle,
		"":                       idle,
	} {
		if got := sessionEnd(sensitive.New(token)); got != want {
			t.Errorf("%s: %s, want %s", token, got, want)
		}
	}
}
