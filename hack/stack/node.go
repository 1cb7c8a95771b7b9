package stack

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Node is a machine inside this one: its own network, mounts, processes and host
// name, and control groups of its own. What runs in it sees this machine's files,
// but /run, /var/lib and /var/log are its own and in memory. A pair of virtual
// interfaces connects it with this machine; it has no way further than that.
//
// One process keeps it (KeepNode). When that ends, whatever runs in the node is
// killed, and the kernel takes its mounts and interfaces away with it.
type Node struct {
	*Service
	Name string
	// Address is the node's, reachable from this machine and from pods.
	Address string

	init int // the first process inside, whose namespaces are the node's
}

// nodeName is the same everywhere: a node has a host name of its own to give.
const nodeName = "node-1"

// nodeState is what KeepNode writes when the node is ready.
type nodeState struct {
	Init    int    `json:"init"`
	Address string `json:"address"`
}

func stateFile(dir string) string { return filepath.Join(dir, "node.json") }

// startNode returns when the node is there, with nothing running in it.
func startNode(ctx context.Context, place Place) (*Node, error) {
	program, err := goBuild(ctx, "./hack/dev")
	if err != nil {
		return nil, err
	}
	service, err := newService(place)
	if err != nil {
		return nil, err
	}
	n := &Node{Service: service, Name: nodeName}
	dir := service.place.Dir
	if err := os.RemoveAll(stateFile(dir)); err != nil {
		return nil, err
	}
	err = n.run(ctx, &server{
		name: "node", path: program, args: []string{"cluster", "keep-node", dir}, cleansUp: true, within: 30 * time.Second,
		ready: func(context.Context) error { return n.read(stateFile(dir)) },
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) read(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var state nodeState
	if err := json.Unmarshal(content, &state); err != nil {
		return err
	}
	n.init, n.Address = state.Init, state.Address
	return nil
}

// network is the command line that runs a program in the node's network only: on
// this machine's files, and stopped like any other process.
func (n *Node) network() []string {
	return []string{"nsenter", "--target=" + strconv.Itoa(n.init), "--net", "--"}
}

// inside is the command line that runs a program wholly in the node.
func (n *Node) inside() []string {
	return []string{"nsenter", "--target=" + strconv.Itoa(n.init), "--net", "--mount", "--pid", "--uts", "--ipc", "--"}
}

// cgroup is the name of the node's control group in each hierarchy: that of the
// process that keeps it, so that one that is left over is known by its number.
func cgroup(keeper int) string { return cgroupPrefix + strconv.Itoa(keeper) }

const cgroupPrefix = "tokengrant-"

func (n *Node) cgroup() string { return cgroup(n.PIDs()[0]) }
