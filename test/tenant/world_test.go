//go:build integration

package tenant

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
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
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const (
	// own is the tenant's namespace, apps the victim's.
	own, apps = "mallory", "apps"
	// patience is how long anything may take on a busy machine; no figure depends on it.
	patience = time.Minute
)

// world is an API server with the operator as it is installed, a victim with an issuer and a Nextcloud, and a tenant with
// an issuer.
type world struct {
	t        *testing.T
	plane    *stack.ControlPlane
	operator *stack.Operator
	// admin may do everything, tenant what the role admin of the namespace own allows.
	admin, tenant client.Client
	// tenantToken is for the operator's own endpoints, scraper's for its metrics.
	tenantToken, scraperToken string
	// good is the victims' issuer, evil the tenant's.
	good, evil *keycloaktest.Server
	cloud      *nextcloudtest.Server
	cloudURL   string
	// plugin is kubectl-tokengrant.
	plugin  string
	closers []func()
}

// people are the tenant, and who reads metrics.
const people = `
apiVersion: v1
kind: Namespace
metadata: {name: mallory}
---
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: mallory, namespace: mallory}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: mallory, namespace: mallory}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: mallory, namespace: mallory}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper, namespace: tokengrant-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tokengrant-metrics-reader}
subjects: [{kind: ServiceAccount, name: scraper, namespace: tokengrant-system}]
`

func newWorld(ctx context.Context) (*world, error) {
	w := &world{}
	return w, firstError(
		func() error { return w.startServers() },
		func() error { return w.startCluster(ctx) },
		func() error { return w.startOperator(ctx) },
		func() error { return w.buildPlugin(ctx) },
		func() error { return w.furnish(ctx) },
	)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, end := range slices.Backward(w.closers) {
		end()
	}
}

func (w *world) startServers() (err error) {
	for _, s := range []**keycloaktest.Server{&w.good, &w.evil} {
		if *s, err = keycloaktest.Start(keycloaktest.Options{}); err != nil {
			return err
		}
		w.closers = append(w.closers, (*s).Close)
		(*s).Client("worker", "worker-secret")
	}
	w.good.Client("agent", "agent-secret")
	w.cloud = nextcloudtest.New(nextcloudtest.Options{
		Issuer: w.good.URL, Users: []nextcloudtest.User{{ID: "alice", Password: sensitive.New("password-of-alice")}},
	})
	server := httptest.NewServer(w.cloud.Handler())
	w.closers, w.cloudURL = append(w.closers, server.Close), server.URL
	return nil
}

func (w *world) startCluster(ctx context.Context) (err error) {
	if w.plane, err = stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true}); err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = w.plane.Close() })
	if w.admin, err = client.New(w.plane.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return err
	}
	return nil
}

// startOperator runs the operator as config/ installs it, and makes the people.
func (w *world) startOperator(ctx context.Context) error {
	_, kubeconfig, err := w.plane.InstallOperator(ctx)
	if err != nil {
		return err
	}
	if _, err := w.plane.Kubectl(ctx, strings.NewReader(people), "apply", "-f", "-"); err != nil {
		return err
	}
	config, _, err := w.plane.ServiceAccount(ctx, own, own)
	if err != nil {
		return err
	}
	w.tenantToken = config.BearerToken
	if w.tenant, err = client.New(config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return err
	}
	scraper, _, err := w.plane.ServiceAccount(ctx, stack.OperatorNamespace, "scraper")
	if err != nil {
		return err
	}
	w.scraperToken = scraper.BearerToken
	w.operator, err = stack.StartOperator(ctx, stack.OperatorOptions{Kubeconfig: kubeconfig, Flags: []string{"--status-page"}})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = w.operator.Close() })
	return nil
}

func (w *world) buildPlugin(ctx context.Context) error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tokengrant-tenant-")
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = os.RemoveAll(dir) })
	w.plugin = filepath.Join(dir, "kubectl-tokengrant")
	build := exec.CommandContext(ctx, "go", "build", "-o", w.plugin, "./cmd/kubectl-tokengrant")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return nil
}

// furnish makes what the victim has, and what the platform shares.
func (w *world) furnish(ctx context.Context) error {
	shared := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	shared.Spec.URL = v1alpha1.HTTPURL(w.good.URL)
	shared.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "agent", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "agent"}}}
	shared.Spec.Allow = []v1alpha1.AllowRule{{Namespaces: []v1alpha1.NamespaceName{apps}, Audiences: []v1alpha1.Audience{"nextcloud"}, Scopes: []v1alpha1.Scope{"openid"}}}
	theirs := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: apps, Name: "kc"}}
	theirs.Spec.URL = v1alpha1.HTTPURL(w.good.URL)
	bot := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: apps, Name: "bot", Annotations: map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"}}}
	login := secretOf(apps, "login", "username", "alice", "password", "password-of-alice")
	login.Type = corev1.SecretTypeBasicAuth
	for _, o := range []client.Object{
		secretOf(stack.OperatorNamespace, "agent", "client-secret", "agent-secret"),
		secretOf(apps, "worker", "client-secret", "worker-secret"),
		secretOf(apps, "alice", "refresh_token", w.good.OfflineToken("worker", "alice")),
		secretOf(own, "worker", "client-secret", "worker-secret"),
		secretOf(own, "database", "password", "of-another-application"),
		login, bot, shared, theirs, offline(grantOf(apps, "session", "kc")), appPassword(grantOf(apps, "password", ""), w.cloudURL),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: apps, Name: "ca"}, Data: map[string]string{"ca.crt": "x"}},
	} {
		if err := w.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("%T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

func secretOf(namespace, name string, data ...string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{}}
	for i := 0; i < len(data); i += 2 {
		s.StringData[data[i]] = data[i+1]
	}
	return s
}

// grantOf is a grant of the client "worker", for the audience nextcloud.
func grantOf(namespace, name, issuer string, change ...func(*v1alpha1.TokenGrant)) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Spec.IssuerRef.Name = issuer
	g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}}
	g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
	for _, f := range change {
		f(g)
	}
	return g
}

// offline makes it one of alice's session.
func offline(g *v1alpha1.TokenGrant) *v1alpha1.TokenGrant {
	g.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
	return g
}

// appPassword makes it one of an app password.
func appPassword(g *v1alpha1.TokenGrant, cloud string) *v1alpha1.TokenGrant {
	g.Spec = v1alpha1.TokenGrantSpec{
		AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(cloud)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}},
		Check:       &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(cloud)}},
	}
	return g
}
