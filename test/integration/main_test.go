// Package integration tests the operator on a real API server: with a scripted issuer for what an issuer can do
// wrong, and with a real Keycloak for what it does. Nextcloud is the stand-in, or the one of NEXTCLOUD_URL.
package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/logging"
	"github.com/tokengrant/tokengrant/test/audit"
)

var (
	keycloakVersion = flag.String("keycloak-version", stack.DefaultKeycloakVersion(), "version of the real Keycloak")
	verbose         = flag.Bool("operator-logs", false, "print the operator's logs")
)

// cluster is the API server that all tests of a run share; each test has namespaces of its own.
var cluster struct {
	admin    client.WithWatch
	operator *rest.Config
	// administrator may do everything.
	administrator *rest.Config
	// kubeconfig is the administrator's file.
	kubeconfig string
	// url is the API server's, which is the issuer of ServiceAccount tokens; caFile what signed its certificate.
	url, caFile string
}

// keycloak is started by the first test that needs it.
var keycloak struct {
	once   sync.Once
	server *stack.Keycloak
	err    error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (int, error) {
	ctrl.SetLogger(logging.New(zap.UseDevMode(true), zap.Level(zapcore.Level(-10)), zap.WriteTo(io.MultiWriter(logs(*verbose), &leaks))))
	dir, err := os.MkdirTemp("", "tokengrant-audit-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log, err := audit.NewLog(dir, operatorName)
	if err != nil {
		return 1, err
	}
	plane, err := stack.StartControlPlane(ctx, stack.ControlPlaneOptions{
		CRDs: true,
		// The plugin asks whether who makes an owner reference that blocks deletion may set finalizers of the owner.
		APIServerFlags: append(log.Flags(), "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"),
	})
	if err != nil {
		return 1, err
	}
	defer func() { _ = plane.Close() }()
	defer func() {
		for _, server := range []*stack.Keycloak{keycloak.server, legacy.server, mutual.server} {
			if server != nil {
				_ = server.Close()
			}
		}
	}()
	cluster.url, cluster.caFile, cluster.administrator, cluster.kubeconfig = plane.URL, plane.CAFile, plane.Config, plane.Kubeconfig
	if cluster.admin, err = client.NewWithWatch(plane.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return 1, err
	}
	if cluster.operator, _, err = plane.AddUser(operatorName); err != nil {
		return 1, err
	}
	if err := grantRole(ctx, cluster.admin, operatorName); err != nil {
		return 1, err
	}
	// The tests wait for servers most of the time, more than there are processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		return 1, err
	}
	leaks.Plant("an encryption key", firstKey, secondKey)
	leaks.Plant("a password", "alice-password", "visitor-password")
	stop, err := leaks.Follow(ctx, cluster.admin)
	if err != nil {
		return 1, err
	}
	before := goleak.IgnoreCurrent()
	code := m.Run()
	running := leftRunning(before)
	stop()
	fmt.Println(leaks.Planted())
	return code, errors.Join(leaks.Found(), privileges(log), running)
}

// grantRole gives the operator exactly the permissions that are shipped, so that a missing one fails a test.
func grantRole(ctx context.Context, c client.Client, user string) error {
	role, err := shippedRole()
	if err != nil {
		return err
	}
	if err := c.Create(ctx, role); err != nil {
		return err
	}
	return c.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "manager"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
}
