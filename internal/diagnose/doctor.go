package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/cluster"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// Kinds of objects that a walk starts from.
const (
	KindTokenGrant         = "TokenGrant"
	KindTokenIssuer        = "TokenIssuer"
	KindClusterTokenIssuer = "ClusterTokenIssuer"
)

// Doctor examines grants and issuers.
type Doctor struct {
	// Client reads the cluster, and asks for tokens of ServiceAccounts, with the rights of whoever runs it.
	Client client.Client
	// OperatorNamespace has the Secrets and ConfigMaps of ClusterTokenIssuers.
	OperatorNamespace string
	// AllowHTTP is what the operator has as --allow-http-issuers.
	AllowHTTP bool
	UserAgent string
	// APIAudiences are those for which no ServiceAccount token is requested.
	APIAudiences cluster.APIAudiences
	Now          func() time.Time
}

// Grant walks the whole line of a grant. An error means that the grant itself could not be read.
func (d Doctor) Grant(ctx context.Context, namespace, name string) (*Report, error) {
	var grant v1alpha1.TokenGrant
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &grant); err != nil {
		return nil, err
	}
	grant.Default()
	w := &walk{
		Doctor: d, grant: &grant, ref: grant.Spec.IssuerRef, namespace: namespace,
		report: &Report{Kind: KindTokenGrant, Namespace: namespace, Name: name},
	}
	return w.run(ctx), nil
}

// Issuer walks the line of an issuer as far as its own service account gets. namespace is that of a TokenIssuer.
func (d Doctor) Issuer(ctx context.Context, kind, namespace, name string) (*Report, error) {
	w := &walk{
		Doctor: d, ref: v1alpha1.IssuerRef{Kind: kind, Name: name}, namespace: namespace,
		report: &Report{Kind: kind, Namespace: namespace, Name: name},
	}
	if err := w.readIssuer(ctx); err != nil {
		return nil, err
	}
	return w.run(ctx), nil
}

// walk is what one walk has come to know.
type walk struct {
	Doctor
	grant     *v1alpha1.TokenGrant // nil when an issuer is examined
	ref       v1alpha1.IssuerRef
	namespace string
	report    *Report

	issuer     issuer
	http       *http.Client
	provider   *keycloak.Provider
	verifier   *keycloak.Verifier
	account    *v1alpha1.ServiceAccount
	credential credential
	// own is the token of the client's own service account, exchanged the one that would be published. ownErr and
	// exchangeErr are held over where one request answers for two steps.
	own, exchanged         *keycloak.Token
	ownErr, exchangeErr    error
	ownClaims, finalClaims *keycloak.Claims
	// opened is the refresh token of a session that the walk has to end.
	opened sensitive.String
	// user is who Nextcloud says the token is.
	user string
	// password is the app password that is published, accountName whose Nextcloud says it is, loginName who logs in for it.
	password               sensitive.String
	accountName, loginName string
	// asked is the time before the token that would be published was asked for.
	asked time.Time
}

const stepMintName = "mint"

type namedStep struct {
	name string
	do   func(*walk, context.Context) Step
}

const stepOperatorName = "operator"

// line is the order of the steps.
var line = []namedStep{
	{"issuer", (*walk).stepIssuer},
	{"discovery", (*walk).stepDiscovery},
	{"credential", (*walk).stepCredential},
	{"authenticate", (*walk).stepAuthenticate},
	{stepMintName, (*walk).stepMint},
	{"exchange", (*walk).stepExchange},
	{"audience", (*walk).stepAudience},
	{"verify", (*walk).stepVerify},
	{"nextcloud", (*walk).stepNextcloud},
	{"paths", (*walk).stepPaths},
	{"no audience", (*walk).stepNoAudience},
	{stepOperatorName, (*walk).stepOperator},
}

func (w *walk) run(ctx context.Context) *Report {
	stopped, steps := false, line
	if w.asksNextcloud() {
		steps = appPasswordLine
	}
	for _, l := range steps {
		var s Step
		switch {
		case stopped && (l.name != stepOperatorName || w.broken()):
			s = skip("not reached")
		default:
			s = l.do(w, ctx)
		}
		s.Name = l.name
		stopped = stopped || s.Result == Broken || s.Result == Unknown
		w.report.Steps = append(w.report.Steps, s)
	}
	w.endSession(ctx)
	w.report.close()
	return w.report
}

func (w *walk) broken() bool {
	_, is := w.report.First(Broken)
	return is
}

// exchange is what the grant wants its token exchanged for; nil when it does not.
func (w *walk) exchange() *v1alpha1.Exchange {
	if w.grant == nil {
		return nil
	}
	return w.grant.Spec.Exchange
}

func (w *walk) scopes() []string {
	if w.grant == nil {
		return nil
	}
	return words(w.grant.Spec.Scopes)
}

// audience is where the token that would be published is for.
func (w *walk) audience() []string {
	if e := w.exchange(); e != nil {
		return words(e.Audiences)
	}
	return nil
}

// final is the token that would be published.
func (w *walk) final() sensitive.String {
	if w.asksNextcloud() {
		return w.password
	}
	if w.exchanged != nil {
		return w.exchanged.AccessToken
	}
	return w.own.AccessToken
}

func (w *walk) oauth() keycloak.Client {
	return keycloak.Client{Provider: w.provider, ID: w.account.ClientID, Auth: w.credential.auth, HTTP: cmp.Or(w.credential.http, w.http)}
}

func words[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// ago is how long ago something was, for a reader.
func (w *walk) ago(t time.Time) string {
	return fmt.Sprintf("%s ago", w.Now().Sub(t).Round(time.Second))
}
