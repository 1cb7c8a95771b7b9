package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// looping is a tenant who does something ten times a second.
type looping struct {
	*referring

	clock    *clocktesting.FakeClock
	keycloak *keycloaktest.Server
	statuses int
}

func newLooping(t *testing.T) *looping {
	t.Helper()
	l := &looping{referring: newReferring(t), clock: clocktesting.NewFakeClock(noon)}
	l.Clock, l.Issuers.Clock, l.issuers.Clock = l.clock, l.clock, l.clock
	l.keycloak = keycloaktest.NewServer(t, keycloaktest.Options{Now: l.clock.Now})
	l.keycloak.Client("c", "right")
	l.edit("keycloak", &v1alpha1.TokenIssuer{}, func(o client.Object) {
		o.(*v1alpha1.TokenIssuer).Spec.URL = v1alpha1.HTTPURL(l.keycloak.URL)
	})
	l.Client = counting{l.Client, l}
	return l
}

// counting counts the status writes.
type counting struct {
	client.Client

	l *looping
}

func (c counting) Status() client.SubResourceWriter { return counted{c.Client.Status(), c.l} }

type counted struct {
	client.SubResourceWriter

	l *looping
}

func (c counted) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	c.l.statuses++
	return c.SubResourceWriter.Patch(ctx, o, p, opts...)
}

func (l *looping) edit(name string, o client.Object, change func(client.Object)) {
	l.t.Helper()
	if err := l.Get(l.t.Context(), client.ObjectKey{Namespace: "apps", Name: name}, o); err != nil {
		l.t.Fatal(err)
	}
	change(o)
	if err := l.Update(l.t.Context(), o); err != nil {
		l.t.Fatal(err)
	}
}

func (l *looping) client(name string) *v1alpha1.TokenGrant {
	g := l.grant(name, "client")
	g.Spec.Subject = nil
	return g
}

func (l *looping) apply(secret string) {
	l.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "client"}, Data: map[string][]byte{"k": []byte(secret)}}, l.client("g"))
	l.look("g")
}

func (l *looping) setSecret(value string) {
	l.edit("client", &corev1.Secret{}, func(o client.Object) {
		o.(*corev1.Secret).Data["k"] = []byte(value)
	})
	l.look("g")
}

func (l *looping) request(value string) {
	l.edit("g", &v1alpha1.TokenGrant{}, func(o client.Object) {
		o.SetAnnotations(map[string]string{v1alpha1.RefreshRequestedAnnotation: value})
	})
	l.look("g")
}

func (l *looping) asked() int { return l.keycloak.Count(keycloak.GrantTypeClientCredentials) }

func (l *looping) ready() bool {
	l.t.Helper()
	var g v1alpha1.TokenGrant
	if err := l.Get(l.t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &g); err != nil {
		l.t.Fatal(err)
	}
	return meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady)
}

func TestALoopOfATenantAsksTheIssuerSeldom(t *testing.T) {
	for name, tt := range map[string]struct {
		secret string
		turns  int
		act    func(l *looping, i int)
		most   int
	}{
		"a grant is deleted and made again": {"right", 50, func(l *looping, _ int) {
			l.remove(l.client("g"), secretOf("g", 0)) // as the garbage collector does
			l.look("g")
			l.make(l.client("g"))
			l.look("g")
		}, plan.GrantRate.Burst},
		"grants are deleted and made under other names": {"wrong", 150, func(l *looping, i int) {
			g := l.client(fmt.Sprint("g", i))
			l.make(g)
			l.look(g.Name)
			l.remove(g)
			l.look(g.Name)
		}, 124}, // 104 of two grants at once, and 64 a minute
		"another refresh is requested": {"right", 50, func(l *looping, i int) { l.request(fmt.Sprint(i)) }, plan.GrantRate.Burst},
		"the Secret changes":           {"wrong", 50, func(l *looping, i int) { l.setSecret(fmt.Sprint("wrong-", i)) }, plan.GrantRate.Burst},
		"the spec changes": {"wrong", 50, func(l *looping, _ int) {
			l.change("g", func(g *v1alpha1.TokenGrant) { g.Spec.DeletionPolicy = v1alpha1.DeletionLeave })
		}, plan.GrantRate.Burst},
		"the record says that the token is due": {"right", 50, func(l *looping, i int) {
			l.edit("g", &corev1.Secret{}, func(o client.Object) {
				o.GetAnnotations()[v1alpha1.PublishedAnnotation] = recordDue(l.t, o, time.Duration(i)*time.Second)
			})
			l.look("g")
		}, plan.GrantRate.Burst},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLooping(t)
			l.apply(tt.secret)
			for i := range tt.turns {
				l.clock.Step(100 * time.Millisecond)
				tt.act(l, i)
			}
			if got := l.asked(); got > tt.most {
				t.Errorf("%d requests for %d turns in %d s, want %d at most", got, tt.turns, tt.turns/10, tt.most)
			}
			t.Logf("%d turns: %d requests, %d status writes", tt.turns, l.asked(), l.statuses)
		})
	}
}

// recordDue is the record of a Secret whose token was minted, it says, long ago.
func recordDue(t *testing.T, o client.Object, ago time.Duration) string {
	t.Helper()
	r, err := plan.ParseRecord(o.GetAnnotations()[v1alpha1.PublishedAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	r.Token.IssuedAt = metav1.NewTime(noon.Add(-time.Hour - ago))
	r.Token.ExpiresAt = metav1.NewTime(noon.Add(time.Minute))
	text, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAUsersCorrectionsActAtOnce(t *testing.T) {
	l := newLooping(t)
	l.apply("wrong")
	for i := range 5 {
		l.setSecret(fmt.Sprint("wrong again ", i))
	}
	if l.ready() || l.asked() != 6 {
		t.Fatalf("ready: %t after %d requests, want 6 that are refused", l.ready(), l.asked())
	}
	l.setSecret("right")
	if !l.ready() {
		t.Error("the right secret was not tried at once")
	}
	before := l.asked()
	l.request("now")
	if l.asked() != before+1 {
		t.Error("the refresh that was requested did not come at once")
	}
	for i := range 50 {
		l.request(fmt.Sprint("loop ", i))
	}
	before = l.asked()
	l.clock.Step(10 * time.Second)
	l.look("g")
	if l.asked() != before+1 {
		t.Error("the refresh that was requested after a loop did not come within 10 s")
	}
}

func TestAStatusThatChangesAllTheTimeIsWrittenSeldom(t *testing.T) {
	l := newLooping(t)
	l.apply("wrong")
	secret := func() *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "client"}, Data: map[string][]byte{"k": []byte("wrong")}}
	}
	for range 50 {
		l.clock.Step(100 * time.Millisecond)
		l.remove(secret())
		l.look("g")
		l.make(secret())
		l.look("g")
	}
	if l.statuses > plan.GrantRate.Burst {
		t.Errorf("%d status writes for 100 changes in 5 s, want %d at most", l.statuses, plan.GrantRate.Burst)
	}
	l.remove(secret())
	l.look("g")
	l.clock.Step(10 * time.Second)
	l.look("g")
	var g v1alpha1.TokenGrant
	if err := l.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &g); err != nil {
		t.Fatal(err)
	}
	if got := g.Status.LastAttempt.Reason; got != v1alpha1.ReasonCredentialMissing {
		t.Errorf("the status that was written last says %s", got)
	}
}

func TestALoopOfATenantDiscoversSeldom(t *testing.T) {
	l := newLooping(t)
	l.issuers.discoveries.of = plan.IssuerRate
	for range 50 {
		l.clock.Step(100 * time.Millisecond)
		l.edit("keycloak", &v1alpha1.TokenIssuer{}, func(o client.Object) { o.SetGeneration(o.GetGeneration() + 1) })
		l.discover()
	}
	if got := l.keycloak.DiscoveryCount(); got != plan.IssuerRate.Burst {
		t.Errorf("%d discoveries for 50 changes in 5 s, want %d", got, plan.IssuerRate.Burst)
	}
	l.clock.Step(5 * time.Second)
	l.discover()
	if got := l.keycloak.DiscoveryCount(); got != plan.IssuerRate.Burst+1 {
		t.Errorf("%d discoveries 5 s later, want one more", got)
	}
}

func TestBudgetsThatAreUnspentTakeNoMemory(t *testing.T) {
	var r rates
	for i := range 1000 {
		r.spend(client.ObjectKey{Namespace: fmt.Sprint("n", i%10), Name: fmt.Sprint(i)}, 1, noon)
	}
	r.spend(client.ObjectKey{Namespace: "last"}, 1, noon.Add(3*time.Minute))
	if len(r.named) != 1 || len(r.namespaces) != 1 {
		t.Errorf("%d and %d budgets are kept, want those that were spent last", len(r.named), len(r.namespaces))
	}
}
