//go:build integration

package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

const operatorNamespace = "tokengrant-system"

var verbose = flag.Bool("operator-logs", false, "print the operator's logs")

// cluster is what all scenarios share.
var cluster struct {
	plane  *stack.ControlPlane
	scheme *runtime.Scheme
	admin  client.Client
	// operator is the operator's service account, with the permissions that are shipped.
	operator   *rest.Config
	kubeconfig string
	sampler    *sampler
	links      *toxiproxy.ApiServer
	dns        *nameServer
	results    results
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (int, error) {
	logs := io.Discard
	if *verbose {
		logs = os.Stderr
	}
	ctrl.SetLogger(zap.New(zap.UseDevMode(true), zap.WriteTo(logs)))
	plane, err := stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: []string{"../../config/crd/bases"}})
	if err != nil {
		return 1, err
	}
	defer func() { _ = plane.Close() }()
	cluster.plane = plane
	if err := connect(ctx); err != nil {
		return 1, err
	}
	cluster.links = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	if cluster.dns, err = startNameServer(); err != nil {
		return 1, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cluster.sampler = &sampler{reader: cluster.admin}
	go cluster.sampler.run(ctx)
	// Scenarios wait for timeouts and backoffs most of the time: all of a table run at once.
	if err := flag.Set("test.parallel", "128"); err != nil {
		return 1, err
	}
	code := m.Run()
	cluster.results.print(os.Stdout)
	return code, cluster.results.documented("../../docs/faults.md")
}

// connect makes the clients, and gives the operator what is shipped in config/rbac.
func connect(ctx context.Context) (err error) {
	cluster.scheme = runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(cluster.scheme); err != nil {
		return err
	}
	if err := errors.Join(v1alpha1.AddToScheme(cluster.scheme), apiextensionsv1.AddToScheme(cluster.scheme)); err != nil {
		return err
	}
	if cluster.admin, err = client.New(cluster.plane.Config, client.Options{Scheme: cluster.scheme}); err != nil {
		return err
	}
	for _, what := range [][]string{{"-f", "../../config/manager/namespace.yaml"}, {"-k", "../../config/rbac"}} {
		apply := exec.CommandContext(ctx, cluster.plane.Assets.Kubectl, append([]string{"--kubeconfig", cluster.plane.Kubeconfig, "apply"}, what...)...)
		if out, err := apply.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl apply: %w: %s", err, out)
		}
	}
	cluster.operator, cluster.kubeconfig, err = cluster.plane.ServiceAccount(ctx, operatorNamespace, "tokengrant-controller-manager")
	return err
}
