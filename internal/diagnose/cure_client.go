package diagnose

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/keycloak"
)

func (w *walk) cureClient(e *keycloak.Error) []string {
	id := w.account.ClientID
	switch e.Reason {
	case keycloak.ReasonClientRejected:
		switch {
		case w.credential.cure != nil:
			return w.credential.cure(e)
		case e.Code == codeNoClient:
			return w.cureMissingClient(id, "-s serviceAccountsEnabled=true -s standardFlowEnabled=false -s 'attributes.\"standard.token.exchange.enabled\"=true'")
		case w.credential.secret != "":
			return w.cureSecret(false)
		}
	case keycloak.ReasonServiceAccountDisabled:
		if e.Code == codeBadRequest {
			return w.kcadm(id,
				"USER_ID=$(kcadm.sh get clients/$CLIENT/service-account-user -r REALM --fields id --format csv --noquotes)",
				"kcadm.sh update users/$USER_ID -r REALM -s enabled=true")
		}
		return w.kcadm(id, "kcadm.sh update clients/$CLIENT -r REALM -s publicClient=false -s serviceAccountsEnabled=true")
	case keycloak.ReasonScopeInvalid:
		return w.kcadm(id, w.assignScopes(w.scopes())...)
	}
	return w.kcadm("", "kcadm.sh get clients -r REALM -q clientId="+shell(id))
}

// cureAuthenticator lets the client authenticate in another way than by a secret.
func (w *walk) cureAuthenticator(authenticator string, attributes map[string]string) []string {
	if w.realm() == "" {
		return nil
	}
	id := w.account.ClientID
	content, err := json.Marshal(map[string]any{"clientAuthenticatorType": authenticator, "attributes": attributes})
	if err != nil {
		return nil // Strings are always JSON.
	}
	return slices.Concat(
		[]string{"# look: is the client there, enabled, and what does it expect?"},
		w.kcadm("", "kcadm.sh get clients -r REALM -q clientId="+shell(id)+" --fields 'clientId,enabled,clientAuthenticatorType,attributes(*)'"),
		[]string{"# what it should expect"},
		w.kcadm(id, "echo "+shell(string(content))+" | kcadm.sh update clients/$CLIENT -r REALM -m -f -"))
}

// cureKey registers the public half of the client's key.
func (w *walk) cureKey(public string) []string {
	return w.cureAuthenticator("client-jwt", map[string]string{"use.jwks.string": "true", "jwks.string": public})
}

// createProvider makes Keycloak trust another issuer.
func (w *walk) createProvider(kind, alias string, config map[string]string) []string {
	words := []string{"kcadm.sh create identity-provider/instances -r REALM -s alias=" + shell(alias) + " -s providerId=" + kind + " -s enabled=true"}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		words = append(words, "-s "+shell("config."+name+"="+config[name]))
	}
	return w.kcadm("", strings.Join(words, " "))
}

// cureFederated lets Keycloak take tokens of the cluster for the client.
func (w *walk) cureFederated(token *keycloak.Claims) []string {
	if w.realm() == "" {
		return nil
	}
	const alias = "kubernetes"
	return slices.Concat(
		[]string{"# Keycloak 26.6 or newer has to know the cluster, reach " + shell(token.Issuer+"/.well-known/openid-configuration") + " and trust its certificate (--truststore-paths): look"},
		w.kcadm("", "kcadm.sh get identity-provider/instances -r REALM --fields 'alias,providerId,enabled,config(*)'"),
		w.createProvider("kubernetes", alias, map[string]string{"issuer": token.Issuer}),
		w.cureAuthenticator("federated-jwt", map[string]string{"jwt.credential.issuer": alias, "jwt.credential.sub": token.Subject}),
		[]string{"# everybody must be able to read the cluster's keys"},
		[]string{"kubectl create clusterrolebinding public-issuer-discovery --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated"})
}

// cureAssertion lets the client turn a token of the cluster into one of the issuer.
func (w *walk) cureAssertion(e *keycloak.Error, assertion *keycloak.Claims) []string {
	switch {
	case e.Reason != keycloak.ReasonSubjectTokenInvalid && e.Reason != keycloak.ReasonGrantTypeUnsupported:
		return w.cureClient(e)
	case w.realm() == "":
		return nil
	}
	const alias = "cluster"
	return slices.Concat(
		[]string{"# the identity provider whose issuer is the assertion's: look, and create it where there is none"},
		w.kcadm("", "kcadm.sh get identity-provider/instances -r REALM --fields 'alias,providerId,enabled,config(*)'"),
		w.createProvider("jwt-authorization-grant", alias, map[string]string{
			"issuer": assertion.Issuer, "useJwksUrl": "true", "jwksUrl": assertion.Issuer + "/openid/v1/jwks", "jwtAuthorizationGrantEnabled": "true",
		}),
		[]string{"# the client may use it"},
		w.kcadm(w.account.ClientID, `kcadm.sh update clients/$CLIENT -r REALM -s 'attributes."oauth2.jwt.authorization.grant.enabled"=true' -s 'attributes."oauth2.jwt.authorization.grant.idp"=`+alias+`'`),
		[]string{"# the user that the assertion is about is linked to one of this realm"},
		w.kcadm("",
			"USER_ID=$(kcadm.sh get users -r REALM -q exact=true -q username=USER --fields id --format csv --noquotes)",
			fmt.Sprintf("kcadm.sh create users/$USER_ID/federated-identity/%s -r REALM -s userId=%s -s userName=%s", alias, shell(assertion.Subject), shell(cmp.Or(assertion.Username, assertion.Subject)))))
}
