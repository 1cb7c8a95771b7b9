package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// NodeTools are the programs of a node, in one directory.
type NodeTools struct{ Dir string }

func (t NodeTools) path(name string) string { return filepath.Join(t.Dir, name) }

// NodeBinaries returns the programs that a node needs besides those of Binaries:
// pinned by hack/kubernetes too, and built at the first use.
func NodeBinaries(ctx context.Context) (NodeTools, error) {
	dir, err := built(ctx, "kubernetes", "node", func(ctx context.Context, module, out string) error {
		return buildTools(ctx, module, out, "kubelet, containerd, the CNI plugins, kube-proxy and kube-scheduler",
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"k8s.io/kubernetes/cmd/kube-proxy",
			"k8s.io/kubernetes/cmd/kube-scheduler",
			"k8s.io/kubernetes/cmd/kubelet")
	})
	if err != nil {
		return NodeTools{}, fmt.Errorf("building the node's programs from hack/kubernetes: %w", err)
	}
	return NodeTools{Dir: dir}, nil
}

// nodePrograms are those of this machine that a node, or the building of images
// for it, needs, and the Debian packages that have them.
var nodePrograms = []struct{ name, in string }{
	{"buildah", "buildah"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"nsenter", "util-linux"},
	{"runc", "runc"},
}

// NodeUnsupported says in one sentence why a Cluster cannot run here; "" when it can.
func NodeUnsupported(ctx context.Context) string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "a cluster with a node needs root on Linux"
	}
	var missing []string
	for _, program := range nodePrograms {
		if _, err := lookPath(program.name); err != nil {
			missing = append(missing, program.in)
		}
	}
	if len(missing) > 0 {
		return "a cluster with a node needs the Debian packages " + strings.Join(missing, ", ") + ": apt-get install them"
	}
	if output, err := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("a cluster with a node needs CAP_SYS_ADMIN, to make namespaces (%s)", strings.TrimSpace(string(output)))
	}
	if kinds, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(kinds), "\toverlay\n") {
		return "a cluster with a node needs the file system overlay: modprobe overlay"
	}
	return ""
}

// lookPath also looks where system programs are that a PATH may lack.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if !errors.Is(err, exec.ErrNotFound) {
		return path, err
	}
	return exec.LookPath("/usr/sbin/" + name)
}
