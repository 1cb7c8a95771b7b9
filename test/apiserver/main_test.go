//go:build integration

package apiserver

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// shared is what all tests use. They run one after the other, because some change the CRDs.
var shared struct {
	plane *stack.ControlPlane
	admin client.Client
	// helm is the path of Helm by its major version.
	helm map[int]string
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (_ int, err error) {
	shared.helm = map[int]string{}
	for _, major := range []int{3, 4} {
		if shared.helm[major], err = stack.Helm(ctx, major); err != nil {
			return 1, err
		}
	}
	if shared.plane, err = stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true}); err != nil {
		return 1, err
	}
	defer func() { _ = shared.plane.Close() }()
	if shared.admin, err = client.New(shared.plane.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
