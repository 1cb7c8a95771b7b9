package diagnose

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/keycloak"
)

// Codes of Keycloak that tell apart what one Reason covers.
const (
	codeNoRealm      = "Realm does not exist"
	codeAccessDenied = "access_denied"
	codeNoClient     = "invalid_client"
	codeBadRequest   = "invalid_request"
)

// patchIssuer changes the issuer.
func (w *walk) patchIssuer(patch any) command.Command {
	c := command.New("kubectl patch").Arg(strings.ToLower(w.issuer.kind)).Arg(w.issuer.name)
	if w.issuer.kind != KindClusterTokenIssuer {
		c = c.Flag("-n", w.issuer.namespace)
	}
	return c.Words("--type=merge").JSON("-p", patch)
}

// newURL is a patch of spec.url.
func newURL(url string) any { return map[string]any{"spec": map[string]any{"url": url}} }

func (w *walk) cureDiscovery(e *keycloak.Error) script {
	switch realm := w.realm(); {
	case realm != "" && e.Code == codeNoRealm:
		return slices.Concat(
			script{command.Comment("either the URL is wrong: these are the realms")},
			w.kcadm("", command.New("kcadm.sh get realms --fields realm,enabled"), w.patchIssuer(newURL(w.otherRealm()))),
			script{
				command.Comment("or the realm is missing"),
				command.New("kcadm.sh create realms").Set("realm", realm).Words("-s enabled=true"),
			})
	case realm != "" && e.Code == codeAccessDenied:
		return w.kcadm("", command.New("kcadm.sh update").Flag("realms/", realm).Words("-s enabled=true"))
	}
	return script{command.New("curl -gv").URL(strings.TrimSuffix(string(w.issuer.spec.URL), "/") + "/.well-known/openid-configuration")}
}

// cureGrantTypes: a Keycloak has a feature switched off, another issuer has to be replaced.
func (w *walk) cureGrantTypes() script {
	if w.realm() != "" {
		return script{
			command.Comment("Keycloak 26.2, 26.6 or newer, --help lists what a version has"),
			command.New("kc.sh start --features=token-exchange-standard,jwt-authorization-grant"),
		}
	}
	return script{
		command.Comment("Keycloak becomes the issuer, and Nextcloud trusts it"),
		command.New("occ app:enable user_oidc"),
		command.New("occ user_oidc:provider keycloak --clientid=nextcloud --clientsecret=SECRET --check-bearer=1 --unique-uid=0 --mapping-uid=preferred_username" +
			" --discoveryuri=https://KEYCLOAK/realms/REALM/.well-known/openid-configuration"),
		w.patchIssuer(newURL("https://KEYCLOAK/realms/REALM")),
	}
}

func (w *walk) otherRealm() string {
	base, _, _ := strings.Cut(string(w.issuer.spec.URL), "/realms/")
	return base + "/realms/REALM"
}

// allowRule is a rule of a ClusterTokenIssuer.
type allowRule struct {
	Namespaces        []string `json:"namespaces"`
	Audiences         []string `json:"audiences"`
	Scopes            []string `json:"scopes,omitempty"` // a rule without any would let in all
	RequestedSubjects []string `json:"requestedSubjects,omitempty"`
}

// cureAllow lets the grant's namespace use the issuer's service account.
func (w *walk) cureAllow() script {
	rule := allowRule{Namespaces: []string{w.grant.Namespace}, Audiences: w.audience(), Scopes: w.scopes()}
	if len(rule.Audiences) == 0 {
		rule.Audiences = []string{"*"}
	}
	if e := w.exchange(); e != nil {
		rule.Scopes = slices.Concat(rule.Scopes, words(e.Scopes))
	}
	if user := w.requestedSubject(); user != "" {
		rule.RequestedSubjects = []string{user}
	}
	if len(w.issuer.allow) == 0 {
		return script{w.patchIssuer(map[string]any{"spec": map[string]any{"allow": []allowRule{rule}}})}
	}
	return script{command.New("kubectl patch clustertokenissuer").Arg(w.issuer.name).Words("--type=json").
		JSON("-p", []any{addition{"add", "/spec/allow/-", rule}})}
}

// addition is an operation of a JSON patch (RFC 6902 §4.1).
type addition struct {
	Op    string    `json:"op"`
	Path  string    `json:"path"`
	Value allowRule `json:"value"`
}

// cureSecret copies the client secret from Keycloak into its Secret.
func (w *walk) cureSecret(create bool) script {
	c := w.credential
	// kubectl makes the JSON: the client secret may have quotes in it.
	write := newSecret(c.secret, c.namespace).Flag("--from-literal=", c.key).Join(`="$SECRET"`)
	if create {
		write = apply(write)
	} else {
		write = write.Words("--dry-run=client -o json").
			Pipe(command.New("kubectl patch secret").Arg(c.secret).Flag("-n", c.namespace).Words("--patch-file=/dev/stdin"))
	}
	read := w.inRealm(command.New(`kcadm.sh get "clients/$CLIENT/client-secret"`)).Words("--fields value --format csv --noquotes").Into("SECRET")
	return append(w.kcadm(w.account.ClientID, read), write)
}

func newSecret(name, namespace string) command.Command {
	return command.New("kubectl create secret generic").Arg(name).Flag("-n", namespace)
}

// apply makes a command of kubectl create one that also changes what is there.
func apply(create command.Command) command.Command {
	return create.Words("--dry-run=client -o yaml").Pipe(command.New("kubectl apply -f -"))
}

// cureMissingClient: Keycloak says the same of a client that is not there and of one that is disabled.
func (w *walk) cureMissingClient(id string, create command.Command) script {
	return slices.Concat(
		script{command.Comment("Keycloak answers the same for a client that is disabled and for one that is not there: look")},
		w.kcadm("", w.getClient(id).Words("--fields clientId,enabled")),
		script{command.Comment("disabled:")},
		w.kcadm(id, w.updateClient().Words("-s enabled=true")),
		script{command.Comment("not there: correct the name, or create it")},
		w.kcadm("", create))
}

// assignScopes makes client scopes available to the client.
func (w *walk) assignScopes(scopes []string) script {
	var commands script
	for _, s := range scopes {
		commands = append(commands,
			w.inRealm(command.New("kcadm.sh get client-scopes")).Words("--fields id,name --format csv --noquotes").
				Pipe(command.New("grep -E").Arg(","+regexp.QuoteMeta(s)+"$")).Pipe(command.New("cut -d, -f1")).Into("SCOPE"),
			w.inRealm(command.New(`kcadm.sh update "clients/$CLIENT/optional-client-scopes/$SCOPE"`)))
	}
	return commands
}

func (w *walk) cureExchange(e *keycloak.Error) script {
	id := w.account.ClientID
	switch e.Reason {
	case keycloak.ReasonExchangeNotEnabled:
		return w.kcadm(id, w.updateClient().Words(`-s 'attributes."standard.token.exchange.enabled"=true'`))
	case keycloak.ReasonAudienceNotAvailable:
		if e.Code != codeNoClient {
			return w.kcadm(id, w.mapAudiences(w.audience())...)
		}
		var all script
		for _, a := range w.audience() {
			all = append(all, w.cureMissingClient(a, w.createClient(a).Words("-s standardFlowEnabled=false"))...)
		}
		return all
	case keycloak.ReasonNotInSubjectAudience:
		return w.cureSubjectAudience()
	case keycloak.ReasonScopeInvalid:
		return w.kcadm(id, w.assignScopes(words(w.exchange().Scopes))...)
	case keycloak.ReasonSubjectTokenInvalid:
		return w.cureSubject()
	}
	return w.kcadm("", w.getClient(id))
}

// cureSubjectAudience names the exchanging client in the subject token: a mapper of the client that mints it.
func (w *walk) cureSubjectAudience() script {
	mapper := w.mapAudiences([]string{w.account.ClientID})
	if w.subject() == nil {
		return append(w.kcadm(w.account.ClientID, mapper...), w.cureSubject()...)
	}
	return slices.Concat(
		script{command.Comment("MINTER is the client that mints the subject token, as the step mint says")},
		w.kcadm("MINTER", mapper...), w.cureSubject())
}

// cureSubject shows who writes the subject token, where that is another party.
func (w *walk) cureSubject() script {
	s := w.subject()
	if s == nil || s.TokenSecretRef == nil {
		return nil
	}
	return script{
		command.Comment("another party has to bring a new token: this shows who writes it, and when that was last"),
		command.New("kubectl get secret").Arg(s.TokenSecretRef.Name).Flag("-n", w.grant.Namespace).
			Words(`--show-managed-fields -o jsonpath='{range .metadata.managedFields[*]}{.manager} {.time}{"\n"}{end}'`),
	}
}

// mapAudiences gives the client an audience mapper of its own for each: a client scope that others share may be there
// already, under any name.
func (w *walk) mapAudiences(audiences []string) script {
	var commands script
	for _, a := range audiences {
		commands = append(commands, w.inRealm(command.New(`kcadm.sh create "clients/$CLIENT/protocol-mappers/models"`)).
			Set("name", "audience "+a).Words("-s protocol=openid-connect -s protocolMapper=oidc-audience-mapper").
			Set(`'config."included.client.audience"'`, a).Words(`-s 'config."access.token.claim"=true'`))
	}
	return commands
}

func (w *walk) cureVerify(e *keycloak.Error) script {
	switch e.Reason {
	case keycloak.ReasonTokenWrongAudience:
		return append(script{command.Comment("the mappers of these scopes decide on aud")},
			w.kcadm(w.account.ClientID, w.inRealm(command.New(`kcadm.sh get "clients/$CLIENT/default-client-scopes"`)).Words("--fields id,name"))...)
	case keycloak.ReasonTokenExpired:
		return script{command.Comment("here, and on the host of the issuer"), command.New("date -u")}
	}
	return nil
}

// cureLife makes tokens live long enough for a Secret that is mounted.
func (w *walk) cureLife() script {
	return w.kcadm(w.account.ClientID, w.updateClient().Words(`-s 'attributes."access.token.lifespan"=600'`))
}

func (w *walk) cureOperator() script {
	return script{command.New("kubectl get pods").Flag("-n", w.OperatorNamespace)}
}

// cureTry follows a try of the operator that failed for a cause that no step before it has met.
func (w *walk) cureTry(reason v1alpha1.Reason, message string) script {
	switch reason {
	case v1alpha1.ReasonReloginRequired:
		return script{command.New("kubectl tokengrant login").Arg(w.grant.Name).Flag("-n", w.grant.Namespace).Words("--overwrite")}
	case v1alpha1.ReasonEncryptionKeyMissing:
		if strings.Contains(message, "--import-keys-file") {
			return script{command.Comment("add the key of the token store to the import keys of the operator, as docs/migrate.md says"), w.renew()}
		}
		return script{
			command.Comment("one key on each line, the one that is meant must be among them (docs/install.md says how to add it)"),
			command.New("kubectl get secret tokengrant-encryption").Flag("-n", w.OperatorNamespace).
				Words("-o jsonpath='{.data.keys}'").Pipe(command.New("base64 -d")),
			command.Comment("a changed Secret reaches the operator within 90 s"),
			w.renew(),
		}
	}
	return script{w.renew()}
}

func (w *walk) renew() command.Command {
	return command.New("kubectl tokengrant renew").Arg(w.grant.Name).Flag("-n", w.grant.Namespace)
}
