package issuer

import (
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// TestRequestsThatAreTooLargeAreNoFaultOfTheIssuer: nothing is sent, and the breaker stays closed.
func TestRequestsThatAreTooLargeAreNoFaultOfTheIssuer(t *testing.T) {
	i, server, _ := connect(t)
	mint(t, i, exchanged("notes-sync"))
	before := len(server.Requests())
	long := sensitive.New(strings.Repeat("x", 64<<10))
	for name, tt := range map[string]struct {
		auth keycloak.ClientAuth
		says string
	}{
		"a header": {keycloak.SecretBasic(long), "the Authorization header is "},
		"a form":   {keycloak.SecretPost(long), "the request body is "},
	} {
		request := MintRequest{Subject: SubjectRequest{ClientID: "other", Auth: tt.auth, CredentialVersion: name}}
		for range 2 * tripAfter {
			_, err := i.Mint(t.Context(), request)
			if reasonOf(err) != keycloak.ReasonRequestRefused || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%s: %v, want RequestRefused with %q", name, err, tt.says)
			}
		}
	}
	if sent := len(server.Requests()) - before; sent != 0 {
		t.Errorf("%d requests were sent", sent)
	}
	if s := i.State().Breaker; s != "closed" {
		t.Errorf("the breaker is %s", s)
	}
}
