package diagnose

import (
	"cmp"
	"slices"

	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/keycloak"
)

func (w *walk) cureClient(e *keycloak.Error) script {
	id := w.account.ClientID
	switch e.Reason {
	case keycloak.ReasonClientRejected:
		switch {
		case w.credential.cure != nil:
			return w.credential.cure(e)
		case e.Code == codeNoClient:
			return w.cureMissingClient(id, w.createClient(id).
				Words(`-s serviceAccountsEnabled=true -s standardFlowEnabled=false -s 'attributes."standard.token.exchange.enabled"=true'`))
		case w.credential.secret != "":
			return w.cureSecret(false)
		}
	case keycloak.ReasonServiceAccountDisabled:
		if e.Code == codeBadRequest {
			return w.kcadm(id,
				w.inRealm(command.New(`kcadm.sh get "clients/$CLIENT/service-account-user"`)).Words("--fields id --format csv --noquotes").Into("USER_ID"),
				w.inRealm(command.New(`kcadm.sh update "users/$USER_ID"`)).Words("-s enabled=true"))
		}
		return w.kcadm(id, w.updateClient().Words("-s publicClient=false -s serviceAccountsEnabled=true"))
	case keycloak.ReasonScopeInvalid:
		return w.kcadm(id, w.assignScopes(w.scopes())...)
	}
	return w.kcadm("", w.getClient(id))
}

// cureAuthenticator lets the client authenticate in another way than by a secret.
func (w *walk) cureAuthenticator(authenticator string, attributes map[string]string) script {
	if w.realm() == "" {
		return nil
	}
	id := w.account.ClientID
	settings := map[string]any{"clientAuthenticatorType": authenticator, "attributes": attributes}
	return slices.Concat(
		script{command.Comment("look: is the client there, enabled, and what does it expect")},
		w.kcadm("", w.getClient(id).Words("--fields 'clientId,enabled,clientAuthenticatorType,attributes(*)'")),
		script{command.Comment("what it should expect")},
		// printf, because the echo of some shells reads backslashes.
		w.kcadm(id, command.New("printf").JSON("%s", settings).Pipe(w.updateClient().Words("-m -f -"))))
}

// cureKey registers the public half of the client's key.
func (w *walk) cureKey(public string) script {
	return w.cureAuthenticator("client-jwt", map[string]string{"use.jwks.string": "true", "jwks.string": public})
}

// createProvider makes Keycloak trust another issuer.
func (w *walk) createProvider(kind, alias string) command.Command {
	return w.inRealm(command.New("kcadm.sh create identity-provider/instances")).Set("alias", alias).Set("providerId", kind).Words("-s enabled=true")
}

// getProviders shows which issuers Keycloak trusts.
func (w *walk) getProviders() command.Command {
	return w.inRealm(command.New("kcadm.sh get identity-provider/instances")).Words("--fields 'alias,providerId,enabled,config(*)'")
}

// cureFederated lets Keycloak take tokens of the cluster for the client.
func (w *walk) cureFederated(token *keycloak.Claims) script {
	if w.realm() == "" {
		return nil
	}
	const alias = "kubernetes"
	return slices.Concat(
		script{command.Comment("Keycloak 26.6 or newer has to know the cluster, reach its issuer and trust its certificate (--truststore-paths): look")},
		w.kcadm("", w.getProviders(), w.createProvider("kubernetes", alias).Set("config.issuer", token.Issuer)),
		w.cureAuthenticator("federated-jwt", map[string]string{"jwt.credential.issuer": alias, "jwt.credential.sub": token.Subject}),
		script{
			command.Comment("everybody must be able to read the keys of the cluster"),
			command.New("kubectl create clusterrolebinding public-issuer-discovery --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated"),
		})
}

// cureAssertion lets the client turn a token of the cluster into one of the issuer.
func (w *walk) cureAssertion(e *keycloak.Error, assertion *keycloak.Claims) script {
	switch {
	case e.Reason != keycloak.ReasonSubjectTokenInvalid && e.Reason != keycloak.ReasonGrantTypeUnsupported:
		return w.cureClient(e)
	case w.realm() == "":
		return nil
	}
	const alias = "cluster"
	return slices.Concat(
		script{command.Comment("the identity provider that has the issuer of the assertion: look, and create it where there is none")},
		w.kcadm("", w.getProviders(), w.createProvider("jwt-authorization-grant", alias).Set("config.issuer", assertion.Issuer).
			Set("config.jwksUrl", assertion.Issuer+"/openid/v1/jwks").Words("-s config.jwtAuthorizationGrantEnabled=true -s config.useJwksUrl=true")),
		script{command.Comment("the client may use it")},
		w.kcadm(w.account.ClientID, w.updateClient().Words(`-s 'attributes."oauth2.jwt.authorization.grant.enabled"=true'`).
			Set(`'attributes."oauth2.jwt.authorization.grant.idp"'`, alias)),
		script{command.Comment("the user that the assertion is about is linked to one of this realm")},
		w.kcadm("",
			w.inRealm(command.New("kcadm.sh get users")).Words("-q exact=true -q username=USER --fields id --format csv --noquotes").Into("USER_ID"),
			w.inRealm(command.New(`kcadm.sh create "users/$USER_ID/federated-identity/cluster"`)).
				Set("userId", assertion.Subject).Set("userName", cmp.Or(assertion.Username, assertion.Subject))))
}
