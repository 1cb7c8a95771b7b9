package integration

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// patience is how long a test waits for what should take a second on an idle machine.
const patience = 90 * time.Second

func logs(on bool) io.Writer {
	if on {
		return os.Stderr
	}
	return io.Discard
}

// world is one test's namespace, and the operator that works in it.
type world struct {
	client.Client
	t         *testing.T
	namespace string
	// operatorNamespace holds what ClusterTokenIssuers refer to.
	operatorNamespace string
	// neighbours are further namespaces that the operator works in; its own is one of them then.
	neighbours []string
	// denyPrivate is the operator's --deny-private-addresses.
	denyPrivate bool
	// allowedHosts is the operator's --allowed-hosts.
	allowedHosts *httpclient.Hosts
	// keys is the file with the operator's encryption keys, imports the one with its import keys.
	keys, imports string
	// selector is of the grants that the operator works on; nil is all.
	selector labels.Selector
	// server is as whom the operator works; nil is cluster.operator.
	server *rest.Config
	// wire, where there is one, stands between the operator and the API server.
	wire *wire
	stop func()
}

// newWorld makes a namespace and starts an operator for it, and for neighbours if there are any.
func newWorld(t *testing.T, neighbours ...string) *world {
	t.Helper()
	w := &world{Client: cluster.admin, t: t, namespace: newNamespace(t), operatorNamespace: newNamespace(t), keys: filepath.Join(t.TempDir(), "keys")}
	w.imports = filepath.Join(filepath.Dir(w.keys), "import-keys")
	if len(neighbours) > 0 {
		w.neighbours = append([]string{w.operatorNamespace}, neighbours...)
	}
	w.setKeys(firstKey)
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func newNamespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := cluster.admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// start runs an operator until stop.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := rest.CopyConfig(cmp.Or(w.server, cluster.operator))
	if w.wire != nil {
		server.Wrap(w.wire.through)
	}
	recorder, traces, keepMetrics := observed(w.t)
	namespaces := append([]string{w.namespace}, w.neighbours...)
	mgr, err := ctrl.NewManager(server, ctrl.Options{
		Scheme:     stack.Scheme(),
		Cache:      controllers.CacheOptions(namespaces, w.selector),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	err = controllers.Setup(ctx, mgr, controllers.Options{
		OperatorNamespace: w.operatorNamespace, Namespaces: namespaces, Concurrency: 8, UserAgent: "integration", DenyPrivate: w.denyPrivate,
		AllowedHosts:   w.allowedHosts,
		EncryptionKeys: offline.Keyring{File: w.keys}, ImportKeys: offline.ImportKeys{File: w.imports, Sessions: offline.Keyring{File: w.keys}}, AppPasswordOverlap: 2 * time.Second,
		Metrics: recorder, Traces: traces,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = func() {
		keepMetrics()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("operator: %v", err)
		}
		w.stop = func() {}
	}
}

// Two keys as an operator gets them by --encryption-keys-file.
const (
	firstKey  = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	secondKey = "y9vVWQTMg1vFb2mFVvO8ZtXv8pJxvqfmX3n7m7lQxkE="
)

// setKeys writes the file of the encryption keys.
func (w *world) setKeys(keys ...string) {
	w.t.Helper()
	if err := os.WriteFile(w.keys, []byte(strings.Join(keys, "\n")), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// setImportKeys writes the file of the import keys.
func (w *world) setImportKeys(line string) {
	w.t.Helper()
	if err := os.WriteFile(w.imports, []byte(line), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// restart stops the operator and starts another.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// scripted starts an issuer that the test directs, with the client "worker".
func scripted(t *testing.T) *keycloaktest.Server {
	t.Helper()
	s := keycloaktest.NewServer(t, keycloaktest.Options{Wrap: leaks.Serves})
	s.Client("worker", "worker-secret")
	return s
}

// nextcloudFor starts a stand-in that trusts an issuer.
func nextcloudFor(t *testing.T, issuerURL string) (*nextcloudtest.Server, string) {
	t.Helper()
	s := nextcloudtest.New(nextcloudtest.Options{Issuer: issuerURL})
	server := httptest.NewServer(leaks.Serves(s.Handler()))
	t.Cleanup(server.Close)
	return s, server.URL
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.Create(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) secret(name string, data map[string]string) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
	w.create(s)
	return s
}

// issuer makes a TokenIssuer.
func (w *world) issuer(name, url string) *v1alpha1.TokenIssuer {
	w.t.Helper()
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	i.Spec.URL = v1alpha1.HTTPURL(url)
	w.create(i)
	return i
}

// grantFor describes a grant of a client whose secret is in the Secret of the client's name, for the audience nextcloud.
func (w *world) grantFor(name, issuer, clientID string, change ...func(*v1alpha1.TokenGrant)) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	g.Spec.IssuerRef.Name = issuer
	g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: clientID, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: clientID}}}
	g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
	for _, f := range change {
		f(g)
	}
	return g
}

// simple sets a world up with a scripted issuer, and a grant "g" for it that is Ready.
func simple(t *testing.T, change ...func(*v1alpha1.TokenGrant)) (*world, *keycloaktest.Server, *v1alpha1.TokenGrant) {
	t.Helper()
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker", change...)
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	return w, s, g
}

// await waits for a condition of a grant or an issuer, and gives its message.
func (w *world) await(object client.Object, kind string, status metav1.ConditionStatus, reason string) string {
	w.t.Helper()
	var c *metav1.Condition
	w.eventually(fmt.Sprintf("%T %s %s=%s (%s)", object, object.GetName(), kind, status, reason), func() (bool, string) {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return false, err.Error()
		}
		conditions, show := conditionsOf(object)
		c = meta.FindStatusCondition(conditions, kind)
		return c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == object.GetGeneration(), show
	})
	return c.Message
}

func conditionsOf(object client.Object) ([]metav1.Condition, string) {
	switch o := object.(type) {
	case *v1alpha1.TokenGrant:
		show, _ := json.Marshal(o.Status)
		return o.Status.Conditions, string(show)
	case *v1alpha1.TokenIssuer:
		show, _ := json.Marshal(o.Status)
		return o.Status.Conditions, string(show)
	case *v1alpha1.ClusterTokenIssuer:
		show, _ := json.Marshal(o.Status)
		return o.Status.Conditions, string(show)
	}
	return nil, ""
}

// eventually polls until something holds; the text says what was seen instead.
func (w *world) eventually(what string, holds func() (bool, string)) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, seen := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not seen in %s: %s\ninstead: %s", patience, what, seen)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// published reads the Secret of a grant; nil when there is none.
func (w *world) published(g *v1alpha1.TokenGrant) *corev1.Secret {
	w.t.Helper()
	name := g.SecretDelivery().Name
	if name == "" {
		name = g.Name
	}
	var s corev1.Secret
	err := w.Get(w.t.Context(), client.ObjectKey{Namespace: g.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// awaitSecret waits until the Secret of a grant is as wanted.
func (w *world) awaitSecret(g *v1alpha1.TokenGrant, what string, holds func(*corev1.Secret) bool) *corev1.Secret {
	w.t.Helper()
	var s *corev1.Secret
	w.eventually("Secret of "+g.Name+" "+what, func() (bool, string) {
		s = w.published(g)
		return holds(s), fmt.Sprintf("%+v", s)
	})
	return s
}

// change updates an object, and again on a conflict.
func change[T client.Object](w *world, object T, f func(T)) {
	w.t.Helper()
	for {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			w.t.Fatal(err)
		}
		f(object)
		err := w.Update(w.t.Context(), object)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
	}
}

// exchanges counts the token exchanges that reached an issuer.
func exchanges(s *keycloaktest.Server) int {
	return s.Count("urn:ietf:params:oauth:grant-type:token-exchange")
}

// settled fails the test if the issuer is asked for another token within a moment.
func settled(t *testing.T, s *keycloaktest.Server, want int) {
	t.Helper()
	time.Sleep(1500 * time.Millisecond)
	if got := exchanges(s); got != want {
		t.Errorf("exchanges = %d, want %d", got, want)
	}
}

func cleanupContext() context.Context { return context.Background() }

func contains(t *testing.T, message string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(message, p) {
			t.Errorf("message %q\nlacks %q", message, p)
		}
	}
	t.Log(message)
}

// claimsIn reads the claims of the token in a Secret, and headerIn its header.
func claimsIn(t *testing.T, s *corev1.Secret) map[string]any { return partOf(t, s, 1) }
func headerIn(t *testing.T, s *corev1.Secret) map[string]any { return partOf(t, s, 0) }

func partOf(t *testing.T, s *corev1.Secret, part int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(s.Data["access_token"]), ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
