package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// cgroupRoot is where control groups are mounted, by convention.
const cgroupRoot = "/sys/fs/cgroup"

// KeepNode is the process that keeps a Node: it makes it, says in dir that it is
// ready, and takes it away when ctx ends. It leaves nothing behind even when the
// program that started it was killed. This program must have the hidden command
// that calls InitNode.
func KeepNode(ctx context.Context, dir string, initCommand ...string) error {
	// A program with several threads that is killed sends its children SIGTERM for each of them. The second must not
	// end the cleaning up that the first began.
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	sweepCgroups()
	own := cgroup(os.Getpid())
	defer removeCgroup(context.WithoutCancel(ctx), own)
	if err := makeCgroup(own); err != nil {
		return err
	}
	network, err := freeNetwork()
	if err != nil {
		return err
	}
	inner, err := spawnInit(ctx, initCommand)
	if err != nil {
		return err
	}
	defer inner.end()
	// The name holds the number of a process, and so does not exist yet.
	if err := connect(ctx, "tg"+strconv.Itoa(os.Getpid()), network, inner.cmd.Process.Pid); err != nil {
		return err
	}
	if err := inner.prepare(nodeSetup{Dir: dir, Network: network}); err != nil {
		return err
	}
	state, err := json.Marshal(nodeState{Init: inner.cmd.Process.Pid, Address: network.node()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(stateFile(dir)+".part", state, 0o600); err != nil {
		return err
	}
	if err := os.Rename(stateFile(dir)+".part", stateFile(dir)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-inner.done:
		return errors.New("the first process of the node has ended")
	}
}

// network is 10.250.<n>.0/24: this machine is its first host and the node its second.
type network int

func (n network) host() string { return fmt.Sprintf("10.250.%d.1", int(n)) }
func (n network) node() string { return fmt.Sprintf("10.250.%d.2", int(n)) }

// freeNetwork finds one that no interface of this machine is in. It starts from
// the process's own number, so that two that look at once find two.
func freeNetwork() (network, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return 0, err
	}
	for i := range 256 {
		n := network((os.Getpid() + i) % 256)
		taken := slices.ContainsFunc(addresses, func(a net.Addr) bool {
			in, ok := a.(*net.IPNet)
			return ok && (in.Contains(net.ParseIP(n.host())) || in.IP.String() == n.host())
		})
		if !taken {
			return n, nil
		}
	}
	return 0, errors.New("all networks 10.250.0.0/24 to 10.250.255.0/24 are in use on this machine")
}

// connect puts a pair of interfaces between this machine and the node.
func connect(ctx context.Context, name string, n network, pid int) error {
	return commands(ctx,
		[]string{"ip", "link", "add", name, "type", "veth", "peer", "name", nodeInterface, "netns", strconv.Itoa(pid)},
		[]string{"ip", "address", "add", n.host() + "/24", "dev", name},
		[]string{"ip", "link", "set", name, "up"},
	)
}

func commands(ctx context.Context, lines ...[]string) error {
	for _, line := range lines {
		if output, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, bytes.TrimSpace(output))
		}
	}
	return nil
}

// initProcess is the first process of the node. It does what it is told on its
// standard input and answers on its standard output.
type initProcess struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output io.ReadCloser
	done   chan struct{}
}

func spawnInit(ctx context.Context, command []string) (*initProcess, error) {
	p := &initProcess{cmd: exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...), done: make(chan struct{})}
	output, answers, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answers.Close() // the process has its own
	p.output, p.cmd.Stdout, p.cmd.Stderr = output, answers, os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, Setpgid: true,
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := onLastingThread(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("making the node's namespaces: %w", err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in the log
	}()
	return p, nil
}

// prepare tells the process what to set up, and waits until it has.
func (p *initProcess) prepare(setup nodeSetup) error {
	if err := json.NewEncoder(p.input).Encode(setup); err != nil {
		return err
	}
	answer, err := io.ReadAll(p.output)
	if err == nil && string(answer) != initDone {
		err = errors.New("setting up the node failed, see above")
	}
	return err
}

// end kills the process, and with it everything in the node.
func (p *initProcess) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// hierarchies are the directories in which a control group has to be made: one
// for each controller in version 1, the root in version 2.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.procs")); err == nil {
		return []string{cgroupRoot}
	}
	found, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs")) // the pattern is sound
	for i, file := range found {
		found[i] = filepath.Dir(file)
	}
	return found
}

func makeCgroup(name string) error {
	for _, hierarchy := range hierarchies() {
		dir := filepath.Join(hierarchy, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // a link to a hierarchy made before
			return fmt.Errorf("making a control group: %w", err)
		}
		if filepath.Base(hierarchy) != "cpuset" {
			continue
		}
		// In version 1 a group without processors and memory takes no process.
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(hierarchy, setting))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, setting), value, 0o644)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroup removes a control group and those below it. The kernel refuses
// while the last of their processes are ending, and for good where one lives.
func removeCgroup(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		return !rmdirAll(name), nil
	})
}

// rmdirAll says whether something is left.
func rmdirAll(name string) bool {
	left := false
	for _, hierarchy := range hierarchies() {
		top := filepath.Join(hierarchy, name)
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what vanishes meanwhile need not be removed
		})
		for _, dir := range slices.Backward(dirs) {
			_ = syscall.Rmdir(dir) // the next look shows whether it worked
		}
		_, err := os.Stat(top)
		left = left || err == nil
	}
	return left
}

// sweepCgroups removes the control groups of nodes whose keeper was killed.
func sweepCgroups() {
	for _, hierarchy := range hierarchies() {
		found, _ := filepath.Glob(filepath.Join(hierarchy, cgroupPrefix+"*")) // the pattern is sound
		for _, dir := range found {
			keeper, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), cgroupPrefix))
			if err == nil && syscall.Kill(keeper, 0) != nil {
				rmdirAll(filepath.Base(dir))
			}
		}
	}
}
