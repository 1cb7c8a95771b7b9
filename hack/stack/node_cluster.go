package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ClusterOptions say how a cluster differs from the default.
type ClusterOptions struct {
	// Dir holds logs and data, in a folder for each part; empty means a temporary
	// directory, which Close removes.
	Dir      string
	Detached bool
	// Archives are image archives that pods may use: no registry is within reach.
	Archives []string
	// SyncFrequency of the kubelet; its own default of a minute when 0.
	SyncFrequency time.Duration
}

// Cluster is a whole cluster on this machine: a control plane, and one node that
// runs pods. There is no DNS: pods reach Services by their addresses, and servers
// that were started with the cluster's Place at the node's address.
type Cluster struct {
	*ControlPlane
	Node  *Node
	Tools NodeTools

	options   ClusterOptions
	kubelet   *Service // and what else runs in the node
	temporary string
}

// StartCluster returns when the node is ready for pods: in about 15 s, when
// Binaries and NodeBinaries are there. NodeUnsupported says where it cannot work.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if why := NodeUnsupported(ctx); why != "" {
		return nil, errors.New(why)
	}
	tools, err := NodeBinaries(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := Binaries(ctx); err != nil { // before the clock starts
		return nil, err
	}
	elapsed := took(ctx)
	c := &Cluster{Tools: tools, options: o}
	if o.Dir == "" {
		if c.temporary, err = os.MkdirTemp("", "tokengrant-cluster-"); err != nil {
			return nil, err
		}
		c.options.Dir = c.temporary
	}
	if err := c.boot(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cluster: %w", err), c.Close())
	}
	Sayf(ctx, "the cluster is up, its node %s is Ready (%s)", c.Node.Name, elapsed())
	return c, nil
}

// Place is one for a server beside the cluster that pods shall reach.
func (c *Cluster) Place(name string) Place {
	return Place{Dir: filepath.Join(c.options.Dir, name), Detached: c.options.Detached, Node: c.Node}
}

func (c *Cluster) boot(ctx context.Context) (err error) {
	place := c.Place("node")
	if c.Node, err = startNode(ctx, place); err != nil {
		return err
	}
	if c.ControlPlane, err = StartControlPlane(ctx, ControlPlaneOptions{Place: c.Place("control-plane")}); err != nil {
		return err
	}
	if c.kubelet, err = newService(c.Place("kubelet")); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{c.runScheduler, c.runContainerd, c.Import, c.runKubelet, c.runProxy} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withNode are the flags of the control plane of a cluster that has a node.
func (c *ControlPlane) withNode() flags {
	return flags{
		apiServer: []string{
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-certificate-authority=" + c.CAFile, "--kubelet-preferred-address-types=InternalIP",
			"--kubelet-client-certificate=" + c.file("kubelet-client.crt"), "--kubelet-client-key=" + c.file("kubelet-client.key"),
		},
		controllerManager: []string{
			"--use-service-account-credentials", "--allocate-node-cidrs", "--cluster-cidr=" + podCIDR, "--node-cidr-mask-size=24",
			"--service-cluster-ip-range=" + serviceCIDR,
		},
	}
}

// kubeletClient makes the certificate with which the API server asks a kubelet for logs.
func (c *ControlPlane) kubeletClient() error {
	certPEM, keyPEM, err := c.authority.client("kube-apiserver", []string{"system:masters"})
	if err != nil {
		return err
	}
	return writeFiles(c.place.Dir, map[string][]byte{"kubelet-client.crt": certPEM, "kubelet-client.key": keyPEM})
}

func (c *Cluster) runScheduler(ctx context.Context) error {
	_, kubeconfig, err := c.AddUser("system:kube-scheduler")
	if err != nil {
		return err
	}
	return c.kubelet.run(ctx, &server{
		name: "kube-scheduler", path: c.Tools.path("kube-scheduler"), within: time.Minute, ready: running,
		args: []string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--leader-elect=false", "--bind-address=127.0.0.1",
		},
	})
}

// running is the readiness of a server whose work shows elsewhere.
func running(context.Context) error { return nil }

func (c *Cluster) runContainerd(ctx context.Context) error {
	runc, err := lookPath("runc")
	if err != nil {
		return err
	}
	dir := c.kubelet.place.Dir
	cni := filepath.Join(dir, "cni")
	if err := os.MkdirAll(cni, 0o700); err != nil {
		return err
	}
	err = errors.Join(
		writeFiles(dir, map[string][]byte{"containerd.toml": []byte(containerdConfig(c.Tools, runc, cni))}),
		writeFiles(cni, map[string][]byte{"10-bridge.conflist": []byte(cniConfig)}),
	)
	if err != nil {
		return err
	}
	return c.kubelet.run(ctx, &server{
		name: "containerd", path: c.Tools.path("containerd"), enter: c.Node.inside(), within: 30 * time.Second,
		args: []string{"--config=" + filepath.Join(dir, "containerd.toml")},
		// It looks for its shim there.
		env:   append(os.Environ(), "PATH="+c.Tools.Dir+string(os.PathListSeparator)+os.Getenv("PATH")),
		ready: func(ctx context.Context) error { return c.ctr(ctx, "version") },
	})
}

// ctr runs containerd's client.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	line := append(c.Node.inside(), c.Tools.path("ctr"), "--address="+containerdSocket, "--namespace=k8s.io")
	line = append(line, args...)
	if output, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return nil
}

// Kill ends a container's process at once. The ID is the one in a pod's status.
func (c *Cluster) Kill(ctx context.Context, containerID string) error {
	return c.ctr(ctx, "tasks", "kill", "--signal=SIGKILL", strings.TrimPrefix(containerID, "containerd://"))
}

// Import makes the images of the archives known to the node: those of the options
// and, without a registry to pull from, all that pods may use.
func (c *Cluster) Import(ctx context.Context) error {
	pause, err := pauseArchive(ctx, c.options.Dir)
	if err != nil {
		return err
	}
	for _, archive := range append([]string{pause}, c.options.Archives...) {
		if err := c.ctr(ctx, "images", "import", "--local", archive); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) runKubelet(ctx context.Context) error {
	_, kubeconfig, err := c.AddUser("system:node:"+nodeName, "system:nodes")
	if err != nil {
		return err
	}
	if _, err := c.authority.servingFiles(c.kubelet.place); err != nil {
		return err
	}
	dir := c.kubelet.place.Dir
	err = writeFiles(dir, map[string][]byte{
		"kubelet.yaml": []byte(kubeletConfig(c.options, c.CAFile, dir, c.Node.cgroup())), "resolv.conf": nil,
	})
	if err != nil {
		return err
	}
	return c.kubelet.run(ctx, &server{
		name: "kubelet", path: c.Tools.path("kubelet"), enter: c.Node.inside(), within: time.Minute, ready: running,
		args: []string{
			"--kubeconfig=" + kubeconfig, "--config=" + filepath.Join(dir, "kubelet.yaml"), "--root-dir=/var/lib/kubelet",
			"--hostname-override=" + nodeName, "--node-ip=" + c.Node.Address,
		},
	})
}

func (c *Cluster) runProxy(ctx context.Context) error {
	_, kubeconfig, err := c.AddUser("system:kube-proxy")
	if err != nil {
		return err
	}
	config := filepath.Join(c.kubelet.place.Dir, "kube-proxy.yaml")
	if err := os.WriteFile(config, []byte(kubeProxyConfig(kubeconfig)), 0o600); err != nil {
		return err
	}
	return c.kubelet.run(ctx, &server{
		name: "kube-proxy", path: c.Tools.path("kube-proxy"), enter: c.Node.inside(), within: time.Minute,
		args:  []string{"--config=" + config},
		ready: c.nodeReady,
	})
}

// nodeReady says why pods would not run yet.
func (c *Cluster) nodeReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ready := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	if ready < 0 || node.Status.Conditions[ready].Status != corev1.ConditionTrue {
		return fmt.Errorf("the node is not Ready: %v", node.Status.Conditions)
	}
	if len(node.Spec.Taints) > 0 {
		return fmt.Errorf("the node is tainted: %v", node.Spec.Taints)
	}
	return nil
}

// Stop ends everything, the node last.
func (c *Cluster) Stop() error {
	var errs []error
	if c.kubelet != nil {
		errs = append(errs, c.kubelet.Stop())
	}
	if c.ControlPlane != nil {
		errs = append(errs, c.ControlPlane.Stop())
	}
	if c.Node != nil {
		errs = append(errs, c.Node.Stop())
	}
	return errors.Join(errs...)
}

// Close is Stop, and removes a temporary directory.
func (c *Cluster) Close() error {
	err := c.Stop()
	if c.temporary != "" {
		err = errors.Join(err, os.RemoveAll(c.temporary))
	}
	return err
}
