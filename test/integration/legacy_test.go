package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// legacy is a second Keycloak, with the feature that impersonation needs. The first test that needs it starts it.
var legacy struct {
	once   sync.Once
	server *stack.Keycloak
	err    error
}

// userRealm is a realm of one test, with the users alice and bob. Nobody else has sessions in it.
type userRealm struct {
	t      *testing.T
	server *stack.Keycloak
	name   string
	// issuer is its URL.
	issuer string
}

// newUserRealm imports our realm, and bob, into a Keycloak.
func newUserRealm(t *testing.T, server *stack.Keycloak, name string) *userRealm {
	t.Helper()
	u := &userRealm{t: t, server: server, name: name, issuer: server.Issuer(name)}
	export := bytes.Replace(realm.Export, []byte(fmt.Sprintf(`"realm": %q`, realm.Name)), []byte(fmt.Sprintf(`"realm": %q`, u.name)), 1)
	if err := server.Admin(t.Context(), http.MethodPost, "", rawJSON(export), nil); err != nil {
		t.Fatal(err)
	}
	u.admin(http.MethodPost, "/users", map[string]any{"username": "bob", "enabled": true, "email": "bob@example.com", "firstName": "B", "lastName": "B"}, nil)
	return u
}

// impersonationWorld sets a world up with a realm of its own as the issuer "kc", and the credential of the client that
// may impersonate.
func impersonationWorld(t *testing.T) (*world, *userRealm) {
	t.Helper()
	t.Parallel()
	legacy.once.Do(func() {
		legacy.server, legacy.err = stack.StartKeycloak(context.Background(), stack.KeycloakOptions{
			Version: *keycloakVersion, Features: []string{"token-exchange:v1"},
		})
	})
	if legacy.err != nil {
		t.Fatal(legacy.err)
	}
	w := newWorld(t)
	u := newUserRealm(t, legacy.server, w.namespace)
	w.issuer("kc", u.issuer)
	w.secret("impersonator", map[string]string{"client-secret": "impersonator-secret"})
	return w, u
}

type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// as lets a grant act as a user.
func as(user string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) { g.Spec.Exchange.RequestedSubject = user }
}

// admin calls the Admin REST API below the realm.
func (u *userRealm) admin(method, path string, body, out any) {
	u.t.Helper()
	if err := u.server.Admin(u.t.Context(), method, "/"+u.name+path, body, out); err != nil {
		u.t.Fatal(err)
	}
}

func (u *userRealm) user(name string) string {
	u.t.Helper()
	return u.id("/users?exact=true&username=" + name)
}

// id is that of the one object which a query finds.
func (u *userRealm) id(query string) string {
	u.t.Helper()
	ids := u.ids(query)
	if len(ids) != 1 {
		u.t.Fatalf("%s: %d found", query, len(ids))
	}
	return ids[0]
}

func (u *userRealm) ids(query string) []string {
	u.t.Helper()
	var found []struct {
		ID string `json:"id"`
	}
	u.admin(http.MethodGet, query, nil, &found)
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.ID
	}
	return ids
}

// sessions are the IDs of a user's sessions.
func (u *userRealm) sessions(name string) []string {
	u.t.Helper()
	return u.ids("/users/" + u.user(name) + "/sessions")
}

// has checks how many sessions a user has.
func (u *userRealm) has(name string, want int, when string) {
	u.t.Helper()
	got := len(u.sessions(name))
	u.t.Logf("%s: %d sessions of %s", when, got, name)
	if got != want {
		u.t.Errorf("%s has %d sessions %s, want %d", name, got, when, want)
	}
}
