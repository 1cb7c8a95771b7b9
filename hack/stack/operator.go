package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fernet/fernet-go"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// OperatorOptions say as whom the operator runs and where.
type OperatorOptions struct {
	Place
	// Kubeconfig should be that of ControlPlane.InstallOperator, so that a
	// permission missing in config/rbac shows.
	Kubeconfig string
	// Program is another manager, as one of another version; that of this checkout is built and run when it is empty.
	Program string
	// Flags are added to the manager's command line.
	Flags []string
}

// Operator is a running manager.
type Operator struct {
	*Service
	// MetricsURL is https with a self-signed certificate and asks for a token of
	// someone who may get /metrics.
	MetricsURL string
}

// StartOperator builds cmd/manager and runs it, leader election and all.
func StartOperator(ctx context.Context, o OperatorOptions) (*Operator, error) {
	program := o.Program
	if program == "" {
		var err error
		if program, err = goBuild(ctx, "./cmd/manager"); err != nil {
			return nil, err
		}
	}
	elapsed := took(ctx)
	metrics, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	probes, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	service, err := newService(o.Place)
	if err != nil {
		return nil, err
	}
	keys, err := encryptionKeys(service.place.Dir)
	if err != nil {
		return nil, err
	}
	m := &Operator{Service: service, MetricsURL: "https://" + loopback(metrics) + "/metrics"}
	err = m.run(ctx, &server{
		name: "manager", path: program, within: 30 * time.Second,
		args: append([]string{
			"--kubeconfig=" + o.Kubeconfig,
			"--operator-namespace=" + OperatorNamespace,
			"--encryption-keys-file=" + keys,
			"--metrics-bind-address=" + loopback(metrics),
			"--health-probe-bind-address=" + loopback(probes),
		}, o.Flags...),
		ready: func(ctx context.Context) error {
			return answers(ctx, http.DefaultClient, "http://"+loopback(probes)+"/readyz")
		},
	})
	if err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	Sayf(ctx, "the operator is up (%s)", elapsed())
	return m, nil
}

// encryptionKeys makes the operator's file of Fernet keys, once.
func encryptionKeys(dir string) (string, error) {
	file := filepath.Join(dir, "encryption-keys")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	var key fernet.Key
	if err := key.Generate(); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, []byte(key.Encode()+"\n"), 0o600)
}

// ServiceAccount returns how to use the API as an existing service account, also
// as the path of a kubeconfig, with a token that lives a day.
func (c *ControlPlane) ServiceAccount(ctx context.Context, namespace, name string) (*rest.Config, string, error) {
	admin, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 60 * 60)}}
	answer, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("token of service account %s/%s: %w", namespace, name, err)
	}
	return c.kubeconfig(name, &clientcmdapi.AuthInfo{Token: answer.Status.Token})
}
