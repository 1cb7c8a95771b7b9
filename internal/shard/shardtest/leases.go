// Package shardtest is a stand-in for the API server's Leases, without one.
package shardtest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"
)

// Server keeps Leases of one namespace as an API server does: a write that names another version than the one there is a
// conflict. The fakes of client-go take it.
type Server struct {
	mu     sync.Mutex
	leases map[string]*coordinationv1.Lease
	writes int
}

// NewServer returns a Server without Leases.
func NewServer() *Server { return &Server{leases: map[string]*coordinationv1.Lease{}} }

// Client is one process's. It has the methods that elections use.
type Client struct {
	coordinationv1client.LeaseInterface

	server *Server
	cut    atomic.Bool
}

// Client returns a new client.
func (s *Server) Client() *Client { return &Client{server: s} }

// Cut lets nothing through any more, or all again.
func (c *Client) Cut(off bool) { c.cut.Store(off) }

// Holders gives the holder of each Lease by its name; "" where there is none.
func (s *Server) Holders() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	holders := map[string]string{}
	for name, l := range s.leases {
		holders[name] = ptr.Deref(l.Spec.HolderIdentity, "")
	}
	return holders
}

// Put makes or replaces a Lease, whatever its version.
func (s *Server) Put(l *coordinationv1.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(l)
}

var errCut = errors.New("the API server cannot be reached")

var resource = coordinationv1.Resource("leases")

// Leases implements coordinationv1client.LeasesGetter.
func (c *Client) Leases(string) coordinationv1client.LeaseInterface { return c }

func (c *Client) begin(ctx context.Context) (end func(), err error) {
	if c.cut.Load() {
		return nil, errCut
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.server.mu.Lock()
	return c.server.mu.Unlock, nil
}

// Get implements coordinationv1client.LeaseInterface.
func (c *Client) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	l := c.server.leases[name]
	if l == nil {
		return nil, apierrors.NewNotFound(resource, name)
	}
	return l.DeepCopy(), nil
}

// Create implements coordinationv1client.LeaseInterface.
func (c *Client) Create(ctx context.Context, l *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if c.server.leases[l.Name] != nil {
		return nil, apierrors.NewAlreadyExists(resource, l.Name)
	}
	return c.server.store(l), nil
}

// Update implements coordinationv1client.LeaseInterface.
func (c *Client) Update(ctx context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	switch now := c.server.leases[l.Name]; {
	case now == nil:
		return nil, apierrors.NewNotFound(resource, l.Name)
	case now.ResourceVersion != l.ResourceVersion:
		return nil, apierrors.NewConflict(resource, l.Name, errors.New("another version"))
	}
	return c.server.store(l), nil
}

// Delete implements coordinationv1client.LeaseInterface.
func (c *Client) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	switch now := c.server.leases[name]; {
	case now == nil:
		return apierrors.NewNotFound(resource, name)
	case o.Preconditions != nil && *o.Preconditions.ResourceVersion != now.ResourceVersion:
		return apierrors.NewConflict(resource, name, errors.New("another version"))
	}
	delete(c.server.leases, name)
	return nil
}

// List implements coordinationv1client.LeaseInterface.
func (c *Client) List(ctx context.Context, o metav1.ListOptions) (*coordinationv1.LeaseList, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	selector, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return nil, err
	}
	var list coordinationv1.LeaseList
	for l := range maps.Values(c.server.leases) {
		if selector.Matches(labels.Set(l.Labels)) {
			list.Items = append(list.Items, *l.DeepCopy())
		}
	}
	return &list, nil
}

func (s *Server) store(l *coordinationv1.Lease) *coordinationv1.Lease {
	l = l.DeepCopy()
	s.writes++
	l.ResourceVersion = strconv.Itoa(s.writes)
	s.leases[l.Name] = l
	return l.DeepCopy()
}
