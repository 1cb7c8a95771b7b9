package realm

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

type client struct {
	ClientID             string
	Enabled              *bool
	Secret               string
	ServiceAccounts      bool   `json:"serviceAccountsEnabled"`
	Authenticator        string `json:"clientAuthenticatorType"`
	Public               bool   `json:"publicClient"`
	Attributes           map[string]string
	DefaultClientScopes  []string
	OptionalClientScopes []string
}

func parse(t *testing.T, name string, content []byte) (scopes []string, clients map[string]client) {
	t.Helper()
	var export struct {
		Realm        string
		ClientScopes []struct {
			Name            string
			ProtocolMappers []struct {
				ProtocolMapper string
				Config         map[string]string
			}
		}
		Clients []client
		Users   []struct {
			Username    string
			Credentials []struct{ Value string }
		}
	}
	if err := json.Unmarshal(content, &export); err != nil {
		t.Fatal(err)
	}
	if export.Realm != name {
		t.Errorf("realm %q, want %q", export.Realm, name)
	}
	if u := export.Users[0]; u.Username != "alice" || name == Name && u.Credentials[0].Value != "alice-password" {
		t.Errorf("first user %+v", u)
	}
	for _, s := range export.ClientScopes {
		scopes = append(scopes, s.Name)
		if s.Name == "nextcloud-audience" {
			m := s.ProtocolMappers[0]
			if m.ProtocolMapper != "oidc-audience-mapper" || m.Config["included.client.audience"] != "nextcloud" || m.Config["access.token.claim"] != "true" {
				t.Errorf("audience mapper %+v", m)
			}
		}
	}
	clients = map[string]client{}
	for _, c := range export.Clients {
		clients[c.ClientID] = c
	}
	return scopes, clients
}

func TestEveryClientIsWhatItsNameSays(t *testing.T) {
	scopes, clients := parse(t, Name, Export)
	checkClients(t, scopes, clients)
	for id, want := range map[string]struct {
		serviceAccount, exchange, mapper, disabled bool
		lifespan                                   string
	}{
		"nextcloud":            {},
		"nextcloud-mcp-server": {serviceAccount: true, exchange: true, mapper: true},
		"notes-sync":           {serviceAccount: true, exchange: true, mapper: true, lifespan: "30"},
		"short-lived":          {serviceAccount: true, exchange: true, mapper: true, lifespan: "15"},
		"no-exchange":          {serviceAccount: true, mapper: true},
		"no-mapper":            {serviceAccount: true, exchange: true},
		"optional-mapper":      {serviceAccount: true, exchange: true},
		"no-service-account":   {exchange: true, mapper: true},
		"signed-jwt":           {serviceAccount: true, exchange: true, mapper: true},
		"certificate":          {serviceAccount: true, exchange: true, mapper: true},
		"kubernetes":           {serviceAccount: true, exchange: true, mapper: true},
		"offline":              {exchange: true, mapper: true},
		"device":               {},
		"impersonator":         {serviceAccount: true, exchange: true, mapper: true},
		"disabled-client":      {serviceAccount: true, disabled: true},
		"disabled-aud":         {disabled: true},
	} {
		c, ok := clients[id]
		got := want
		got.serviceAccount, got.exchange = c.ServiceAccounts, c.Attributes["standard.token.exchange.enabled"] == "true"
		got.mapper = slices.Contains(c.DefaultClientScopes, "nextcloud-audience")
		got.disabled = c.Enabled != nil && !*c.Enabled
		got.lifespan = c.Attributes["access.token.lifespan"]
		if !ok || got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
		delete(clients, id)
	}
	if len(clients) != 0 {
		t.Errorf("clients that no test knows: %v", clients)
	}
}

// checkClients checks what holds for every client of a demo.
func checkClients(t *testing.T, scopes []string, clients map[string]client) {
	t.Helper()
	for id, c := range clients {
		want := id + "-secret"
		if c.Authenticator != "" || c.Public {
			want = ""
		}
		if c.Secret != want {
			t.Errorf("%s: secret %q, want %q", id, c.Secret, want)
		}
		// Keycloak drops a scope it does not know with no more than a warning in its log.
		for _, s := range slices.Concat(c.DefaultClientScopes, c.OptionalClientScopes) {
			if !slices.Contains(scopes, s) {
				t.Errorf("%s: scope %q is not in the export", id, s)
			}
		}
	}
}

func TestTheSecondRealmTakesJWTs(t *testing.T) {
	scopes, clients := parse(t, NameB, ExportB)
	checkClients(t, scopes, clients)
	for id, want := range map[string][2]string{
		"jwt-bearer": {"true", Name}, "no-idp": {"true", ""}, "no-jwt-bearer": {"", ""},
	} {
		a := clients[id].Attributes
		got := [2]string{a["oauth2.jwt.authorization.grant.enabled"], a["oauth2.jwt.authorization.grant.idp"]}
		if got != want {
			t.Errorf("%s: grant and identity provider %q, want %q", id, got, want)
		}
	}
}

// The attributes that older write-ups name do nothing: the export must not teach them.
func TestAttributesThatDoNothingAreNotUsed(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, dead := range []string{"token.exchange.grant.enabled", "client.token.exchange.standard.enabled"} {
		if strings.Contains(string(Export), `"`+dead+`"`) {
			t.Errorf("the export has %s", dead)
		}
		if !strings.Contains(string(readme), dead) {
			t.Errorf("README.md does not warn of %s", dead)
		}
	}
}
