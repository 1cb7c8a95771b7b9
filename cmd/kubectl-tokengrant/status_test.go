package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func at(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: at(-time.Hour)}
}

// readyGrant is a grant with all that the operator writes when all is well.
func readyGrant() *v1alpha1.TokenGrant {
	refresh, checked := at(2*time.Minute), at(-3*time.Minute)
	return &v1alpha1.TokenGrant{
		ObjectMeta: metav1.ObjectMeta{Name: "notes-sync", Namespace: "apps", UID: "uid-of-notes-sync"},
		Spec: v1alpha1.TokenGrantSpec{
			IssuerRef:      v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "keycloak"},
			ServiceAccount: &v1alpha1.ServiceAccount{ClientID: "notes-sync", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "notes-client", Key: "client-secret"}}},
			Exchange:       &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
			Delivery:       &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "notes-sync-token"}},
			Check:          &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://cloud.example.com"}},
		},
		Status: v1alpha1.TokenGrantStatus{
			Conditions: []metav1.Condition{
				condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished, `Secret "notes-sync-token" holds a verified token.`),
				condition(v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted, `Nextcloud knows the token as user "service-account-notes-sync".`),
			},
			Token: &v1alpha1.TokenStatus{
				Subject: "7b9e", Username: "service-account-notes-sync", ClientID: "notes-sync", Audiences: []string{"nextcloud"},
				Scopes: []string{"profile", "email"}, IssuedAt: at(-90 * time.Second), ExpiresAt: at(210 * time.Second),
			},
			RefreshAt: &refresh, SecretName: "notes-sync-token",
			LastAttempt: &v1alpha1.Attempt{Time: at(-90 * time.Second), Reason: v1alpha1.ReasonPublished, Message: "Minted, verified and published."},
			Check:       &v1alpha1.CheckStatus{User: "service-account-notes-sync", Groups: []string{"sync"}, CheckedAt: &checked},
		},
	}
}

func clusterObjects() []client.Object {
	discovered := at(-time.Minute)
	return []client.Object{
		&v1alpha1.ClusterTokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "keycloak"},
			Spec:       v1alpha1.ClusterTokenIssuerSpec{TokenIssuerSpec: v1alpha1.TokenIssuerSpec{URL: "https://id.example.com/realms/cloud"}},
			Status:     v1alpha1.IssuerStatus{LastDiscovery: &discovered},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-sync-token", Namespace: "apps", CreationTimestamp: at(-26 * time.Hour)}},
	}
}

func failing(g *v1alpha1.TokenGrant, reason, message string) {
	g.Status.ConsecutiveFailures = 4
	g.Status.LastAttempt = &v1alpha1.Attempt{Time: at(-20 * time.Second), Reason: reason, Message: message}
}

// without takes away all that a first token brings.
func without(g *v1alpha1.TokenGrant, reason, message string) {
	s := &g.Status
	s.Token, s.RefreshAt, s.SecretName, s.Check = nil, nil, "", nil
	s.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)}
}

func TestStatusShowsWhereAGrantStands(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.TokenGrant)
		funcs  interceptor.Funcs
		code   int
		args   []string
	}{
		"status-ready":      {},
		"status-ready-yaml": {args: []string{"-o", "yaml"}},
		"status-ready-json": {args: []string{"-o", "json"}},
		"status-refresh-fails": {change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonExchangeNotEnabled, `token_exchange: set the attribute standard.token.exchange.enabled=true on client "notes-sync"`)
		}},
		"status-never-ready": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonClientRejected, "the client secret is wrong")
			without(g, v1alpha1.ReasonClientRejected, "the client secret is wrong")
		}},
		"status-new": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) { g.Status = v1alpha1.TokenGrantStatus{} }},
		"status-expired": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonIssuerUnreachable, "no answer in time")
			g.Status.Token.IssuedAt, g.Status.Token.ExpiresAt = at(-10*time.Minute), at(-5*time.Minute)
			g.Status.Conditions[0] = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "The token has expired.")
		}},
		"status-rejected": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			g.Status.Conditions = []metav1.Condition{
				condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected, "Nextcloud does not take the token"),
				condition(v1alpha1.ConditionCheckPassed, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected, "Nextcloud does not take the token"),
			}
		}},
		"status-suspended": {change: func(g *v1alpha1.TokenGrant) {
			g.Spec.Suspend, g.Status.RefreshAt = true, nil
			g.Status.Conditions[0].Reason = v1alpha1.ReasonSuspended
		}},
		"status-unreachable-nextcloud": {change: func(g *v1alpha1.TokenGrant) {
			g.Status.Conditions[1] = condition(v1alpha1.ConditionCheckPassed, metav1.ConditionUnknown, v1alpha1.ReasonNextcloudUnreachable, "the connection is refused")
		}},
		"status-without-exchange-and-check": {change: func(g *v1alpha1.TokenGrant) {
			g.Spec.Exchange, g.Spec.Check, g.Spec.ServiceAccount = nil, nil, nil
		}},
		"status-field-unknown": {change: func(g *v1alpha1.TokenGrant) {
			failing(g, v1alpha1.ReasonFieldUnknown, "this operator does not know spec.exchange.onlyFor: upgrade the operator, or remove the field")
		}},
		"status-unknown-reason": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			failing(g, "ActorRefused", "the issuer does not let the actor act")
			without(g, "ActorRefused", "the issuer does not let the actor act")
		}},
		"apppassword-status-unknown": {code: exitBroken, change: func(g *v1alpha1.TokenGrant) {
			g.Spec = v1alpha1.TokenGrantSpec{AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: "https://cloud.example.com"}}}
			failing(g, "VoucherUsed", "the voucher was used already")
			g.Status.Conditions[0] = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "VoucherUsed", "the voucher was used already")
		}},
		"apppassword-status-unknown-source": {change: func(g *v1alpha1.TokenGrant) {
			g.Spec = v1alpha1.TokenGrantSpec{AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: "https://cloud.example.com"}}}
		}},
		"status-secret-forbidden": {funcs: forbid("Secret")},
		"status-issuer-forbidden": {funcs: forbid("ClusterTokenIssuer")},
	} {
		t.Run(name, func(t *testing.T) {
			g := readyGrant()
			if test.change != nil {
				test.change(g)
			}
			newBench(t, test.funcs, append(clusterObjects(), g)...).golden(t, name, test.code, append([]string{"status", "notes-sync", "-n", "apps"}, test.args...)...)
		})
	}
}

func TestStatusOfAllIsATable(t *testing.T) {
	bad := readyGrant()
	bad.Name, bad.Namespace = "mcp-server", "other"
	failing(bad, v1alpha1.ReasonSecretConflict, "a Secret of that name exists")
	without(bad, v1alpha1.ReasonSecretConflict, "a Secret of that name exists")
	objects := append(clusterObjects(), readyGrant(), bad)
	newBench(t, interceptor.Funcs{}, objects...).golden(t, "table", exitGood, "status", "-n", "apps")
	newBench(t, interceptor.Funcs{}, objects...).golden(t, "table-all", exitBroken, "status", "-A")
	newBench(t, interceptor.Funcs{}, objects...).golden(t, "table-json", exitGood, "status", "-n", "apps", "-o", "json")
	newBench(t, interceptor.Funcs{}, objects...).golden(t, "table-none", exitGood, "status", "-n", "empty")
}

// TestEveryReasonHasItsStage: a failed try stops a grant somewhere, and the stages behind it do not look done.
func TestEveryReasonHasItsStage(t *testing.T) {
	for reason, want := range map[string]string{
		v1alpha1.ReasonIssuerUnreachable: stageIssuer, v1alpha1.ReasonClientRejected: stageAuthenticate,
		v1alpha1.ReasonServiceAccountDisabled: stageMint, v1alpha1.ReasonScopeInvalid: stageExchange, v1alpha1.ReasonGrantTypeUnsupported: stageExchange,
		v1alpha1.ReasonTokenWrongAudience: stageVerify, v1alpha1.ReasonNextcloudWrongUser: stageCheck, v1alpha1.ReasonSecretNotWritten: stagePublish,
		"SomethingNew": stageUnknown, v1alpha1.ReasonFieldUnknown: stageIssuer,
	} {
		g := readyGrant()
		failing(g, reason, "no")
		if got, _ := stoppedAt(g); got != want {
			t.Errorf("%s stops at %s, want %s", reason, got, want)
		}
	}
}
