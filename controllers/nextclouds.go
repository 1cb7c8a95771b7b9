package controllers

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/limit"
)

// unusedFor is how long a client is kept that nobody asks for.
const unusedFor = time.Hour

// nextcloudLimits bound the requests to one Nextcloud that are under way. One that hangs keeps only those from others, and
// no namespace uses up the slots of all.
var nextcloudLimits = limit.Limits{Slots: 16, Share: true}

// nextcloudClients keeps one client for each Nextcloud: its connections and its slots.
type nextcloudClients struct {
	mu      sync.Mutex
	clients map[nextcloudKey]*nextcloudClient
}

// nextcloudKey has a hash of the authorities: they are up to 1 MiB of a tenant's.
type nextcloudKey struct {
	host        string
	authorities [sha256.Size]byte
}

type nextcloudClient struct {
	http  *http.Client
	host  string
	slots *limit.Limiter
	used  time.Time
}

func (n *nextcloudClients) client(target string, authorities []byte, i *Issuers) (*nextcloudClient, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("not a URL")
	}
	key := nextcloudKey{u.Host, sha256.Sum256(authorities)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(i.Clock)
	if c, ok := n.clients[key]; ok {
		c.used = i.Clock.Now()
		return c, nil
	}
	hc, err := httpclient.New(httpclient.Options{
		RootCAs: authorities, AllowHTTP: i.AllowHTTP, DenyPrivate: i.DenyPrivate, AllowedHosts: i.AllowedHosts, UserAgent: i.UserAgent,
	})
	if err != nil {
		return nil, fmt.Errorf("building a client: %w", err)
	}
	if n.clients == nil {
		n.clients = map[nextcloudKey]*nextcloudClient{}
	}
	c := &nextcloudClient{http: hc, host: u.Host, slots: limit.New(i.Clock, nextcloudLimits), used: i.Clock.Now()}
	n.clients[key] = c
	return c, nil
}

// sweep throws out what nobody has asked for. Whoever still holds such a client can go on with it.
func (n *nextcloudClients) sweep(c clock.PassiveClock) {
	for key, held := range n.clients {
		if c.Since(held.used) > unusedFor {
			held.http.CloseIdleConnections()
			delete(n.clients, key)
		}
	}
}
