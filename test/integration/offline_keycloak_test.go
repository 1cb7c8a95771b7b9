package integration

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// The realms of these tests: ours, with other rules for refresh tokens.
var (
	reusable = offlineRealm{name: "offline-reusable"}
	once     = offlineRealm{name: "offline-once", settings: map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": 0}}
	twice    = offlineRealm{name: "offline-twice", settings: map[string]any{"revokeRefreshToken": true, "refreshTokenMaxReuse": 1}}
	idling   = offlineRealm{name: "offline-idling"}
	aging    = offlineRealm{name: "offline-aging"}
)

type offlineRealm struct {
	once     sync.Once
	name     string
	settings map[string]any
}

// there imports the realm when it is used first: ours, with what is needed here.
func (r *offlineRealm) there(t *testing.T) {
	t.Helper()
	realKeycloak(t)
	r.once.Do(func() {
		var representation map[string]any
		if err := json.Unmarshal(realm.Export, &representation); err != nil {
			t.Fatal(err)
		}
		maps.Copy(representation, r.settings)
		representation["realm"] = r.name
		delete(representation, "users")
		representation["clients"] = []any{map[string]any{"clientId": "nextcloud"}}
		admin(t, http.MethodPost, "", representation, nil)
	})
}

// visitor is a user with an offline token for a client of her own, and describes the grant "g" of it.
type visitor struct {
	*world
	realm, issuer, name string
	g                   *v1alpha1.TokenGrant
}

// visit makes a user and a client in a realm; the token is in the Secret "alice".
func visit(t *testing.T, r *offlineRealm, lifespan string) visitor {
	t.Helper()
	t.Parallel()
	r.there(t)
	w := newWorld(t)
	v := visitor{world: w, realm: r.name, issuer: realKeycloak(t).Issuer(r.name), name: w.namespace}
	admin(t, http.MethodPost, "/"+r.name+"/clients", map[string]any{
		"clientId": v.name, "secret": "visitor-secret", "standardFlowEnabled": false, "directAccessGrantsEnabled": true,
		"attributes":          map[string]string{"standard.token.exchange.enabled": "true", "access.token.lifespan": lifespan},
		"defaultClientScopes": []string{"basic", "profile", "roles", "nextcloud-audience"}, "optionalClientScopes": []string{"offline_access"},
	}, nil)
	admin(t, http.MethodPost, "/"+r.name+"/users", map[string]any{
		"username": v.name, "enabled": true, "email": v.name + "@example.com", "firstName": "A", "lastName": "B",
		"credentials": []any{map[string]string{"type": "password", "value": "visitor-password"}},
	}, nil)
	admin(t, http.MethodPost, v.user()+"/role-mappings/realm", v.offlineAccess(), nil)
	w.issuer("kc", v.issuer)
	w.secret(v.name, map[string]string{"client-secret": "visitor-secret"})
	w.secret("alice", map[string]string{"refresh_token": v.logIn()})
	v.g = w.grantFor("g", "kc", v.name, offlineSubject)
	return v
}

// user is the path of the user at the Admin REST API.
func (v visitor) user() string {
	v.t.Helper()
	return "/" + v.realm + "/users/" + v.id("/"+v.realm+"/users?exact=true&username="+v.name)
}

func (v visitor) id(query string) string {
	v.t.Helper()
	var found []struct{ ID string }
	admin(v.t, http.MethodGet, query, nil, &found)
	if len(found) != 1 {
		v.t.Fatalf("%s: %d found", query, len(found))
	}
	return found[0].ID
}

func (v visitor) offlineAccess() []any {
	v.t.Helper()
	var role map[string]any
	admin(v.t, http.MethodGet, "/"+v.realm+"/roles/offline_access", nil, &role)
	return []any{role}
}

// logIn gives an offline token, as a login in a browser would.
func (v visitor) logIn() string {
	v.t.Helper()
	token, status := v.ask(url.Values{
		"grant_type": {"password"}, "username": {v.name}, "password": {"visitor-password"}, "scope": {"openid offline_access"},
	})
	if token == "" {
		v.t.Fatalf("logging in: HTTP %d", status)
	}
	return token
}

// ask gives the refresh token of an answer, and its status.
func (v visitor) ask(form url.Values) (string, int) {
	v.t.Helper()
	form.Set("client_id", v.name)
	form.Set("client_secret", "visitor-secret")
	answer, err := http.PostForm(v.issuer+"/protocol/openid-connect/token", form)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var token struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		v.t.Fatal(err)
	}
	return token.RefreshToken, answer.StatusCode
}

// changeRealm sets settings of the realm.
func (v visitor) changeRealm(settings map[string]any) {
	v.t.Helper()
	admin(v.t, http.MethodPut, "/"+v.realm, settings, nil)
}

// TestKeycloakOfflineTokenIsRefreshedAndExchanged follows one login past four refreshes by the schedule, past the end
// of its Secret and a restart.
func TestKeycloakOfflineTokenIsRefreshedAndExchanged(t *testing.T) {
	v := visit(t, &once, "10")
	_, cloud := nextcloudFor(t, v.issuer)
	v.g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(cloud)}}
	v.g.Spec.Scopes = []v1alpha1.Scope{"openid"} // A narrower scope takes nothing from the session.
	jti := v.ready(v.g)
	v.await(v.g, v1alpha1.ConditionCheckPassed, "True", v1alpha1.ReasonNextcloudAccepted)
	claims := claimsIn(t, v.published(v.g))
	if claims["aud"] != "nextcloud" || claims["azp"] != v.name || claims["preferred_username"] != v.name {
		t.Errorf("aud = %v, azp = %v, username = %v", claims["aud"], claims["azp"], claims["preferred_username"])
	}
	jti = v.another(v.g, jti)
	v.deleteLogin()
	jti = v.another(v.g, jti)
	v.restart()
	jti = v.another(v.g, jti)
	jti = v.another(v.g, jti)
	v.storeLogin(v.logIn())
	v.another(v.g, jti)
}

// TestKeycloakOfflineWithoutExchange publishes the refreshed token itself.
func TestKeycloakOfflineWithoutExchange(t *testing.T) {
	v := visit(t, &reusable, "300")
	v.g.Spec.Exchange = nil
	v.renewed(v.g, "1", v.ready(v.g))
	if claims := claimsIn(t, v.published(v.g)); claims["preferred_username"] != v.name || claims["azp"] != v.name {
		t.Errorf("username = %v, azp = %v", claims["preferred_username"], claims["azp"])
	}
}

// TestKeycloakOfflineSurvivesAKill cuts the operator off at each point between Keycloak's answer and the status, in
// realms that revoke refresh tokens, and starts another one without the login's Secret. Lost is only what was never
// written down, and not even that where Keycloak lets a token be used a second time.
func TestKeycloakOfflineSurvivesAKill(t *testing.T) {
	session, token, status := writes("secrets", sessionSecret), writes("secrets", "g"), writes("tokengrants", "g/status")
	for name, tt := range map[string]struct {
		at        func(*http.Request) bool
		reaches   bool
		published bool
		lost      bool
	}{
		"answer received, session not yet written": {at: session, lost: true},
		"session written, not yet exchanged":       {at: session, reaches: true},
		"exchanged, not yet published":             {at: token},
		"published, status not yet written":        {at: status, published: true},
	} {
		for _, r := range []*offlineRealm{&once, &twice} {
			t.Run(name+", "+r.name, func(t *testing.T) {
				v := visit(t, r, "300")
				jti := v.ready(v.g)
				v.deleteLogin()
				v.stop()
				v.wire = killedAt(tt.at, tt.reaches)
				v.start()
				v.requestRefresh(v.g, "1")
				<-v.wire.hit
				v.stop()
				if got := v.jti(v.g); (got != jti) != tt.published {
					t.Errorf("the token is another one: %t, want %t", got != jti, tt.published)
				}
				v.wire = nil
				v.start()
				if tt.lost && r == &once {
					v.awaitMessage(v.g, "The token is valid", v1alpha1.ReasonReloginRequired, "Refresh Token Max Reuse", "kubectl tokengrant login g")
					v.storeLogin(v.logIn())
				}
				jti = v.another(v.g, map[bool]string{true: "", false: jti}[tt.published])
				v.renewed(v.g, "2", jti)
			})
		}
	}
}

// TestKeycloakOfflineSessionThatEnded shows what Keycloak says of each end, and that a new login, or what else the message
// says, mends it.
func TestKeycloakOfflineSessionThatEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		realm  *offlineRealm
		end    func(v visitor)
		reason string
		says   string
		mend   func(v visitor)
	}{
		"revoked by the administrator, or in the user's account": {
			&reusable, func(v visitor) { admin(v.t, http.MethodDelete, v.user()+"/consents/"+v.name, nil, nil) },
			v1alpha1.ReasonReloginRequired, "Offline user session not found", anew,
		},
		"signed out everywhere": {
			&reusable, func(v visitor) {
				time.Sleep(time.Second) // a not-before ends what was issued in an earlier second
				admin(v.t, http.MethodPost, v.user()+"/logout", nil, nil)
			},
			v1alpha1.ReasonReloginRequired, "Stale token", anew,
		},
		"the user is deleted": {
			&reusable, func(v visitor) { admin(v.t, http.MethodDelete, v.user(), nil, nil) },
			v1alpha1.ReasonReloginRequired, "Offline user session not found", nil,
		},
		"the user is disabled": {
			&reusable, func(v visitor) { admin(v.t, http.MethodPut, v.user(), map[string]any{"enabled": false}, nil) },
			v1alpha1.ReasonSubjectTokenInvalid, "enable the user: the session is still there",
			func(v visitor) { admin(v.t, http.MethodPut, v.user(), map[string]any{"enabled": true}, nil) },
		},
		"offline_access is taken from the user": {
			&reusable, func(v visitor) {
				var roles []any
				admin(v.t, http.MethodGet, v.user()+"/role-mappings/realm", nil, &roles)
				admin(v.t, http.MethodDelete, v.user()+"/role-mappings/realm", roles, nil)
			},
			v1alpha1.ReasonSubjectTokenInvalid, "give the user the role offline_access",
			func(v visitor) { admin(v.t, http.MethodPost, v.user()+"/role-mappings/realm", v.offlineAccess(), nil) },
		},
		"used by somebody else, too": {
			&once, func(v visitor) {
				if _, status := v.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {v.stored()}}); status != http.StatusBadRequest {
					v.t.Errorf("the stolen token: HTTP %d", status)
				}
			},
			v1alpha1.ReasonReloginRequired, "Session doesn't have required client", anew,
		},
		"not used for too long": {
			&idling, func(v visitor) { v.changeRealm(map[string]any{"offlineSessionIdleTimeout": 1}) },
			v1alpha1.ReasonReloginRequired, "log in again",
			func(v visitor) { v.changeRealm(map[string]any{"offlineSessionIdleTimeout": 3600}); anew(v) },
		},
		"too old": {
			&aging, func(v visitor) {
				v.changeRealm(map[string]any{"offlineSessionMaxLifespanEnabled": true, "offlineSessionMaxLifespan": 1})
			},
			v1alpha1.ReasonReloginRequired, "log in again",
			func(v visitor) { v.changeRealm(map[string]any{"offlineSessionMaxLifespanEnabled": false}); anew(v) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := visit(t, tt.realm, "300")
			jti := v.ready(v.g)
			tt.end(v)
			time.Sleep(2 * time.Second)
			v.requestRefresh(v.g, "1")
			v.awaitMessage(v.g, tt.reason, tt.says)
			if tt.mend != nil {
				tt.mend(v)
				v.renewed(v.g, "2", jti)
			}
		})
	}
}

// anew stores another login.
func anew(v visitor) { v.storeLogin(v.logIn()) }

// stored is the token of the login's Secret.
func (v visitor) stored() string {
	v.t.Helper()
	var s corev1.Secret
	if err := v.Get(v.t.Context(), client.ObjectKey{Namespace: v.namespace, Name: "alice"}, &s); err != nil {
		v.t.Fatal(err)
	}
	return string(s.Data["refresh_token"])
}
