package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	nodeInterface = "eth0"
	// initDone is what the first process answers when the node is set up.
	initDone = "done"
)

// nodeSetup is what the first process of a node needs to know.
type nodeSetup struct {
	Dir     string
	Network network
}

// InitNode is the first process of a Node: it sets up its namespaces as it is told
// on in, answers on out, and then waits for orphans. It returns only an error.
func InitNode(ctx context.Context, in io.Reader, out io.WriteCloser) error {
	if os.Getpid() != 1 {
		return errors.New("only the first process of a node may do this")
	}
	var setup nodeSetup
	if err := json.NewDecoder(in).Decode(&setup); err != nil {
		return err
	}
	if err := setup.mounts(); err != nil {
		return err
	}
	if err := setup.network(ctx); err != nil {
		return err
	}
	if _, err := io.WriteString(out, initDone); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	reap()
	return nil
}

// reap takes the status of processes whose parents have gone, for ever.
func reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil) // an error says that there is none
		}
	}
}

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
}

func (s nodeSetup) mounts() error {
	for _, own := range ownDirs {
		if strings.HasPrefix(s.Dir+"/", own+"/") {
			return fmt.Errorf("%s is below %s, which a node has of its own: set TMPDIR to another folder", s.Dir, own)
		}
	}
	cgroups := filepath.Join(s.Dir, "cgroup")
	if err := os.MkdirAll(cgroups, 0o700); err != nil {
		return err
	}
	list := []mount{
		// Nothing of what follows gets out.
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		// sysfs shows the interfaces of the network it was mounted in.
		{cgroupRoot, cgroups, "", unix.MS_BIND | unix.MS_REC},
		{"sysfs", "/sys", "sysfs", 0},
		{cgroups, cgroupRoot, "", unix.MS_BIND | unix.MS_REC},
	}
	for _, dir := range ownDirs {
		list = append(list, mount{"tmpfs", dir, "tmpfs", 0})
	}
	if err := mountAll(list...); err != nil {
		return err
	}
	if err := unix.Unmount(cgroups, unix.MNT_DETACH); err != nil {
		return err
	}
	// What the kubelet mounts is seen by containerd's containers. Not before: shared mounts go together.
	if err := mountAll(mount{"none", "/", "", unix.MS_REC | unix.MS_SHARED}); err != nil {
		return err
	}
	if err := s.kernelSettings(); err != nil {
		return err
	}
	return unix.Sethostname([]byte(nodeName))
}

func mountAll(list ...mount) error {
	for _, m := range list {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// ownDirs are empty in a node, so that its programs leave nothing on this machine.
var ownDirs = []string{"/run", "/var/lib", "/var/log"}

// kernelSettings covers those that the kubelet would set, which are the whole
// machine's, with files that hold what it wants to read.
func (s nodeSetup) kernelSettings() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(s.Dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("covering the kernel's %s: %w", name, err)
		}
	}
	return nil
}

// network gives the node its address. What pods send to this machine carries the
// node's address, because this machine knows no way to a pod.
func (s nodeSetup) network(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return err
	}
	return commands(ctx,
		[]string{"ip", "link", "set", "lo", "up"},
		[]string{"ip", "address", "add", s.Network.node() + "/24", "dev", nodeInterface},
		[]string{"ip", "link", "set", nodeInterface, "up"},
		[]string{"ip", "route", "add", "default", "via", s.Network.host()},
		[]string{"nft", "add", "table", "ip", "tokengrant"},
		[]string{"nft", "add", "chain", "ip", "tokengrant", "postrouting", "{ type nat hook postrouting priority srcnat; }"},
		[]string{"nft", "add", "rule", "ip", "tokengrant", "postrouting", "ip", "saddr", podCIDR, "oifname", nodeInterface, "masquerade"},
	)
}
