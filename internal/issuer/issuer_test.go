package issuer

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const secret = "canary-4711"

// connect returns an Issuer for a scripted server; both go by the same clock.
func connect(t *testing.T) (*Issuer, *keycloaktest.Server, *testingclock.FakePassiveClock) {
	t.Helper()
	clk := testingclock.NewFakePassiveClock(time.Now().Truncate(time.Second))
	server := keycloaktest.NewServer(t, keycloaktest.Options{Now: clk.Now})
	server.Client("notes-sync", secret)
	i, err := NewRegistry().Get("k", Config{URL: server.URL, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.client.CloseIdleConnections)
	return i, server, clk
}

func subjectOf(client string) SubjectRequest {
	return SubjectRequest{ClientID: client, Auth: keycloak.SecretBasic(sensitive.New(secret)), CredentialVersion: "1"}
}

func exchanged(client string) MintRequest {
	return MintRequest{Subject: subjectOf(client), Exchange: &keycloak.ExchangeRequest{Audience: []string{"nextcloud"}}}
}

func mint(t *testing.T, i *Issuer, r MintRequest) keycloak.Token {
	t.Helper()
	token, err := i.Mint(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// expectCounts asserts what the server was asked so far.
func expectCounts(t *testing.T, s *keycloaktest.Server, subjects, exchanges int) {
	t.Helper()
	gotSubjects, gotExchanges := s.Count(keycloak.GrantTypeClientCredentials), s.Count(keycloak.GrantTypeTokenExchange)
	if gotSubjects != subjects || gotExchanges != exchanges {
		t.Errorf("%d client_credentials and %d exchanges, want %d and %d", gotSubjects, gotExchanges, subjects, exchanges)
	}
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*keycloak.Error](err); ok {
		return e.Reason
	}
	return ""
}

func TestAHundredGrantsOfOneClientCostOneSubjectToken(t *testing.T) {
	i, server, _ := connect(t)
	seen := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			token, err := i.Mint(t.Context(), exchanged("notes-sync"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[token.AccessToken.Reveal()] {
				t.Errorf("error %v, or a token that another got", err)
			}
			seen[token.AccessToken.Reveal()] = true
		})
	}
	wg.Wait()
	expectCounts(t, server, 1, 100)
	if n := server.DiscoveryCount(); n != 1 {
		t.Errorf("the discovery document was read %d times, want once", n)
	}
}

func TestWithoutExchangeEveryGrantGetsItsOwnToken(t *testing.T) {
	i, server, _ := connect(t)
	r := MintRequest{Subject: subjectOf("notes-sync")}
	mint(t, i, exchanged("notes-sync"))
	if mint(t, i, r).AccessToken.Equal(mint(t, i, r).AccessToken) {
		t.Error("two grants got the same token")
	}
	expectCounts(t, server, 3, 1)
}

func TestSubjectTokensAreSharedByAllTheyDependOn(t *testing.T) {
	i, server, _ := connect(t)
	server.SetClient(keycloaktest.Client{
		ID: "notes-sync", Secret: secret, Audience: []string{"nextcloud"}, OptionalScopes: map[string][]string{"a": nil, "b": nil},
	})
	server.Client("other", secret)
	want := 0
	for _, step := range []struct {
		name   string
		change func(*MintRequest)
		isNew  bool
	}{
		{"the first", func(*MintRequest) {}, true},
		{"the same again", func(*MintRequest) {}, false},
		{"another audience scope", func(r *MintRequest) { r.Exchange.Scopes = []string{"a"} }, false},
		{"a changed credential", func(r *MintRequest) { r.Subject.CredentialVersion = "2" }, true},
		{"scopes", func(r *MintRequest) { r.Subject.Scopes = []string{"a", "b"} }, true},
		{"the same scopes in another order", func(r *MintRequest) { r.Subject.Scopes = []string{"b", "a", "b"} }, false},
		{"another client", func(r *MintRequest) { r.Subject.ClientID = "other" }, true},
	} {
		r := exchanged("notes-sync")
		step.change(&r)
		mint(t, i, r)
		if step.isNew {
			want++
		}
		if got := server.Count(keycloak.GrantTypeClientCredentials); got != want {
			t.Errorf("%s: %d subject tokens minted, want %d", step.name, got, want)
		}
	}
	i.Drop(subjectOf("notes-sync"))
	mint(t, i, exchanged("notes-sync"))
	if got := server.Count(keycloak.GrantTypeClientCredentials); got != want+1 {
		t.Errorf("after Drop: %d subject tokens minted, want %d", got, want+1)
	}
}

func TestASubjectTokenIsUsedForHalfOfItsLife(t *testing.T) {
	for name, tc := range map[string]struct {
		expiresIn any
		last      time.Duration // when it is still used; from a second later on it is not
	}{
		"five minutes":               {300, 149 * time.Second},
		"twenty seconds":             {20, 9 * time.Second},
		"fifteen: ten must be left":  {15, 4 * time.Second},
		"ten seconds":                {10, -1},
		"missing":                    {nil, -1},
		"zero":                       {0, -1},
		"negative":                   {-1, -1},
		"huge: one hour is believed": {int64(1) << 62, 30*time.Minute - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			i, server, clk := connect(t)
			server.SetLifespan(time.Hour)
			server.Script(keycloaktest.Answer{Fields: func(fields map[string]any) {
				fields["expires_in"] = tc.expiresIn
				if tc.expiresIn == nil {
					delete(fields, "expires_in")
				}
			}})
			start := clk.Now()
			mint(t, i, exchanged("notes-sync"))
			if tc.last >= 0 {
				clk.SetTime(start.Add(tc.last))
				mint(t, i, exchanged("notes-sync"))
				expectCounts(t, server, 1, 2)
			}
			clk.SetTime(start.Add(tc.last + time.Second))
			mint(t, i, exchanged("notes-sync"))
			if got := server.Count(keycloak.GrantTypeClientCredentials); got != 2 {
				t.Errorf("%d subject tokens minted, want a second one", got)
			}
		})
	}
}

func TestUsedUpSubjectTokensAreNotKept(t *testing.T) {
	i, server, clk := connect(t)
	for _, client := range []string{"a", "b", "c"} {
		server.Client(client, secret)
		mint(t, i, exchanged(client))
	}
	if n := i.State().SubjectTokens; n != 3 {
		t.Fatalf("%d tokens held, want 3", n)
	}
	clk.SetTime(clk.Now().Add(time.Hour))
	mint(t, i, exchanged("notes-sync"))
	if n := len(i.subjects.held); n != 1 {
		t.Errorf("%d tokens held, want the new one", n)
	}
}

var invalidToken = keycloaktest.Answer{Status: http.StatusBadRequest, Body: `{"error":"invalid_request","error_description":"Invalid token"}`}

func TestARevokedSubjectTokenIsReplacedOnce(t *testing.T) {
	i, server, _ := connect(t)
	mint(t, i, exchanged("notes-sync"))
	server.Script(invalidToken)
	mint(t, i, exchanged("notes-sync"))
	expectCounts(t, server, 2, 3)
	mint(t, i, exchanged("notes-sync"))
	expectCounts(t, server, 2, 4)

	server.Script(invalidToken, keycloaktest.Answer{}, invalidToken)
	_, err := i.Mint(t.Context(), exchanged("notes-sync"))
	if reasonOf(err) != keycloak.ReasonSubjectTokenInvalid {
		t.Errorf("error %v, want SubjectTokenInvalid", err)
	}
	expectCounts(t, server, 3, 6)
}

func TestManyRefusedWithOneSubjectTokenReplaceItTogether(t *testing.T) {
	i, server, clk := connect(t)
	server.SetLifespan(4 * time.Minute)
	mint(t, i, exchanged("notes-sync"))
	// The issuer's clock says expired, ours not yet: that of the server alone moves on.
	held, _ := i.subjects.get(subjectOf("notes-sync").key())
	clk.SetTime(clk.Now().Add(5 * time.Minute))
	i.subjects.put(subjectOf("notes-sync").key(), held, clk.Now())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := i.Mint(t.Context(), exchanged("notes-sync")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := server.Count(keycloak.GrantTypeClientCredentials); n != 2 {
		t.Errorf("%d subject tokens minted, want 2", n)
	}
}
