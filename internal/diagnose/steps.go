package diagnose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/granttype"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/keycloak"
)

// stepIssuer finds the issuer. Whether a ClusterTokenIssuer lets the grant use it is the operator's word: it judges by
// namespaces' labels that others may not be able to read.
func (w *walk) stepIssuer(ctx context.Context) Step {
	if err := w.readIssuer(ctx); err != nil {
		namespace := w.namespace
		if w.issuer.kind == KindClusterTokenIssuer {
			namespace = ""
		}
		return unreadable(err, v1alpha1.ReasonIssuerNotFound, w.issuer.kind, namespace, w.issuer.name, script{
			command.New("kubectl get tokenissuers,clustertokenissuers").Flag("-n", w.namespace),
		})
	}
	if w.grant != nil {
		if last := w.lastFailure(); last != nil && last.Reason == v1alpha1.ReasonNotAllowed {
			return broken(last.Reason, w.cureAllow(), "%s: %s", last.Reason, last.Message)
		}
	}
	w.account = w.issuer.spec.ServiceAccount
	if w.grant != nil && w.grant.Spec.ServiceAccount != nil {
		w.account = w.grant.Spec.ServiceAccount
	}
	return ok("%s: %s", w.issuer, w.issuer.spec.URL)
}

func (w *walk) stepDiscovery(ctx context.Context) Step {
	o, missing := w.connect(ctx, w.issuer.spec.CARef, w.issuer.namespace)
	if missing != nil {
		return *missing
	}
	var err error
	if w.http, err = httpclient.New(o); err != nil {
		return broken(v1alpha1.ReasonInvalidSpec, nil, "spec.caRef of %s cannot be used: %v", w.issuer, err)
	}
	if w.provider, err = keycloak.Discover(ctx, w.http, string(w.issuer.spec.URL), w.endpointHosts()...); err != nil {
		s := failure(err, w.cureDiscovery)
		if s.Reason == v1alpha1.ReasonIssuerUnreachable && w.issuerReady() {
			// Not the grant's fault, as far as anybody knows.
			s.Result = Unknown
			s.Message += fmt.Sprintf(". The operator read the discovery document %s: this machine may be outside of its network",
				w.ago(w.issuer.status.LastDiscovery.Time))
		}
		return s
	}
	w.verifier = keycloak.NewVerifier(w.provider, w.http)
	if s := w.grantTypes(); s != nil {
		return *s
	}
	exchange := "token exchange is offered"
	if !w.provider.Supports(keycloak.GrantTypeTokenExchange) {
		exchange = "token exchange is not offered"
	}
	return ok("the issuer answers; %s", exchange)
}

func (w *walk) endpointHosts() []string {
	var hosts []string
	for _, host := range w.issuer.spec.EndpointHosts {
		hosts = append(hosts, string(host))
	}
	return hosts
}

// grantTypes holds what the issuer offers against what is needed; nil where it is enough.
func (w *walk) grantTypes() *Step {
	says := granttype.Unusable(w.provider.GrantTypes)
	if w.grant != nil {
		says = granttype.Missing(w.provider.GrantTypes, w.grant.Spec)
	}
	if says == "" {
		return nil
	}
	s := broken(v1alpha1.ReasonGrantTypeUnsupported, w.cureGrantTypes(), "%s: %s", v1alpha1.ReasonGrantTypeUnsupported, says)
	return &s
}

func (w *walk) issuerReady() bool {
	return w.issuer.status.LastDiscovery != nil && meta.IsStatusConditionTrue(w.issuer.status.Conditions, v1alpha1.ConditionReady)
}

func (w *walk) stepCredential(ctx context.Context) Step {
	switch {
	case w.account == nil && w.grant == nil:
		return skip("%s has no serviceAccount of its own: every grant brings one", w.issuer)
	case w.account == nil:
		return broken(v1alpha1.ReasonInvalidSpec, nil, "%s has no serviceAccount of its own: set spec.serviceAccount of the grant", w.issuer)
	}
	return w.readCredential(ctx)
}

// afterAuthentication are the refusals that the issuer utters only to a client that it has recognised.
var afterAuthentication = []string{
	keycloak.ReasonServiceAccountDisabled, keycloak.ReasonGrantTypeUnsupported, keycloak.ReasonScopeInvalid, keycloak.ReasonTokenMalformed,
}

// stepAuthenticate asks for a token of the client's own: one request shows the authentication and the mint.
func (w *walk) stepAuthenticate(ctx context.Context) Step {
	if w.account == nil {
		return skip("there is no client to try")
	}
	w.asked = w.Now()
	token, err := w.oauth().ClientCredentials(ctx, w.scopes())
	w.own, w.ownErr = &token, err
	if known, is := errors.AsType[*keycloak.Error](err); err != nil && (!is || !slices.Contains(afterAuthentication, known.Reason)) {
		return failure(err, w.cureClient)
	}
	return ok("client %q by %s", w.account.ClientID, w.credential.how)
}

func (w *walk) stepMint(ctx context.Context) Step {
	switch {
	case w.account == nil:
		return skip("there is no client to try")
	case w.subject() != nil:
		return w.mintSubject(ctx)
	case w.ownErr != nil:
		return failure(w.ownErr, w.cureClient)
	case w.requestedSubject() != "":
		return w.impersonate(ctx)
	}
	return w.readOwn(ctx)
}

// readOwn tells what the token says that is to be exchanged, or published.
func (w *walk) readOwn(ctx context.Context) Step {
	// Only what is published has to be verified; of this token one wants to know what it says.
	claims, err := w.verifier.Verify(ctx, w.own.AccessToken, keycloak.Expect{Now: w.asked.Add(-plan.MaxSkew)})
	if err != nil {
		return ok("client %q gets a token of its own, which cannot be read", w.account.ClientID)
	}
	w.ownClaims = claims
	return ok("a token of user %q, aud [%s]", claims.Username, strings.Join(claims.Audience, " "))
}

func (w *walk) stepExchange(ctx context.Context) Step {
	e := w.exchange()
	if e == nil || w.own == nil {
		return skip("there is nothing to exchange")
	}
	w.asked = w.Now()
	token, err := w.oauth().Exchange(ctx, w.own.AccessToken, keycloak.ExchangeRequest{Audience: w.audience(), Scopes: words(e.Scopes)})
	w.exchanged, w.exchangeErr = &token, err
	if known, is := errors.AsType[*keycloak.Error](err); err != nil && (!is || known.Reason != keycloak.ReasonAudienceNotAvailable) {
		return failure(err, w.cureExchange)
	}
	return ok("client %q may exchange tokens", w.account.ClientID)
}

func (w *walk) stepAudience(context.Context) Step {
	switch {
	case w.own == nil:
		return skip("there is no token")
	case w.exchange() == nil && w.ownClaims != nil:
		return skip("without spec.exchange the token has every audience of the client: [%s]", strings.Join(w.ownClaims.Audience, " "))
	case w.exchange() == nil:
		return skip("without spec.exchange the token has every audience of the client")
	case w.exchangeErr != nil:
		return failure(w.exchangeErr, w.cureExchange)
	}
	return ok("client %q can get tokens for [%s]", w.account.ClientID, strings.Join(w.audience(), " "))
}

func (w *walk) stepVerify(ctx context.Context) Step {
	if w.own == nil {
		return skip("there is no token")
	}
	expect := keycloak.Expect{
		ClientID: w.account.ClientID, Audience: w.audience(), Exact: w.exchange() != nil, Now: w.asked.Add(-plan.MaxSkew),
	}
	claims, err := w.verifier.Verify(ctx, w.final(), expect)
	if err != nil {
		return failure(err, w.cureVerify)
	}
	w.finalClaims = claims
	said := w.own.ExpiresIn
	if w.exchanged != nil {
		said = w.exchanged.ExpiresIn
	}
	life := plan.Life(w.asked, said, claims.IssuedAt, claims.Expiry).Round(time.Second)
	skew := plan.IssuerNow(w.asked, claims.IssuedAt).Sub(w.asked).Round(time.Second)
	var refresh v1alpha1.Refresh
	propagation := plan.PropagationOf(w.grant != nil && w.grant.SecretDelivery().NudgePods)
	if w.grant != nil {
		refresh = w.grant.Spec.Refresh
	}
	switch {
	case life < time.Second:
		return broken(v1alpha1.ReasonTokenNotVerified, w.cureLife(), "TokenNotVerified: a token that was just minted has no life left: compare the clocks of the issuer and of this machine")
	case w.grant != nil && !plan.SufficientLife(life, refresh, propagation):
		s := warn("signature, iss, azp and aud [%s] are right, but tokens live %s, and the kubelet takes up to %s to bring a changed Secret to a volume",
			strings.Join(claims.Audience, " "), life, propagation)
		return s.with(w.cureLife())
	case skew.Abs() > 30*time.Second:
		return warn("signature, iss, azp and aud [%s] are right; the clocks of the issuer and of this machine differ by %s", strings.Join(claims.Audience, " "), skew.Abs())
	}
	return ok("signature, iss, azp and aud [%s] are right; it lives %s", strings.Join(claims.Audience, " "), life)
}

// lastFailure is the operator's last try, where it failed and is about the spec as it is now.
func (w *walk) lastFailure() *v1alpha1.Attempt {
	s := w.grant.Status
	if s.ConsecutiveFailures == 0 || s.ObservedGeneration != w.grant.Generation {
		return nil
	}
	return s.LastAttempt
}

// stepOperator holds what was found against what the operator says.
func (w *walk) stepOperator(context.Context) Step {
	if w.grant == nil {
		return w.issuerAsTheOperatorSeesIt()
	}
	s := w.grant.Status
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	last := w.lastFailure()
	switch {
	case ready == nil || s.ObservedGeneration != w.grant.Generation:
		return broken(v1alpha1.ReasonPending, w.cureOperator(), "the operator has not looked at this spec yet: does it run, and does it watch namespace %q?", w.grant.Namespace)
	case w.grant.Spec.Suspend:
		return warn("spec.suspend is true: nothing is refreshed")
	case last != nil:
		return broken(last.Reason, w.cureTry(last.Reason, last.Message),
			"the operator's last try, %s, failed: %s: %s", w.ago(last.Time.Time), last.Reason, last.Message)
	case ready.Status != "True":
		return broken(ready.Reason, w.cureTry(ready.Reason, ready.Message),
			"the operator says: %s: %s", ready.Reason, ready.Message)
	}
	return ok("Ready: %s", ready.Message)
}

func (w *walk) issuerAsTheOperatorSeesIt() Step {
	ready := meta.FindStatusCondition(w.issuer.status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return broken(v1alpha1.ReasonPending, w.cureOperator(), "the operator has not looked at this issuer yet: does it run?")
	case ready.Status != "True":
		return broken(ready.Reason, nil, "the operator says: %s: %s", ready.Reason, ready.Message)
	}
	return ok("Ready: %s", ready.Message)
}
