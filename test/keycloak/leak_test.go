//go:build integration

package keycloak

import (
	"fmt"
	"os"
	"testing"

	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/test/canary"
)

// leaks has the credentials and tokens of the tests, and what errors say and tokens print as.
var leaks canary.Watch

func TestMain(m *testing.M) {
	leaks.Plant("a password", "alice-password")
	code := m.Run()
	leaks.Said("the run", "some tests of a few neither mint nor are refused")
	if err := leaks.Found(); err != nil && code == 0 { // A failed run has said enough.
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// told keeps what an error says, in each way to print it.
func told(err error) {
	leaks.Said("an error", fmt.Sprintf("%v\n%+v\n%#v", err, err, err))
}

// minted plants a token, and keeps what its struct prints as.
func minted(token keycloak.Token) {
	leaks.Plant("an access token", token.AccessToken.Reveal())
	leaks.Plant("a refresh token", token.RefreshToken.Reveal())
	leaks.Said("a token", fmt.Sprintf("%v\n%+v\n%#v", token, token, token))
}
