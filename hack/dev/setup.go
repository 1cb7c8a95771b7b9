package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// The parts of the stack, in the order in which they need each other.
const (
	controlPlane = "control-plane"
	keycloak     = "keycloak"
	nextcloud    = "nextcloud"
	operator     = "operator"
)

var parts = []string{controlPlane, keycloak, nextcloud, operator}

// setup is the stack of one checkout. There is one at a time.
type setup struct {
	root     string // the checkout
	dir      string // logs and data, see runDir
	detached bool

	plane     *stack.ControlPlane
	keycloak  *stack.Keycloak
	nextcloud *stack.Nextcloud
	operator  *stack.Operator
}

// runDir is where the stack of this checkout lives while it runs.
func runDir() (string, error) {
	root, err := stack.Root()
	return filepath.Join(root, ".demo"), err
}

func newSetup(detached bool) (*setup, error) {
	root, err := stack.Root()
	if err != nil {
		return nil, err
	}
	dir, err := runDir()
	if err != nil {
		return nil, err
	}
	running, err := stack.Processes(dir)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(running, stack.Process.Alive) {
		return nil, errors.New("a stack of this checkout runs already; `make demo-down` stops it")
	}
	// What is left belongs to a run that was killed.
	return &setup{root: root, dir: dir, detached: detached}, os.RemoveAll(dir)
}

func (s *setup) place(part string) stack.Place {
	return stack.Place{Dir: filepath.Join(s.dir, part), Detached: s.detached}
}

// start brings up the named parts and installs the operator's objects.
func (s *setup) start(ctx context.Context, wanted []string) error {
	steps := map[string]func(context.Context) error{
		controlPlane: s.startControlPlane,
		keycloak:     s.startKeycloak,
		nextcloud:    s.startNextcloud,
		operator:     s.startOperator,
	}
	for _, part := range parts {
		if !slices.Contains(wanted, part) {
			continue
		}
		if err := steps[part](ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) startControlPlane(ctx context.Context) (err error) {
	s.plane, err = stack.StartControlPlane(ctx, stack.ControlPlaneOptions{
		Place: s.place(controlPlane),
		CRDs:  true,
	})
	return err
}

// startKeycloak lets it trust the cluster, where there is one.
func (s *setup) startKeycloak(ctx context.Context) (err error) {
	o := stack.KeycloakOptions{Place: s.place(keycloak), Realms: [][]byte{realm.Export}}
	if s.plane != nil {
		o.Features = stack.FederationFeatures(stack.DefaultKeycloakVersion())
		o.Truststore = []string{s.plane.CAFile}
	}
	if s.keycloak, err = stack.StartKeycloak(ctx, o); err != nil || s.plane == nil {
		return err
	}
	if _, err := s.plane.Kubectl(ctx, nil, "create", "clusterrolebinding", "public-issuer-discovery",
		"--clusterrole=system:service-account-issuer-discovery", "--group=system:unauthenticated"); err != nil {
		return err
	}
	if err := s.keycloak.TrustCluster(ctx, realm.Name, s.plane.URL); err != nil {
		return err
	}
	stack.Sayf(ctx, "Keycloak takes tokens of the cluster's ServiceAccounts: a grant needs no secret")
	return nil
}

func (s *setup) startNextcloud(ctx context.Context) (err error) {
	if s.keycloak == nil {
		return errors.New("nextcloud needs keycloak beside it")
	}
	s.nextcloud, err = stack.StartNextcloud(ctx, stack.NextcloudOptions{
		Place: s.place(nextcloud), Issuer: s.keycloak.Issuer(realm.Name),
	})
	return err
}

// startOperator installs the permissions as in a cluster and runs the manager
// as the service account they are for.
func (s *setup) startOperator(ctx context.Context) error {
	if s.plane == nil {
		return errors.New("operator needs control-plane beside it")
	}
	_, kubeconfig, err := s.plane.InstallOperator(ctx)
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "the CRDs, the namespace %s, config/rbac and config/operator-policy are installed", stack.OperatorNamespace)
	s.operator, err = stack.StartOperator(ctx, stack.OperatorOptions{Place: s.place(operator), Kubeconfig: kubeconfig})
	return err
}

// stop ends everything and removes the logs.
func (s *setup) stop() error {
	err := s.halt()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// abandon ends everything after a failure and keeps the logs.
func (s *setup) abandon(ctx context.Context) {
	if err := s.halt(); err != nil {
		stack.Sayf(ctx, "stopping: %v", err)
	}
}

func (s *setup) halt() error {
	var errs []error
	if s.operator != nil {
		errs = append(errs, s.operator.Stop())
	}
	if s.nextcloud != nil {
		errs = append(errs, s.nextcloud.Stop())
	}
	if s.keycloak != nil {
		errs = append(errs, s.keycloak.Stop())
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(errs...)
}

func (s *setup) printHandles(out io.Writer) {
	if s.plane != nil {
		fmt.Fprintf(out, "\nexport KUBECONFIG=%s\n", s.plane.Kubeconfig)
	}
	if s.keycloak != nil {
		fmt.Fprintf(out, "# Keycloak   %s (admin / admin)\n", s.keycloak.URL)
	}
	if s.nextcloud != nil {
		fmt.Fprintf(out, "# Nextcloud  %s\n", s.nextcloud.URL)
	}
	fmt.Fprintf(out, "# logs       %s\n# stop with  make demo-down   (or: go run ./hack/dev down)\n", s.dir)
}
