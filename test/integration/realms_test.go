package integration

import (
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// TestKeycloakTokenOfOneRealmBecomesATokenOfAnother lets a grant of realm A feed one of realm B: the token of A's
// service account, made out to B, is the assertion for a token of B, which is then exchanged for B's own resource.
func TestKeycloakTokenOfOneRealmBecomesATokenOfAnother(t *testing.T) {
	w, issuerA := realWorld(t)
	kc := realKeycloak(t)
	realmB := "b-" + w.namespace
	issuerB := kc.URL + "/realms/" + realmB

	// In A: a client that stands for B, and a requester that may get tokens for it.
	admin(t, http.MethodPost, "/"+realm.Name+"/clients", map[string]any{"clientId": issuerB}, nil)
	sender := "sender-" + w.namespace
	requester(t, sender, "client-secret", map[string]string{"access.token.lifespan": "60"})
	changeClient(t, sender, map[string]any{"secret": "sender-secret", "protocolMappers": []any{audienceMapper(issuerB)}})

	// In B: A as an identity provider, a client that may use it, a resource, and the user that A's service account is.
	admin(t, http.MethodPost, "", map[string]any{"realm": realmB, "enabled": true}, nil)
	receiver := map[string]any{
		"clientId": "receiver", "secret": "receiver-secret", "serviceAccountsEnabled": true, "standardFlowEnabled": false,
		"protocolMappers": []any{audienceMapper("nextcloud")},
		"attributes": map[string]string{
			"standard.token.exchange.enabled": "true", "oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": "a",
		},
	}
	admin(t, http.MethodPost, "/"+realmB+"/clients", map[string]any{"clientId": "nextcloud"}, nil)
	admin(t, http.MethodPost, "/"+realmB+"/clients", receiver, nil)

	w.issuer("b", issuerB)
	w.secret("sender", map[string]string{"client-secret": "sender-secret"})
	w.secret("receiver", map[string]string{"client-secret": "receiver-secret"})
	a := w.grantFor("a", "kc", sender, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = "sender"
		g.Spec.Exchange.Audiences = []v1alpha1.Audience{v1alpha1.Audience(issuerB)}
	})
	w.create(a)
	w.await(a, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	b := w.grantFor("b", "b", "receiver", func(g *v1alpha1.TokenGrant) {
		g.Spec.Subject = &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "a"}}}
	})
	if federatedByFeature(*keycloakVersion) {
		w.create(b)
		contains(t, w.await(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGrantTypeUnsupported))
		return
	}
	admin(t, http.MethodPost, "/"+realmB+"/identity-provider/instances", map[string]any{
		"alias": "a", "providerId": "jwt-authorization-grant", "enabled": true,
		"config": map[string]string{
			"issuer": issuerA, "useJwksUrl": "true", "jwksUrl": issuerA + "/protocol/openid-connect/certs", "jwtAuthorizationGrantEnabled": "true",
		},
	}, nil)
	w.create(b)
	contains(t, w.await(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSubjectTokenInvalid), "User not found")

	link(t, realmB, "sync", map[string]any{"userId": a.Status.Token.Subject, "userName": a.Status.Token.Username})
	w.requestRefresh(a, "now that there is a user")
	w.await(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.healthy(b)
	claims := claimsIn(t, w.published(b))
	if claims["iss"] != issuerB || claims["aud"] != "nextcloud" || claims["preferred_username"] != "sync" {
		t.Errorf("iss = %v, aud = %v, username = %v", claims["iss"], claims["aud"], claims["preferred_username"])
	}
	// A's next token is the next assertion: each is used once.
	w.requestRefresh(a, "again")
	w.eventually("another token of B", func() (bool, string) { return claimsIn(t, w.published(b))["jti"] != claims["jti"], "" })
	w.await(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func admin(t *testing.T, method, path string, body, out any) {
	t.Helper()
	if err := realKeycloak(t).Admin(t.Context(), method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

func audienceMapper(clientID string) map[string]any {
	return map[string]any{
		"name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
		"config": map[string]string{"included.client.audience": clientID, "access.token.claim": "true"},
	}
}

// link makes a user of a realm that is, by its identity provider "a", a user of another.
func link(t *testing.T, realmName, username string, identity map[string]any) {
	t.Helper()
	admin(t, http.MethodPost, "/"+realmName+"/users", map[string]any{
		"username": username, "enabled": true, "email": username + "@example.com", "firstName": "S", "lastName": "A",
	}, nil)
	var users []struct {
		ID string `json:"id"`
	}
	admin(t, http.MethodGet, "/"+realmName+"/users?exact=true&username="+username, nil, &users)
	if len(users) != 1 {
		t.Fatalf("%d users", len(users))
	}
	admin(t, http.MethodPost, "/"+realmName+"/users/"+users[0].ID+"/federated-identity/a", identity, nil)
}
