package stack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"k8s.io/client-go/rest"
)

// Where config/ installs the operator, and as whom.
const (
	OperatorNamespace      = "tokengrant-system"
	OperatorServiceAccount = "tokengrant-controller-manager"
)

// InstallOperator installs what config/default does besides the CRDs and the
// Deployment: the namespace, the permissions and the policies that bound them. It returns how to use the API
// as the operator's service account, as ServiceAccount does.
func (c *ControlPlane) InstallOperator(ctx context.Context) (*rest.Config, string, error) {
	for _, what := range [][]string{{"-f", "config/manager/namespace.yaml"}, {"-k", "config/rbac"}, {"-k", "config/operator-policy"}} {
		if _, err := c.Kubectl(ctx, nil, append([]string{"apply"}, what...)...); err != nil {
			return nil, "", err
		}
	}
	return c.ServiceAccount(ctx, OperatorNamespace, OperatorServiceAccount)
}

// Kubectl runs kubectl as the administrator in the root of the checkout, with
// the given standard input, and returns what it prints.
func (c *ControlPlane) Kubectl(ctx context.Context, input io.Reader, args ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	program := c.Assets.Kubectl
	if program == "" { // KUBEBUILDER_ASSETS without it
		program = "kubectl"
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = root, input
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return string(output), nil
}
