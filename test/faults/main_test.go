//go:build integration

package faults

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokengrant/tokengrant/hack/stack"
)

var verbose = flag.Bool("operator-logs", false, "print the operator's logs")

// cluster is what all scenarios share.
var cluster struct {
	plane *stack.ControlPlane
	admin client.Client
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
	plane, err := stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true})
	if err != nil {
		return 1, err
	}
	defer func() { _ = plane.Close() }()
	cluster.plane = plane
	if cluster.admin, err = client.New(plane.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return 1, err
	}
	if cluster.operator, cluster.kubeconfig, err = plane.InstallOperator(ctx); err != nil {
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
