//go:build integration

package upgrade

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const (
	namespace = "apps"
	// patience is how long what should take seconds may take on a busy machine.
	patience = 90 * time.Second
	// encryptionKey encrypts the sessions in testdata. It protects nothing.
	encryptionKey = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	// issuerURL is reached through a proxy, so that it is the same in every run: what is in testdata depends on it.
	issuerHost = "http://id.example.test"
)

// cluster is a real API server, and an issuer that outlives the operators.
type cluster struct {
	client.Client
	t      *testing.T
	issuer *keycloaktest.Server
	// kubeconfig is the operator's.
	kubeconfig string
	operator   *stack.Operator
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	plane, err := stack.StartControlPlane(t.Context(), stack.ControlPlaneOptions{CRDs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	c := &cluster{t: t, issuer: newIssuer(t)}
	if c.Client, err = client.New(plane.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		t.Fatal(err)
	}
	if _, c.kubeconfig, err = plane.InstallOperator(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	return c
}

// newIssuer starts one whose tokens live for years, but those of the client "brief".
func newIssuer(t *testing.T) *keycloaktest.Server {
	t.Helper()
	s := keycloaktest.NewServer(t, keycloaktest.Options{Lifespan: 9 * 365 * 24 * time.Hour})
	t.Setenv("HTTP_PROXY", strings.TrimSuffix(s.URL, realmPath))
	t.Setenv("NO_PROXY", "")
	s.URL = issuerHost + realmPath
	s.Client("worker", "worker-secret")
	s.SetClient(keycloaktest.Client{ID: "brief", Secret: "brief-secret", Audience: []string{"nextcloud"}, Lifespan: briefly})
	return s
}

const (
	realmPath = "/realms/tokengrant"
	// briefly is the life of the token that has to be refreshed after the upgrade.
	briefly = 20 * time.Second
)

func (c *cluster) create(object client.Object) {
	c.t.Helper()
	if err := c.Create(c.t.Context(), object); err != nil {
		c.t.Fatal(err)
	}
}

// start runs a manager: of this checkout, or another program.
func (c *cluster) start(program string) {
	c.t.Helper()
	dir := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "encryption-keys"), []byte(encryptionKey+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	var err error
	c.operator, err = stack.StartOperator(c.t.Context(), stack.OperatorOptions{
		Place: stack.Place{Dir: dir}, Program: program, Kubeconfig: c.kubeconfig,
		Flags: []string{"--allow-http-issuers", "--leader-elect=false"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.operator.Close() })
}

func (c *cluster) stop() {
	c.t.Helper()
	if err := c.operator.Stop(); err != nil {
		c.t.Fatal(err)
	}
}

// grants by their name.
func (c *cluster) grants() map[string]v1alpha1.TokenGrant {
	c.t.Helper()
	var list v1alpha1.TokenGrantList
	if err := c.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.t.Fatal(err)
	}
	named := map[string]v1alpha1.TokenGrant{}
	for _, g := range list.Items {
		named[g.Name] = g
	}
	return named
}

func (c *cluster) secrets() []corev1.Secret {
	c.t.Helper()
	var list corev1.SecretList
	if err := c.List(c.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

// versions are the resourceVersions of all grants and Secrets, but those of some grants.
func (c *cluster) versions(without ...string) map[string]string {
	c.t.Helper()
	found := map[string]string{}
	for name, g := range c.grants() {
		found["TokenGrant/"+name] = g.ResourceVersion
	}
	for _, s := range c.secrets() {
		found["Secret/"+s.Name] = s.ResourceVersion
	}
	maps.DeleteFunc(found, func(object, _ string) bool { return slices.Contains(without, strings.SplitN(object, "/", 2)[1]) })
	return found
}

// eventually polls until something holds.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not seen in %s: %s; the issuer was asked for %v; the end of the operator's log:\n%s",
				patience, what, c.asked(0), stack.Tail(c.operator.Logs()[0], 15))
		}
	}
}

// renew asks for new tokens of grants, and waits for them.
func (c *cluster) renew(request string, names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.requestRefresh(name, request)
	}
	for _, name := range names {
		c.eventually("a new token of "+name, func() bool {
			for _, s := range c.secrets() {
				if s.Name == name {
					return strings.Contains(s.Annotations[v1alpha1.PublishedAnnotation], `"request":"`+request+`"`)
				}
			}
			return false
		})
	}
}

func (c *cluster) requestRefresh(name, request string) {
	c.t.Helper()
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := `{"metadata":{"annotations":{"` + v1alpha1.RefreshRequestedAnnotation + `":"` + request + `"}}}`
	if err := c.Patch(context.WithoutCancel(c.t.Context()), g, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		c.t.Fatal(err)
	}
}
