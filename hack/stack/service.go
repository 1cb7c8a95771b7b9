package stack

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// Place says where a service lives and how long.
type Place struct {
	// Dir holds the service's logs and data; empty means a temporary directory,
	// which Close removes. Services with a Dir in common are not possible.
	Dir string
	// Detached lets the service outlive this program; Down ends it.
	Detached bool
	// Node, when not nil, is whose network the servers run in: they listen on
	// its address, where its pods reach them and this machine does.
	Node *Node
}

// listen is the host and port that a server is given to listen on.
func (p Place) listen(port int) string {
	if p.Node == nil {
		return loopback(port)
	}
	return net.JoinHostPort(p.Node.Address, strconv.Itoa(port))
}

// names are what the certificates of servers must hold besides loopback.
func (p Place) names() []string {
	if p.Node == nil {
		return nil
	}
	return []string{p.Node.Address}
}

// Service is what all started servers have in common. It is not safe for
// concurrent use.
type Service struct {
	place     Place
	temporary bool
	servers   []*server
}

func newService(place Place) (*Service, error) {
	s := &Service{place: place}
	if place.Dir != "" {
		return s, os.MkdirAll(place.Dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "tokengrant-")
	s.place.Dir, s.temporary = dir, true
	return s, err
}

// run adds a server and starts it.
func (s *Service) run(ctx context.Context, added *server) error {
	added.dir, added.detached = s.place.Dir, s.place.Detached
	if added.enter == nil && s.place.Node != nil {
		added.enter = s.place.Node.network()
	}
	s.servers = append(s.servers, added)
	return added.start(ctx)
}

// Start starts what does not run, again with the same ports and data, and
// returns when it is ready.
func (s *Service) Start(ctx context.Context) error {
	for _, server := range s.servers {
		if server.running() {
			continue
		}
		if err := server.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the processes, the last started first, and keeps their data.
// Stopping a stopped service does nothing.
func (s *Service) Stop() error {
	var errs []error
	for _, server := range slices.Backward(s.servers) {
		errs = append(errs, server.stop())
	}
	return errors.Join(errs...)
}

// Restart is Stop and Start.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Kill ends the processes at once and without a warning, and keeps their data.
func (s *Service) Kill() error {
	for _, pid := range s.PIDs() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// Close is Stop, and removes a temporary directory.
func (s *Service) Close() error {
	err := s.Stop()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.place.Dir))
	}
	return err
}

// PIDs are the process ids, in the order of the starts.
func (s *Service) PIDs() []int {
	var pids []int
	for _, server := range s.servers {
		if server.running() {
			pids = append(pids, server.cmd.Process.Pid)
		}
	}
	return pids
}

// Logs are the log files, in the order of the starts.
func (s *Service) Logs() []string {
	var logs []string
	for _, server := range s.servers {
		logs = append(logs, server.log())
	}
	return logs
}
