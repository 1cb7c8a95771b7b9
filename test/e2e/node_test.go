package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

const (
	operatorImage = "tokengrant.test/manager:e2e"
	consumerImage = "tokengrant.test/consumer:e2e"
	release       = "tokengrant"
)

// node is a cluster that runs pods, with Keycloak and Nextcloud where its pods reach them, and the operator as its
// image and its chart make it.
type node struct {
	client.Client
	typed     *kubernetes.Clientset
	cluster   *stack.Cluster
	keycloak  *stack.Keycloak
	nextcloud *stack.Nextcloud
	helm      string
	root, dir string
}

// theNode is the one of this run; it is closed by TestMain, whatever happens.
var theNode running

type running struct {
	mu      sync.Mutex
	closers []func() error
}

func (r *running) add(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closers = append(r.closers, f)
}

// close ends everything, the last started first.
func (r *running) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range slices.Backward(r.closers) {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping:", err)
		}
	}
	r.closers = nil
}

// startNode brings everything up. Where a node cannot run the test is skipped, with the reason.
func startNode(t *testing.T) *node {
	t.Helper()
	// Not the test's context: all this is stopped in order, and not with it.
	ctx := context.Background()
	if why := stack.NodeUnsupported(ctx); why != "" {
		t.Skip(why)
	}
	n := &node{}
	for _, step := range []func(context.Context) error{n.images, n.start, n.trust} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	n.Client = newClient(t, n.cluster.ControlPlane)
	n.publicKeys(t)
	return n
}

func (n *node) images(ctx context.Context) (err error) {
	if n.root, err = stack.Root(); err != nil {
		return err
	}
	if n.dir, err = os.MkdirTemp("", "tokengrant-e2e-"); err != nil {
		return err
	}
	theNode.add(func() error { return os.RemoveAll(n.dir) })
	if n.helm, err = stack.Helm(ctx, 4); err != nil {
		return err
	}
	if err := stack.ProgramImage(ctx, n.archive("consumer"), consumerImage, "./test/e2e/consumer"); err != nil {
		return err
	}
	return stack.OperatorImage(ctx, n.archive("operator"), operatorImage)
}

func (n *node) archive(name string) string { return filepath.Join(n.dir, name+".tar") }

func (n *node) start(ctx context.Context) (err error) {
	o := stack.ClusterOptions{Dir: n.dir, Archives: []string{n.archive("operator"), n.archive("consumer")}}
	if n.cluster, err = stack.StartCluster(ctx, o); err != nil {
		return err
	}
	theNode.add(n.cluster.Close)
	n.keycloak, err = stack.StartKeycloak(ctx, stack.KeycloakOptions{
		Place: n.cluster.Place("keycloak"), Realms: [][]byte{minuteTokens()}, HTTPS: true, Truststore: []string{n.cluster.CAFile},
	})
	if err != nil {
		return err
	}
	theNode.add(n.keycloak.Close)
	issuerCA := filepath.Join(n.dir, "keycloak-ca.crt")
	if err := os.WriteFile(issuerCA, n.keycloak.CA, 0o600); err != nil {
		return err
	}
	n.nextcloud, err = stack.StartNextcloud(ctx, stack.NextcloudOptions{
		Place: n.cluster.Place("nextcloud"), Issuer: n.keycloak.Issuer(realm.Name), IssuerCA: issuerCA, HTTPS: true,
	})
	if err != nil {
		return err
	}
	theNode.add(n.nextcloud.Close)
	return nil
}

// minuteTokens is the realm, with tokens of notes-sync that live a minute: half of that is longer than it takes until
// another leader stands in for one that was killed.
func minuteTokens() []byte {
	return bytes.Replace(realm.Export, []byte(`"access.token.lifespan": "30"`), []byte(`"access.token.lifespan": "60"`), 1)
}

// trust lets Keycloak take the cluster's own tokens.
func (n *node) trust(ctx context.Context) error {
	return n.keycloak.Admin(ctx, http.MethodPost, "/"+realm.Name+"/identity-provider/instances", map[string]any{
		"alias": "kubernetes", "providerId": "kubernetes", "enabled": true, "config": map[string]string{"issuer": n.cluster.URL},
	}, nil)
}

// publicKeys lets Keycloak read the cluster's keys.
func (n *node) publicKeys(t *testing.T) {
	t.Helper()
	var err error
	if n.typed, err = kubernetes.NewForConfig(n.cluster.Config); err != nil {
		t.Fatal(err)
	}
	n.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "public-issuer-discovery"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:service-account-issuer-discovery"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:unauthenticated"}},
	})
}

// runHelm runs Helm as the administrator, and waits for what it installs.
func (n *node) runHelm(t *testing.T, args ...string) {
	t.Helper()
	begin := time.Now()
	cmd := exec.CommandContext(t.Context(), n.helm, append(args, "--namespace="+stack.OperatorNamespace, "--wait", "--timeout=2m")...)
	cmd.Dir, cmd.Env = n.root, append(os.Environ(), "KUBECONFIG="+n.cluster.Kubeconfig, "HELM_CACHE_HOME="+n.dir, "HELM_CONFIG_HOME="+n.dir, "HELM_DATA_HOME="+n.dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("helm %s: %v\n%s\n%s", strings.Join(args, " "), err, output, n.describe(t))
	}
	t.Logf("helm %s took %s", args[0], time.Since(begin).Round(time.Millisecond))
}

// describe tells of pods that do not run.
func (n *node) describe(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), n.cluster.Assets.Kubectl, "--kubeconfig="+n.cluster.Kubeconfig, "get", "pods,tokengrants,events", "--all-namespaces")
	output, _ := cmd.CombinedOutput() // a failure is shown as it is
	return string(output)
}

// create makes objects, and fails the test on any error.
func (n *node) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := n.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// logs are those of a pod's only container.
func (n *node) logs(t *testing.T, namespace, pod string) string {
	t.Helper()
	raw, err := n.typed.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("logs of %s/%s: %v\n%s", namespace, pod, err, n.describe(t))
	}
	return string(raw)
}
