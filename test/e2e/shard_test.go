package e2e

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/shard"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const (
	shards = 6
	// A refresh is due after 40 to 50 % of the life: the other half is for who takes over.
	shardLife  = 20 * time.Second
	shardLease = 4 * time.Second
)

// TestShards runs three replicas that share the work. One is killed, one is stopped while another joins, and one is cut
// off from the API server. All the while each grant is written by the holder of its shard only, is never minted for twice,
// and never has a dead token. Each replica reaches the API server through a wire of its own, which knows who wrote what.
func TestShards(t *testing.T) {
	plane, _ := install(t)
	if _, err := plane.Kubectl(t.Context(), nil, "apply", "-f", "config/sharding/role.yaml"); err != nil {
		t.Fatal(err)
	}
	w := &shardWorld{t: t, plane: plane, client: newClient(t, plane), issuer: keycloaktest.NewServer(t), ledger: newLedger()}
	w.issuer.SetLifespan(shardLife)
	w.populate()
	a, b, c := w.start("a"), w.start("b"), w.start("c")
	w.settled("three replicas", map[*member]int{a: 2, b: 2, c: 2})
	w.refreshed("three replicas")

	begin := time.Now()
	w.trouble = append(w.trouble, begin)
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	w.settled("one is killed", map[*member]int{b: 3, c: 3})
	t.Logf("shared anew %s after SIGKILL", time.Since(begin).Round(time.Millisecond))
	w.refreshed("one is killed")

	begin = time.Now()
	d := w.start("d")
	w.settled("one joins", map[*member]int{b: 2, c: 2, d: 2})
	t.Logf("shared anew %s after the start of another replica", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	w.settled("one stops", map[*member]int{c: 3, d: 3})
	t.Logf("shared anew %s after SIGTERM", time.Since(begin).Round(time.Millisecond))
	w.refreshed("one joins and one stops")

	begin = time.Now()
	w.trouble = append(w.trouble, begin)
	c.wire.cut(true)
	w.settled("one is cut off", map[*member]int{d: 6})
	t.Logf("shared anew %s after one was cut off", time.Since(begin).Round(time.Millisecond))
	w.refreshed("one is cut off")
	c.wire.cut(false)
	w.settled("it is back", map[*member]int{c: 3, d: 3})
	w.refreshed("it is back")
	w.examine()
}

// member is one replica and its wire.
type member struct {
	*stack.Operator

	name string
	wire *wire
}

type shardWorld struct {
	t      *testing.T
	plane  *stack.ControlPlane
	client client.Client
	issuer *keycloaktest.Server
	ledger *ledger
	// trouble are the times when a replica may have lost a token that it had minted.
	trouble []time.Time
}

func (w *shardWorld) start(name string) *member {
	w.t.Helper()
	wire := newWire(w.t, w.plane, name, w.ledger)
	o, err := stack.StartOperator(context.Background(), stack.OperatorOptions{
		Kubeconfig: wire.kubeconfig,
		Flags: []string{
			fmt.Sprintf("--shards=%d", shards), "--metrics-secure=false",
			"--leader-elect-lease-duration=" + shardLease.String(), "--leader-elect-renew-deadline=2500ms", "--leader-elect-retry-period=500ms",
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m := &member{Operator: o, name: name, wire: wire}
	w.t.Cleanup(func() {
		_ = o.Close()
		wire.close()
	})
	return m
}

func grantName(n int) string { return fmt.Sprintf("grant-%02d", n) }

// populate gives each grant a client of its own, so that the issuer's list of requests tells them apart.
func (w *shardWorld) populate() {
	w.t.Helper()
	half := int32(50)
	objects := []client.Object{&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kc"}, Spec: v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(w.issuer.URL)}}}
	for n := range grants {
		name := grantName(n)
		w.issuer.Client(name, "worker-secret")
		objects = append(objects, &v1alpha1.TokenGrant{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: v1alpha1.TokenGrantSpec{
				IssuerRef:      v1alpha1.IssuerRef{Name: "kc"},
				ServiceAccount: &v1alpha1.ServiceAccount{ClientID: name, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}},
				Exchange:       &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
				Refresh:        v1alpha1.Refresh{BeforePercentage: &half},
			},
		})
	}
	objects = append(objects, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "worker"}, StringData: map[string]string{"client-secret": "worker-secret"}})
	for _, o := range objects {
		if err := w.client.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// settled waits until the replicas say that they hold so many shards, and each grant is told of by exactly one.
func (w *shardWorld) settled(when string, want map[*member]int) {
	w.t.Helper()
	seen := ""
	await(w.t, when+": the shards are shared", 90*time.Second, func() bool {
		seen = ""
		right, told := true, map[string]int{}
		for m, n := range want {
			lines := m.metrics()
			seen += fmt.Sprintf(" %s: %q", m.name, lines["tokengrant_shards_held"])
			right = right && lines["tokengrant_shards_held"] == fmt.Sprint(n) && lines["tokengrant_shards"] == fmt.Sprint(shards)
			for series := range lines {
				if found := infoOf.FindStringSubmatch(series); found != nil {
					told[found[1]]++
				}
			}
		}
		for n := range grants {
			right = right && told[grantName(n)] == 1
		}
		seen += fmt.Sprint(" ", told)
		return right
	}, func() string { return seen })
}

var infoOf = regexp.MustCompile(`^tokengrant_grant_info{.*[{,]name="(grant-\d\d)"`)

// metrics gives the values by series.
func (m *member) metrics() map[string]string {
	answer, err := http.Get(strings.Replace(m.MetricsURL, "https://", "http://", 1))
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	return parseMetrics(answer.Body)
}

// refreshed waits until every grant has been written again.
func (w *shardWorld) refreshed(when string) {
	w.t.Helper()
	since := time.Now()
	missing := ""
	await(w.t, when+": every grant is refreshed", 90*time.Second, func() bool {
		missing = ""
		for n := range grants {
			if !slices.ContainsFunc(w.ledger.of(grantName(n)), func(p write) bool { return p.begin.After(since) }) {
				missing += " " + grantName(n)
			}
		}
		return missing == ""
	}, func() string { return "missing:" + missing })
}

// examine looks at all that was written.
func (w *shardWorld) examine() {
	exchanges := map[string][]time.Time{}
	for _, r := range w.issuer.Requests() {
		if r.GrantType == exchange {
			exchanges[r.ClientID] = append(exchanges[r.ClientID], r.At)
		}
	}
	writes, mints, moves := 0, 0, 0
	for n := range grants {
		name := grantName(n)
		number := shard.Of("TokenGrant/default/"+name, shards)
		published := w.ledger.of(name)
		slices.SortFunc(published, func(a, b write) int { return a.begin.Compare(b.begin) })
		for i, p := range published {
			if holder := w.ledger.holder(number, p.begin); holder != p.by {
				w.t.Errorf("%s was written by %s at %s, when shard %d was held by %q", name, p.by, p.begin.Format(time.StampMilli), number, holder)
			}
			if i == 0 {
				continue
			}
			before := published[i-1]
			if p.by != before.by {
				moves++
			}
			if dead := p.end.Sub(before.end) - shardLife; dead > 0 {
				w.t.Errorf("%s had a dead token for %s until %s", name, dead, p.end.Format(time.StampMilli))
			}
		}
		writes, mints = writes+len(published), mints+len(exchanges[name])
		for i, at := range exchanges[name][1:] {
			if before := exchanges[name][i]; at.Sub(before) < shardLife*3/10 && !w.excused(before, at) {
				w.t.Errorf("%s was minted for twice, at %s and %s", name, before.Format(time.StampMilli), at.Format(time.StampMilli))
			}
		}
	}
	w.t.Logf("%d mints, %d writes of %d Secrets; a Secret went to another replica %d times; %d writes of Leases",
		mints, writes, grants, moves, w.ledger.leaseWrites())
	if moves == 0 {
		w.t.Error("nothing was ever handed over: the test shows nothing")
	}
}

// excused says that a replica may have died between a mint and its write.
func (w *shardWorld) excused(first, second time.Time) bool {
	return slices.ContainsFunc(w.trouble, func(at time.Time) bool { return at.After(first.Add(-5*time.Second)) && at.Before(second) })
}

// of gives the writes of a grant's Secret that succeeded.
func (l *ledger) of(grant string) []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.secrets[grant])
}

// holder gives who held a shard, by the Leases that had been written at a time.
func (l *ledger) holder(number int, at time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tenures := l.leases[fmt.Sprintf("shard-%d-of-%d.tokengrant.dev", number, shards)]
	var last write
	for _, t := range tenures {
		if t.end.Before(at) && t.end.After(last.end) {
			last = t
		}
	}
	return last.by
}

func (l *ledger) leaseWrites() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, writes := range l.leases {
		n += len(writes)
	}
	return n
}
