package keycloaktest

import (
	"net/url"
	"strings"
	"testing"
)

func TestTheLedgerHasTokensWhoseAnswersWereLost(t *testing.T) {
	s := NewServer(t, Options{URL: "https://id.example.com"})
	s.Client("worker", "s")
	own := url.Values{"grant_type": {"client_credentials"}, "client_id": {"worker"}, "client_secret": {"s"}}
	ask := func() error {
		answer, err := s.HTTPClient().PostForm("http://"+s.Addr()+tokenPath, own)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	}
	s.Script(Answer{Lost: true})
	if err := ask(); err == nil {
		t.Error("an answer came")
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
	minted := s.Minted()
	if len(minted) != 2 || minted[0].Token == minted[1].Token {
		t.Fatalf("minted: %d", len(minted))
	}
	m := minted[0]
	if m.ClientID != "worker" || m.GrantType != "client_credentials" || m.KeyID != s.KeyID() || m.At.IsZero() {
		t.Errorf("%+v", m.Request)
	}
	if iss, _ := m.Claims["iss"].(string); !strings.HasPrefix(iss, "https://id.example.com/") {
		t.Errorf("iss = %q: behind a proxy it is the proxy's name", iss)
	}
}

func TestARemovedKeyVerifiesNothing(t *testing.T) {
	s := NewServer(t)
	s.Client("worker", "s")
	former, signed := s.KeyID(), s.Sign(s.Claims("alice", "worker"))
	s.RemoveKey(former)
	if _, err := s.claimsOf(signed); err != nil {
		t.Errorf("the key that signs was removed: %v", err)
	}
	if _, err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	s.RemoveKey(former)
	if _, err := s.claimsOf(signed); err == nil {
		t.Error("verified with a key that is gone")
	}
}
