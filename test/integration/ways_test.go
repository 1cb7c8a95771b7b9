package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// requester makes a client at Keycloak that may exchange for nextcloud, with some other way to authenticate.
func requester(t *testing.T, clientID, authenticator string, attributes map[string]string) {
	t.Helper()
	attributes["standard.token.exchange.enabled"] = "true"
	client := map[string]any{
		"clientId": clientID, "clientAuthenticatorType": authenticator, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
		"attributes": attributes, "defaultClientScopes": []string{"basic", "profile", "roles", "nextcloud-audience"},
	}
	if err := realKeycloak(t).Admin(t.Context(), http.MethodPost, "/"+realm.Name+"/clients", client, nil); err != nil {
		t.Fatal(err)
	}
}

// signingKey makes a private key as PEM, and its public half as a JWK.
func signingKey(t *testing.T, algorithm, kid string) (string, jose.JSONWebKey) {
	t.Helper()
	var key crypto.Signer
	var err error
	if algorithm == "ES256" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: algorithm, Use: "sig"}
}

// TestKeycloakPrivateKeyJWT authenticates with a key, and with another one as soon as the Secret has it.
func TestKeycloakPrivateKeyJWT(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			w, _ := realWorld(t)
			first, public := signingKey(t, algorithm, "first")
			second, publicToo := signingKey(t, algorithm, "second")
			set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public, publicToo}})
			if err != nil {
				t.Fatal(err)
			}
			clientID := "key-" + strings.ToLower(algorithm) + "-" + w.namespace
			requester(t, clientID, "client-jwt", map[string]string{
				"use.jwks.string": "true", "jwks.string": string(set), "token.endpoint.auth.signing.alg": algorithm,
			})
			credential := w.secret("key", map[string]string{"tls.key": first})
			g := w.grantFor("g", "kc", clientID, func(g *v1alpha1.TokenGrant) {
				g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: clientID, PrivateKeyJWT: &v1alpha1.PrivateKeyJWT{
					SecretRef: v1alpha1.SecretKeyRef{Name: "key"}, Algorithm: algorithm, KeyID: "first",
				}}
			})
			w.create(g)
			w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			before := claimsIn(t, w.published(g))["jti"]
			w.healthy(g)

			change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.PrivateKeyJWT.KeyID = "second" })
			change(w, credential, func(s *corev1.Secret) { s.Data["tls.key"] = []byte(second) })
			w.awaitSecret(g, "is minted with the second key", func(s *corev1.Secret) bool { return claimsIn(t, s)["jti"] != before })
			w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)

			change(w, credential, func(s *corev1.Secret) { s.Data["tls.key"] = []byte("no key") })
			w.eventually("the fault in lastAttempt", func() (bool, string) {
				m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
				return strings.Contains(m, "must hold a private key"), m
			})
		})
	}
}

// TestKeycloakKubernetesToken needs no secret at all: the API server signs, Keycloak reads its keys.
func TestKeycloakKubernetesToken(t *testing.T) {
	w, issuer := realWorld(t)
	trustCluster(t)
	clientID := "sync-" + w.namespace
	requester(t, clientID, "federated-jwt", map[string]string{
		"jwt.credential.issuer": stack.ClusterAlias, "jwt.credential.sub": "system:serviceaccount:" + w.namespace + ":sync",
	})
	_, cloud := nextcloudFor(t, issuer)
	g := w.grantFor("g", "kc", clientID, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: clientID, KubernetesToken: &v1alpha1.KubernetesToken{ServiceAccountName: "sync"}}
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(cloud)}}
	})
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing), `ServiceAccount "sync" not found`)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sync"}}
	w.create(account)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed), "tokengrant.dev/allow-token-request")
	change(w, account, func(a *corev1.ServiceAccount) {
		a.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"}
	})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
	if claims := claimsIn(t, w.published(g)); claims["aud"] != "nextcloud" || claims["azp"] != clientID {
		t.Errorf("aud = %v, azp = %v", claims["aud"], claims["azp"])
	}
	w.healthy(g)
	var secrets corev1.SecretList
	if err := w.List(t.Context(), &secrets, inNamespace(w)); err != nil {
		t.Fatal(err)
	}
	if len(secrets.Items) != 1 || secrets.Items[0].Name != "g" {
		t.Errorf("%d Secrets, want the published token alone", len(secrets.Items))
	}
}

// TestKeycloakSubjectTokenOfAUser exchanges the token that a user's application keeps in a Secret.
func TestKeycloakSubjectTokenOfAUser(t *testing.T) {
	w, issuer := realWorld(t)
	clientID := "agent-" + w.namespace
	requester(t, clientID, "client-secret", map[string]string{})
	setSecret(t, clientID, "agent-secret")
	w.secret("credential", map[string]string{"client-secret": "agent-secret"})
	// The realm's application is the client itself here: azp lets it exchange what was issued to it.
	allowPasswordGrant(t, clientID)
	held := w.secret("alice", map[string]string{"access_token": userToken(t, issuer, clientID, "agent-secret")})
	g := w.grantFor("g", "kc", clientID, func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = "credential"
		g.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
	})
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	w.healthy(g)
	first := claimsIn(t, w.published(g))
	if first["preferred_username"] != "alice" || first["aud"] != "nextcloud" {
		t.Errorf("username = %v, aud = %v", first["preferred_username"], first["aud"])
	}
	change(w, held, func(s *corev1.Secret) {
		s.Data["access_token"] = []byte(userToken(t, issuer, clientID, "agent-secret"))
	})
	w.awaitSecret(g, "is of the new subject token", func(s *corev1.Secret) bool { return claimsIn(t, s)["jti"] != first["jti"] })

	change(w, held, func(s *corev1.Secret) { s.Data["access_token"] = []byte("not-a-token") })
	w.eventually("the refusal", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		return strings.Contains(m, v1alpha1.ReasonSubjectTokenInvalid), m
	})
	// A token that was issued to another client, and is not meant for this one.
	change(w, held, func(s *corev1.Secret) {
		s.Data["access_token"] = []byte(userToken(t, issuer, "nextcloud", "nextcloud-secret"))
	})
	w.eventually("the other refusal", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		return strings.Contains(m, v1alpha1.ReasonNotInSubjectAudience), m
	})
	w.broken(g, "exchange", v1alpha1.ReasonNotInSubjectAudience, "clientId=MINTER ")
}

// userToken logs alice in, as an application would.
func userToken(t *testing.T, issuer, clientID, secret string) string {
	t.Helper()
	answer, err := http.PostForm(issuer+"/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {clientID}, "client_secret": {secret}, "username": {"alice"}, "password": {"alice-password"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatalf("logging alice in: %s %s %v", answer.Status, token.Description, err)
	}
	return token.AccessToken
}
