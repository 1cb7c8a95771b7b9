//go:build integration

package flood

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const (
	victim   = "victim"
	attacker = "attacker"
	// applyAtOnce is how many grants are applied at the same time.
	applyAtOnce = 64
)

// world is an API server, the operator as it is shipped, and an issuer that two tenants share.
type world struct {
	client.Client

	t      *testing.T
	began  time.Time
	issuer *keycloaktest.Server
	seen   *sightings
	// stop ends the looking at the victim's Secrets.
	stop func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	plane, err := stack.StartControlPlane(t.Context(), stack.ControlPlaneOptions{CRDs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	_, kubeconfig, err := plane.InstallOperator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	operator, err := stack.StartOperator(t.Context(), stack.OperatorOptions{Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operator.Close() })
	w := &world{Client: newClient(t, plane.Config), t: t, issuer: keycloaktest.NewServer(t, keycloaktest.Options{Lifespan: life})}
	w.share()
	w.watch()
	return w
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1 // The API server's own priority and fairness decides.
	c, err := client.New(config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// share gives the issuer's one client to both tenants.
func (w *world) share() {
	w.t.Helper()
	w.issuer.Client("agent", "agent-secret")
	shared := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	shared.Spec.URL = v1alpha1.HTTPURL(w.issuer.URL)
	shared.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "agent", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "agent"}}}
	shared.Spec.Allow = []v1alpha1.AllowRule{{Namespaces: []v1alpha1.NamespaceName{victim, attacker}, Audiences: []v1alpha1.Audience{"nextcloud"}}}
	shared.Spec.Limits = v1alpha1.Limits{RequestsPerSecond: rate, Burst: rate, Concurrency: 4}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: victim}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: attacker}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stack.OperatorNamespace, Name: "agent"}, StringData: map[string]string{"client-secret": "agent-secret"}},
		shared,
	} {
		if err := w.Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

func grant(namespace, name string) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "shared"}
	g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
	return g
}

// apply makes grants NAME-0, NAME-1 and so on.
func (w *world) apply(namespace, name string, n int) (grants []*v1alpha1.TokenGrant) {
	w.t.Helper()
	for i := range n {
		g := grant(namespace, fmt.Sprint(name, "-", i))
		if err := w.Create(w.t.Context(), g); err != nil {
			w.t.Fatal(err)
		}
		grants = append(grants, g)
	}
	return grants
}

// flood applies the attacker's grants, and counts them.
func (w *world) flood(applied *atomic.Int64) error {
	group, ctx := errgroup.WithContext(w.t.Context())
	group.SetLimit(applyAtOnce)
	w.began = time.Now()
	for i := range many {
		group.Go(func() error {
			defer applied.Add(1)
			return w.Create(ctx, grant(attacker, fmt.Sprint("flood-", i)))
		})
	}
	return group.Wait()
}

// awaitToken waits until a grant is Ready.
func (w *world) awaitToken(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	w.eventually("a token for "+g.Name, func() bool {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
			w.t.Fatal(err)
		}
		return meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady)
	})
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not seen in %s: %s", patience, what)
		}
	}
}

// sightings are the victim's Secrets over time.
type sightings struct {
	mu sync.Mutex
	// records of the tokens that stood in each Secret, in order, and the UIDs of their grants.
	records map[string][]*plan.Record
	uids    map[string]string
	// expired counts the times that a token was seen after its end.
	expired int
	failed  error
}

// watch looks at the victim's Secrets twice a second.
func (w *world) watch() {
	w.seen = &sightings{records: map[string][]*plan.Record{}, uids: map[string]string{}}
	ctx, cancel := context.WithCancel(w.t.Context())
	var looking sync.WaitGroup
	looking.Go(func() {
		for ticker := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
				var secrets corev1.SecretList
				err := w.List(ctx, &secrets, client.InNamespace(victim))
				if ctx.Err() == nil {
					w.seen.add(secrets.Items, err)
				}
			}
		}
	})
	w.stop = sync.OnceFunc(func() {
		cancel()
		looking.Wait()
		if w.seen.failed != nil {
			w.t.Error(w.seen.failed)
		}
	})
	w.t.Cleanup(w.stop)
}

func (s *sightings) add(secrets []corev1.Secret, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = cmp.Or(s.failed, err)
	for i := range secrets {
		name := secrets[i].Name
		record, err := plan.ParseRecord(secrets[i].Annotations[v1alpha1.PublishedAnnotation])
		if err != nil {
			s.failed = fmt.Errorf("the record of Secret %s: %w", name, err)
			continue
		}
		if last := s.last(name); last == nil || !last.Token.IssuedAt.Equal(&record.Token.IssuedAt) {
			s.records[name] = append(s.records[name], record)
			s.uids[name] = string(secrets[i].OwnerReferences[0].UID)
		}
		if time.Now().After(record.Token.ExpiresAt.Time) {
			s.expired++
		}
	}
}

func (s *sightings) last(name string) *plan.Record {
	if all := s.records[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// refreshedSince counts the Secrets, of those whose names begin so, that have a token of after a time.
func (s *sightings) refreshedSince(since time.Time, prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.records {
		if strings.HasPrefix(name, prefix) && s.last(name).Token.IssuedAt.After(since) {
			n++
		}
	}
	return n
}

// lateness counts the refreshes, and says by how much the latest of them came after it was due.
func (s *sightings) lateness() (refreshes int, latest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, records := range s.records {
		for i := range records[1:] {
			due := records[i].RefreshAt(s.uids[name], v1alpha1.Refresh{}, 0)
			latest = max(latest, records[i+1].Token.IssuedAt.Sub(due))
			refreshes++
		}
	}
	return refreshes, latest
}
