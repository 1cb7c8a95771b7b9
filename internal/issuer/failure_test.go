package issuer

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

func TestAFailureIsSharedAndNotKept(t *testing.T) {
	i, server, _ := connect(t)
	server.Script(keycloaktest.Answer{
		Status: http.StatusUnauthorized, Body: `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`,
		Delay: 100 * time.Millisecond,
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := i.SubjectToken(t.Context(), subjectOf("notes-sync")); reasonOf(err) != keycloak.ReasonClientRejected {
				t.Errorf("error %v, want ClientRejected", err)
			}
		})
	}
	wg.Wait()
	expectCounts(t, server, 1, 0)
	mint(t, i, exchanged("notes-sync"))
	expectCounts(t, server, 2, 1)
}

func TestACallerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	i, server, _ := connect(t)
	server.Script(keycloaktest.Answer{Delay: 200 * time.Millisecond})
	why := errors.New("the grant is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := i.Mint(ctx, exchanged("notes-sync")); !errors.Is(err, why) {
			t.Errorf("error %v, want %v", err, why)
		}
	})
	for len(server.Requests()) == 0 && server.DiscoveryCount() == 0 {
		time.Sleep(time.Millisecond)
	}
	wg.Go(func() { mint(t, i, exchanged("notes-sync")) })
	cancel(why)
	wg.Wait()
	expectCounts(t, server, 1, 1)
}

func TestADeadIssuerIsUnreachableAndSaysWhenToTryAgain(t *testing.T) {
	i, server, _ := connect(t)
	mint(t, i, exchanged("notes-sync"))
	server.SetDown(true)
	before := len(server.Requests())
	for range 100 {
		_, err := i.Mint(t.Context(), exchanged("notes-sync"))
		var e *keycloak.Error
		if !errors.As(err, &e) || e.Reason != keycloak.ReasonIssuerUnreachable {
			t.Fatalf("error %v, want IssuerUnreachable", err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Fatalf("the error shows the secret: %v", err)
		}
	}
	_, err := i.Mint(t.Context(), exchanged("notes-sync"))
	var e *keycloak.Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > openFor || e.Description == "" {
		t.Errorf("error %+v, want one that says why, and to try again in at most %s", e, openFor)
	}
	if sent := len(server.Requests()) - before; sent > tripAfter {
		t.Errorf("%d requests sent, want at most %d", sent, tripAfter)
	}
	if b := i.State().Breaker; b != "open" {
		t.Errorf("the breaker is %s", b)
	}
}

func TestA503SaysSoWhileTheBreakerIsOpen(t *testing.T) {
	i, server, _ := connect(t)
	server.Script(keycloaktest.Answer{Status: http.StatusServiceUnavailable, Body: "<h1>" + secret, Forever: true})
	for range 20 {
		_, err := i.Mint(t.Context(), exchanged("notes-sync"))
		var e *keycloak.Error
		if !errors.As(err, &e) || e.Reason != keycloak.ReasonIssuerUnreachable || e.Status != 503 || strings.Contains(err.Error(), secret) {
			t.Fatalf("error %v, want IssuerUnreachable with status 503 and no body", err)
		}
	}
	expectCounts(t, server, tripAfter, 0)
}

func TestA429IsThrottledForAllClients(t *testing.T) {
	i, server, _ := connect(t)
	server.Client("other", secret)
	mint(t, i, exchanged("notes-sync"))
	server.Script(keycloaktest.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"30"}}})
	sent := len(server.Requests())
	for _, client := range []string{"notes-sync", "other", "notes-sync"} {
		_, err := i.Mint(t.Context(), exchanged(client))
		var e *keycloak.Error
		if !errors.As(err, &e) || e.Reason != keycloak.ReasonThrottled || e.RetryAfter != 30*time.Second {
			t.Errorf("%s: error %v, want Throttled for 30 s", client, err)
		}
	}
	if n := len(server.Requests()) - sent; n != 1 {
		t.Errorf("%d requests, want the one that was throttled", n)
	}
}
