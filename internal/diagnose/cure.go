package diagnose

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
)

// Codes of Keycloak that tell apart what one Reason covers.
const (
	codeNoRealm      = "Realm does not exist"
	codeAccessDenied = "access_denied"
	codeNoClient     = "invalid_client"
	codeBadRequest   = "invalid_request"
)

// harmless are the words that a shell takes as they are.
var harmless = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=-]+$`)

// shell quotes a name for a POSIX shell: names come from objects that others wrote.
func shell(name string) string {
	if harmless.MatchString(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// realm is the name of a Keycloak realm, empty where the URL is no realm's.
func (w *walk) realm() string {
	u, err := url.Parse(string(w.issuer.spec.URL))
	if err != nil {
		return ""
	}
	_, realm, _ := strings.Cut(u.Path, "/realms/")
	return strings.Trim(realm, "/")
}

// kcadm gives commands for a Keycloak realm: REALM stands for it, CLIENT for the internal ID of a client, which is
// looked up first. It gives none for other issuers.
func (w *walk) kcadm(clientID string, commands ...string) []string {
	if w.realm() == "" {
		return nil
	}
	var all []string
	if clientID != "" {
		all = append(all, fmt.Sprintf("CLIENT=$(kcadm.sh get clients -r REALM -q clientId=%s --fields id --format csv --noquotes)", shell(clientID)))
	}
	all = append(all, commands...)
	for i, c := range all {
		all[i] = strings.ReplaceAll(c, "-r REALM", "-r "+shell(w.realm()))
	}
	return all
}

func (w *walk) cureDiscovery(e *keycloak.Error) []string {
	address := strings.TrimSuffix(string(w.issuer.spec.URL), "/") + "/.well-known/openid-configuration"
	realm := shell(w.realm())
	switch {
	case w.realm() != "" && e.Code == codeNoRealm:
		return []string{
			"# either the URL is wrong: these are the realms",
			"kcadm.sh get realms --fields realm,enabled",
			"kubectl patch " + strings.ToLower(w.issuer.kind) + " " + w.issuerName() + " --type=merge -p " + shell(`{"spec":{"url":"`+w.otherRealm()+`"}}`),
			"# or the realm is missing",
			"kcadm.sh create realms -s realm=" + realm + " -s enabled=true",
		}
	case w.realm() != "" && e.Code == codeAccessDenied:
		return []string{"kcadm.sh update realms/" + realm + " -s enabled=true"}
	}
	return []string{"curl -v " + shell(address)}
}

// cureGrantTypes: a Keycloak has a feature switched off, another issuer has to be replaced.
func (w *walk) cureGrantTypes() []string {
	if w.realm() != "" {
		return []string{"kc.sh start --features=token-exchange-standard,jwt-authorization-grant  # Keycloak 26.2, 26.6 or newer; --help lists what a version has"}
	}
	return []string{
		"# Keycloak becomes the issuer, and Nextcloud trusts it",
		"occ app:enable user_oidc",
		"occ user_oidc:provider keycloak --clientid=nextcloud --clientsecret=SECRET --check-bearer=1 --unique-uid=0 --mapping-uid=preferred_username" +
			" --discoveryuri=https://KEYCLOAK/realms/REALM/.well-known/openid-configuration",
		"kubectl patch " + strings.ToLower(w.issuer.kind) + " " + w.issuerName() + " --type=merge -p " + shell(`{"spec":{"url":"https://KEYCLOAK/realms/REALM"}}`),
	}
}

// issuerName is the issuer's name, and its namespace, for kubectl.
func (w *walk) issuerName() string {
	if w.issuer.kind == KindClusterTokenIssuer {
		return shell(w.issuer.name)
	}
	return shell(w.issuer.name) + " -n " + shell(w.issuer.namespace)
}

func (w *walk) otherRealm() string {
	base, _, _ := strings.Cut(string(w.issuer.spec.URL), "/realms/")
	return base + "/realms/REALM"
}

// cureAllow lets the grant's namespace use the issuer's service account.
func (w *walk) cureAllow() []string {
	audiences := w.audience()
	if len(audiences) == 0 {
		audiences = []string{"*"}
	}
	rule := `{"namespaces":["` + w.grant.Namespace + `"],"audiences":["` + strings.Join(audiences, `","`) + `"]`
	scopes := w.scopes()
	if e := w.exchange(); e != nil {
		scopes = slices.Concat(scopes, words(e.Scopes))
	}
	if len(scopes) > 0 { // A rule without any would let in all.
		rule += `,"scopes":["` + strings.Join(scopes, `","`) + `"]`
	}
	if user := w.requestedSubject(); user != "" {
		quoted, err := json.Marshal(user)
		if err != nil {
			return nil
		}
		rule += `,"requestedSubjects":[` + string(quoted) + `]`
	}
	rule += "}"
	if len(w.issuer.allow) == 0 {
		return []string{"kubectl patch clustertokenissuer " + w.issuerName() + " --type=merge -p " + shell(`{"spec":{"allow":[`+rule+`]}}`)}
	}
	return []string{"kubectl patch clustertokenissuer " + w.issuerName() + " --type=json -p " +
		shell(`[{"op":"add","path":"/spec/allow/-","value":`+rule+`}]`)}
}

// cureSecret copies the client secret from Keycloak into its Secret.
func (w *walk) cureSecret(create bool) []string {
	c := w.credential
	write := fmt.Sprintf(`kubectl patch secret %s -n %s -p %s"$SECRET"%s`,
		shell(c.secret), shell(c.namespace), shell(`{"stringData":{"`+c.key+`":"`), shell(`"}}`))
	if create {
		write = fmt.Sprintf(`kubectl create secret generic %s -n %s --from-literal=%s="$SECRET" --dry-run=client -o yaml | kubectl apply -f -`,
			shell(c.secret), shell(c.namespace), shell(c.key))
	}
	read := w.kcadm(w.account.ClientID, "SECRET=$(kcadm.sh get clients/$CLIENT/client-secret -r REALM --fields value --format csv --noquotes)")
	return append(read, write)
}

// cureMissingClient: Keycloak says the same of a client that is not there and of one that is disabled.
func (w *walk) cureMissingClient(id, settings string) []string {
	return slices.Concat(
		[]string{"# Keycloak answers the same for a client that is disabled and for one that is not there: look"},
		w.kcadm("", "kcadm.sh get clients -r REALM -q clientId="+shell(id)+" --fields clientId,enabled"),
		[]string{"# disabled:"},
		w.kcadm(id, "kcadm.sh update clients/$CLIENT -r REALM -s enabled=true"),
		[]string{"# not there: correct the name, or create it"},
		w.kcadm("", "kcadm.sh create clients -r REALM -s clientId="+shell(id)+" "+settings))
}

// assignScopes makes client scopes available to the client.
func (w *walk) assignScopes(scopes []string) []string {
	var commands []string
	for _, s := range scopes {
		commands = append(commands,
			fmt.Sprintf("SCOPE=$(kcadm.sh get client-scopes -r REALM --fields id,name --format csv --noquotes | grep ,%s$ | cut -d, -f1)", shell(s)),
			"kcadm.sh update clients/$CLIENT/optional-client-scopes/$SCOPE -r REALM")
	}
	return commands
}

func (w *walk) cureExchange(e *keycloak.Error) []string {
	id := w.account.ClientID
	switch e.Reason {
	case keycloak.ReasonExchangeNotEnabled:
		return w.kcadm(id, `kcadm.sh update clients/$CLIENT -r REALM -s 'attributes."standard.token.exchange.enabled"=true'`)
	case keycloak.ReasonAudienceNotAvailable:
		if e.Code != codeNoClient {
			return w.kcadm(id, w.mapAudiences(w.audience())...)
		}
		var all []string
		for _, a := range w.audience() {
			all = append(all, w.cureMissingClient(a, "-s standardFlowEnabled=false")...)
		}
		return all
	case keycloak.ReasonNotInSubjectAudience:
		return w.cureSubjectAudience()
	case keycloak.ReasonScopeInvalid:
		return w.kcadm(id, w.assignScopes(words(w.exchange().Scopes))...)
	case keycloak.ReasonSubjectTokenInvalid:
		return w.cureSubject()
	}
	return w.kcadm("", "kcadm.sh get clients -r REALM -q clientId="+shell(id))
}

// cureSubjectAudience names the exchanging client in the subject token: a mapper of the client that mints it.
func (w *walk) cureSubjectAudience() []string {
	minter := w.account.ClientID
	if w.subject() != nil && w.ownClaims != nil {
		minter = w.ownClaims.ClientID
	}
	return append(w.kcadm(minter, w.mapAudiences([]string{w.account.ClientID})...), w.cureSubject()...)
}

// cureSubject shows who writes the subject token, where that is another party.
func (w *walk) cureSubject() []string {
	s := w.subject()
	if s == nil || s.TokenSecretRef == nil {
		return nil
	}
	return []string{
		"# another party has to bring a new token: this shows who writes it, and when that was last",
		"kubectl get secret " + shell(s.TokenSecretRef.Name) + " -n " + shell(w.grant.Namespace) +
			` --show-managed-fields -o jsonpath='{range .metadata.managedFields[*]}{.manager} {.time}{"\n"}{end}'`,
	}
}

// mapAudiences gives the client an audience mapper of its own for each: a client scope that others share may be there
// already, under any name.
func (w *walk) mapAudiences(audiences []string) []string {
	var commands []string
	for _, a := range audiences {
		commands = append(commands, "kcadm.sh create clients/$CLIENT/protocol-mappers/models -r REALM -s name="+shell("audience "+a)+
			" -s protocol=openid-connect -s protocolMapper=oidc-audience-mapper"+
			" -s "+shell(`config."included.client.audience"=`+a)+` -s 'config."access.token.claim"=true'`)
	}
	return commands
}

func (w *walk) cureVerify(e *keycloak.Error) []string {
	switch e.Reason {
	case keycloak.ReasonTokenWrongAudience:
		return append([]string{"# the mappers of these scopes decide on aud"},
			w.kcadm(w.account.ClientID, "kcadm.sh get clients/$CLIENT/default-client-scopes -r REALM --fields id,name")...)
	case keycloak.ReasonTokenExpired:
		return []string{"date -u  # here, and on the issuer's host"}
	}
	return nil
}

// cureLife makes tokens live long enough for a Secret that is mounted.
func (w *walk) cureLife() []string {
	return w.kcadm(w.account.ClientID, `kcadm.sh update clients/$CLIENT -r REALM -s 'attributes."access.token.lifespan"=600'`)
}

func (w *walk) cureOperator() []string {
	return []string{"kubectl get pods -n " + shell(w.OperatorNamespace)}
}

// cureTry follows a try of the operator that failed for a cause that no step before it has met.
func (w *walk) cureTry(reason v1alpha1.Reason) []string {
	grant := shell(w.grant.Name) + " -n " + shell(w.grant.Namespace)
	again := "kubectl tokengrant renew " + grant
	switch reason {
	case v1alpha1.ReasonReloginRequired:
		return []string{"kubectl tokengrant login " + grant + " --overwrite"}
	case v1alpha1.ReasonEncryptionKeyMissing:
		return []string{
			"# one key on each line; the one that is meant must be among them (docs/install.md says how to add it)",
			"kubectl get secret tokengrant-encryption -n " + shell(w.OperatorNamespace) + " -o jsonpath='{.data.keys}' | base64 -d",
			"# a changed Secret reaches the operator within 90 s",
			again,
		}
	}
	return []string{again}
}
