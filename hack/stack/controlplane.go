package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ControlPlaneOptions say how a control plane differs from the default.
type ControlPlaneOptions struct {
	Place
	// CRDs installs those of this checkout before the controller manager starts:
	// its garbage collector asks for new kinds only every 30 s, so the objects of
	// a CRD that comes later are not collected until then.
	CRDs bool
	// APIServerFlags are added to kube-apiserver's command line, e.g. "--v=4".
	APIServerFlags []string
}

// ControlPlane is etcd, kube-apiserver and kube-controller-manager. Without a
// node (see Cluster) objects behave as in any cluster, but pods stay Pending;
// the controllers are then those for garbage collection, namespaces, service
// accounts, their tokens and CA bundles, and ClusterRole aggregation. RBAC is on.
type ControlPlane struct {
	*Service
	// Config and Kubeconfig (a file) are those of a cluster administrator.
	Config     *rest.Config
	Kubeconfig string
	// URL is also the issuer of service account tokens; its discovery document
	// is public only after system:service-account-issuer-discovery is bound.
	URL string
	// EtcdURL is where etcd answers its clients, without a certificate.
	EtcdURL string
	// CAFile holds the certificate that signs the API server's.
	CAFile string
	// Assets are the binaries in use.
	Assets Assets

	authority *authority
}

const serviceCIDR = "10.96.0.0/16"

// apiServerNames are those by which pods reach the API server, the first address of serviceCIDR among them.
var apiServerNames = []string{"10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}

// StartControlPlane returns when the API server is ready, the CRDs are served
// and the default service account exists: in seconds, when Binaries are there.
func StartControlPlane(ctx context.Context, o ControlPlaneOptions) (*ControlPlane, error) {
	assets, err := Binaries(ctx)
	if err != nil {
		return nil, err
	}
	elapsed := took(ctx)
	service, err := newService(o.Place)
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{Service: service, Assets: assets}
	if err := c.boot(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("control plane: %w", err), c.Stop())
	}
	Sayf(ctx, "etcd and kube-apiserver are up at %s (%s)", c.URL, elapsed())
	return c, nil
}

func (c *ControlPlane) boot(ctx context.Context, o ControlPlaneOptions) error {
	if err := c.identities(ctx); err != nil {
		return err
	}
	etcdURL, err := c.runEtcd(ctx)
	if err != nil {
		return err
	}
	if err := c.runAPIServer(ctx, etcdURL, append(c.kind().apiServer, o.APIServerFlags...)); err != nil {
		return err
	}
	if o.CRDs {
		if err := c.installCRDs(); err != nil {
			return err
		}
	}
	if c.Assets.ControllerManager == "" {
		Sayf(ctx, "KUBEBUILDER_ASSETS has no kube-controller-manager: nothing collects garbage")
		return nil
	}
	return c.runControllerManager(ctx)
}

func (c *ControlPlane) installCRDs() error {
	root, err := Root()
	if err != nil {
		return err
	}
	paths := []string{filepath.Join(root, "config", "crd", "bases")}
	_, err = envtest.InstallCRDs(c.Config, envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true})
	return err
}

// flags are those that depend on whether there is a node.
type flags struct{ apiServer, controllerManager []string }

func (c *ControlPlane) kind() flags {
	if c.place.Node != nil {
		return c.withNode()
	}
	return flags{
		// A loopback address is refused as an endpoint of the kubernetes
		// Service, and without a node nobody uses that.
		apiServer: []string{"--authorization-mode=RBAC", "--endpoint-reconciler-type=none"},
		controllerManager: []string{
			"--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller," +
				"serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller",
		},
	}
}

// identities makes the certificates, the key that signs service account tokens,
// and the administrator.
func (c *ControlPlane) identities(ctx context.Context) error {
	authority, err := newAuthority("tokengrant-kubernetes")
	if err != nil {
		return err
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	servingCert, servingKey, err := authority.serving(append(c.place.names(), apiServerNames...)...)
	if err != nil {
		return err
	}
	accountsCert, accountsKey, err := authority.client("service-accounts", nil)
	if err != nil {
		return err
	}
	c.authority, c.URL, c.CAFile = authority, "https://"+c.place.listen(port), c.file("ca.crt")
	err = writeFiles(c.place.Dir, map[string][]byte{
		"ca.crt": authority.bundle(), "serving.crt": servingCert, "serving.key": servingKey,
		"accounts.crt": accountsCert, "accounts.key": accountsKey,
	})
	if err != nil {
		return err
	}
	if c.place.Node != nil {
		if err := c.kubeletClient(); err != nil {
			return err
		}
	}
	c.Config, c.Kubeconfig, err = c.AddUser("admin", "system:masters")
	return err
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.place.Dir, name) }

// AddUser makes a client certificate for a user and returns how to use it, also
// as the path of a kubeconfig. What the user may do is RBAC's business.
func (c *ControlPlane) AddUser(name string, groups ...string) (*rest.Config, string, error) {
	certPEM, keyPEM, err := c.authority.client(name, groups)
	if err != nil {
		return nil, "", err
	}
	return c.kubeconfig(name, &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM})
}

func (c *ControlPlane) kubeconfig(name string, user *clientcmdapi.AuthInfo) (*rest.Config, string, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["tokengrant"] = &clientcmdapi.Cluster{Server: c.URL, CertificateAuthorityData: c.authority.bundle()}
	config.AuthInfos[name] = user
	config.Contexts["tokengrant"] = &clientcmdapi.Context{Cluster: "tokengrant", AuthInfo: name}
	config.CurrentContext = "tokengrant"
	file := c.file(name + ".kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return nil, "", err
	}
	client, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	if err != nil {
		return nil, "", err
	}
	// client-go's own limit of 5 requests a second is for production clusters.
	client.QPS, client.Burst = 500, 1000
	return client, file, nil
}

func (c *ControlPlane) runEtcd(ctx context.Context) (url string, err error) {
	client, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	peer, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	url = "http://" + c.place.listen(client)
	c.EtcdURL = url
	return url, c.run(ctx, &server{
		name: "etcd",
		path: c.Assets.Etcd,
		args: []string{
			"--data-dir=" + c.file("etcd"),
			"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
			"--listen-peer-urls=http://" + c.place.listen(peer),
			"--unsafe-no-fsync", // the data need not survive the machine
			"--log-level=warn",
		},
		within: 30 * time.Second,
		ready:  func(ctx context.Context) error { return answers(ctx, http.DefaultClient, url+"/readyz") },
	})
}

func (c *ControlPlane) runAPIServer(ctx context.Context, etcdURL string, more []string) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	address, port, err := splitURL(c.URL)
	if err != nil {
		return err
	}
	return c.run(ctx, &server{
		name: "kube-apiserver",
		path: c.Assets.APIServer,
		args: append([]string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=" + address, "--secure-port=" + port, "--advertise-address=" + address,
			"--tls-cert-file=" + c.file("serving.crt"), "--tls-private-key-file=" + c.file("serving.key"),
			"--client-ca-file=" + c.CAFile,
			"--service-account-issuer=" + c.URL, "--service-account-jwks-uri=" + c.URL + "/openid/v1/jwks",
			"--service-account-key-file=" + c.file("accounts.crt"),
			"--service-account-signing-key-file=" + c.file("accounts.key"),
			"--service-cluster-ip-range=" + serviceCIDR,
		}, more...),
		within: time.Minute,
		ready: func(ctx context.Context) error {
			return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		},
	})
}

func (c *ControlPlane) runControllerManager(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	return c.run(ctx, &server{
		name: "kube-controller-manager",
		path: c.Assets.ControllerManager,
		args: append([]string{
			"--kubeconfig=" + c.Kubeconfig, "--leader-elect=false", "--secure-port=0",
			"--service-account-private-key-file=" + c.file("accounts.key"), "--root-ca-file=" + c.CAFile,
		}, c.kind().controllerManager...),
		within: time.Minute,
		ready: func(ctx context.Context) error {
			_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
			return err
		},
	})
}
