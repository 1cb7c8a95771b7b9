package issuer

import (
	"net/http"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestDiscoveryIsKeptForTenMinutes(t *testing.T) {
	i, server, clk := connect(t)
	start := clk.Now()
	for _, step := range []struct {
		at    time.Duration
		force bool
		down  bool
		ok    bool
		want  int // requests so far
	}{
		{at: 0, ok: true, want: 1},
		{at: 9 * time.Minute, ok: true, want: 1},
		{at: 9 * time.Minute, force: true, ok: true, want: 2},
		{at: 18 * time.Minute, ok: true, want: 2},
		{at: 20 * time.Minute, ok: true, want: 3},
		// It cannot be fetched again: the old one serves, but not where the question is whether it is good.
		{at: 31 * time.Minute, down: true, ok: true, want: 4},
		{at: 31*time.Minute + 29*time.Second, down: true, ok: true, want: 4},
		{at: 32 * time.Minute, down: true, ok: true, want: 5},
		{at: 32 * time.Minute, down: true, force: true, ok: false, want: 6},
		{at: 33 * time.Minute, ok: true, want: 7},
	} {
		clk.SetTime(start.Add(step.at))
		server.ScriptDiscovery()
		if step.down {
			server.ScriptDiscovery(keycloaktest.Answer{Status: http.StatusServiceUnavailable, Forever: true})
		}
		p, err := i.Discover(t.Context(), step.force)
		if (err == nil) != step.ok || (p != nil) != step.ok || server.DiscoveryCount() != step.want {
			t.Errorf("%+v: provider %v, %v after %d requests", step, p, err, server.DiscoveryCount())
		}
	}
}

func TestWhatIsNoIssuerStaysUnknown(t *testing.T) {
	i, server, _ := connect(t)
	server.ScriptDiscovery(keycloaktest.Answer{Status: http.StatusOK, Body: "<html>"})
	if _, err := i.Mint(t.Context(), exchanged("notes-sync")); reasonOf(err) != keycloak.ReasonIssuerInvalid {
		t.Errorf("error %v, want IssuerInvalid", err)
	}
	if i.State().Discovered {
		t.Error("it counts as discovered")
	}
	mint(t, i, exchanged("notes-sync"))
	if !i.State().Discovered {
		t.Error("it counts as not discovered")
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	i, server, clk := connect(t)
	verify := func() error {
		token := mint(t, i, exchanged("notes-sync"))
		_, err := i.Verify(t.Context(), token.AccessToken, keycloak.Expect{
			Audience: []string{"nextcloud"}, Exact: true, ClientID: "notes-sync", Now: clk.Now(),
		})
		return err
	}
	for range 3 {
		if err := verify(); err != nil {
			t.Fatal(err)
		}
	}
	// A discovery document that says the same again keeps the keys.
	if _, err := i.Discover(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err != nil || server.KeysCount() != 1 {
		t.Errorf("error %v; the keys were fetched %d times, want once", err, server.KeysCount())
	}
	if _, err := server.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err != nil || server.KeysCount() != 2 {
		t.Errorf("a new key: error %v; the keys were fetched %d times, want twice", err, server.KeysCount())
	}
}

func TestVerifyRefusesWhatIsNoToken(t *testing.T) {
	i, _, clk := connect(t)
	_, err := i.Verify(t.Context(), sensitive.New("opaque"), keycloak.Expect{Now: clk.Now()})
	if reasonOf(err) != keycloak.ReasonTokenMalformed {
		t.Errorf("error %v, want TokenMalformed", err)
	}
}
