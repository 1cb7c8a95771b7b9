package stack

import (
	"fmt"
	"path/filepath"
)

const (
	// containerdSocket is where it is found in the node.
	containerdSocket = "/run/containerd/containerd.sock"
	// podCIDR is the whole cluster's, as it has one node.
	podCIDR = "10.244.0.0/24"
)

// containerdConfig is the least that containerd needs to run pods. It cannot
// raise anybody's priority over the out-of-memory killer, and asks no registry
// for the image that holds a pod together.
func containerdConfig(tools NodeTools, runc, cniConf string) string {
	return fmt.Sprintf(`version = 3
root = '/var/lib/containerd'
state = '/run/containerd'
[grpc]
  address = '%s'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '%s'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = '%s'
        SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['%s']
    conf_dir = '%s'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`, containerdSocket, PauseImage, runc, tools.Dir, cniConf)
}

// cniConfig connects pods with a bridge.
const cniConfig = `{"cniVersion": "1.0.0", "name": "node", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "` + podCIDR + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

// kubeletConfig leaves alone what does not have to differ; the kubelet's own
// sync frequency too, unless a test wants another.
func kubeletConfig(o ClusterOptions, caFile, dir, cgroup string) string {
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: %[1]q}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook}
tlsCertFile: %[2]q
tlsPrivateKeyFile: %[3]q
containerRuntimeEndpoint: unix://%[4]s
cgroupDriver: cgroupfs
cgroupRoot: /%[5]s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: [pods]
oomScoreAdj: 0
clusterDomain: cluster.local
resolvConf: %[6]q
podLogsDir: %[7]q
volumePluginDir: /var/lib/kubelet/plugins-exec
evictionHard: {memory.available: "100Mi", nodefs.available: "1%%", imagefs.available: "1%%", nodefs.inodesFree: "1%%"}
imageGCHighThresholdPercent: 100
`, caFile, filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key"), containerdSocket, cgroup,
		filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "pods"))
	if o.SyncFrequency > 0 {
		config += "syncFrequency: " + o.SyncFrequency.String() + "\n"
	}
	return config
}

// kubeProxyConfig touches no limit of connection tracking, which is not the node's own.
func kubeProxyConfig(kubeconfig string) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %q}
clusterCIDR: %s
hostnameOverride: %s
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, kubeconfig, podCIDR, nodeName)
}
