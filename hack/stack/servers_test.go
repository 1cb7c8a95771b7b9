//go:build integration

package stack

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// parentVariable makes the test binary a program that starts a server and waits
// to be killed.
const parentVariable = "STACK_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		actAsParent(dir)
	}
	if dir := os.Getenv(nodeParentVariable); dir != "" {
		actAsNodeParent(dir)
	}
	os.Exit(m.Run())
}

func actAsParent(dir string) {
	if _, err := StartControlPlane(context.Background(), ControlPlaneOptions{Place: Place{Dir: dir}}); err != nil {
		panic(err)
	}
	select {}
}

// nodeParentVariable makes the test binary a program that starts a node and waits to be killed.
const nodeParentVariable = "STACK_TEST_NODE_PARENT"

func actAsNodeParent(dir string) {
	if _, err := startNode(context.Background(), Place{Dir: dir}); err != nil {
		panic(err)
	}
	select {}
}

func TestControlPlaneCollectsGarbageAndEnforcesRBAC(t *testing.T) {
	ctx := t.Context()
	plane, err := StartControlPlane(ctx, ControlPlaneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, plane.Service) })
	admin := clientFor(t, plane.Config)

	owner := createConfigMap(t, admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}})
	createConfigMap(t, admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:            "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}})
	configMaps := admin.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	if err := configMaps.Delete(ctx, "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) bool {
		_, err := configMaps.Get(ctx, "owned", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})

	config, _, err := plane.AddUser("alice", "developers")
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientFor(t, config).CoreV1().Secrets(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "alice"`) {
		t.Errorf("a user without a role listed secrets: got %v, want Forbidden for alice", err)
	}

	if err := plane.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
		t.Errorf("objects did not survive a restart: %v", err)
	}
}

func TestTwoKeycloaksRunAtOnceAndKeepTheirKeysOverARestart(t *testing.T) {
	ctx := t.Context()
	realm := []byte(`{"realm":"garden","enabled":true}`)
	first, err := StartKeycloak(ctx, KeycloakOptions{Realms: [][]byte{realm}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, first.Service) })
	second, err := StartKeycloak(ctx, KeycloakOptions{Realms: [][]byte{realm}, HTTPS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, second.Service) })

	before := signingKeys(t, first)
	if before == signingKeys(t, second) {
		t.Error("two instances share the keys of a realm")
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := answers(ctx, http.DefaultClient, first.URL); err == nil {
		t.Error("a stopped Keycloak answers")
	}
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, signingKeys(t, first)); diff != "" {
		t.Errorf("keys changed over a restart (-before +after):\n%s", diff)
	}
	if err := first.Admin(ctx, http.MethodPost, "/garden/clients", map[string]any{"clientId": "bee"}, nil); err != nil {
		t.Fatal(err)
	}
	var clients []struct{ ClientID string }
	if err := first.Admin(ctx, http.MethodGet, "/garden/clients?clientId=bee", nil, &clients); err != nil || len(clients) != 1 {
		t.Errorf("clients named bee: got %v, %v, want one", clients, err)
	}
}

func TestNothingOutlivesAProgramThatWasKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plane")
	kill := startParent(t, parentVariable, dir)
	var servers []Process
	eventually(t, func(context.Context) bool {
		var err error
		servers, err = Processes(filepath.Dir(dir))
		return err == nil && len(servers) == 3
	})
	kill()
	for _, server := range servers {
		eventually(t, func(context.Context) bool { return !server.Alive() })
	}
}

// startParent runs this test binary as the program that a variable makes of it, and returns what kills it.
func startParent(t *testing.T, variable, dir string) (kill func()) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), executable)
	parent.Env = append(os.Environ(), variable+"="+dir)
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := parent.Wait(); !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
}

func TestDownEndsADetachedService(t *testing.T) {
	ctx := t.Context()
	root := t.TempDir()
	plane, err := StartControlPlane(ctx, ControlPlaneOptions{Place: Place{Dir: filepath.Join(root, "plane"), Detached: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := Down(ctx, root); err != nil {
		t.Fatal(err)
	}
	for _, pid := range plane.PIDs() {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
	if _, err := os.Stat(root); err == nil {
		t.Errorf("%s still exists", root)
	}
}

func signingKeys(t *testing.T, k *Keycloak) string {
	t.Helper()
	var keys struct{ Active map[string]string }
	if err := k.Admin(t.Context(), http.MethodGet, "/garden/keys", nil, &keys); err != nil {
		t.Fatal(err)
	}
	if keys.Active["RS256"] == "" {
		t.Fatalf("no RS256 key among %v", keys.Active)
	}
	return keys.Active["RS256"]
}

func closed(t *testing.T, s *Service) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func createConfigMap(t *testing.T, client *kubernetes.Clientset, object *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	created, err := client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func eventually(t *testing.T, condition func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) { return condition(ctx), nil })
	if err != nil {
		t.Fatal(err)
	}
}
