package controllers

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/hostgate"
	"github.com/tokengrant/tokengrant/internal/httpclient"
)

// unusedFor is how long a client is kept that nobody asks for.
const unusedFor = time.Hour

// nextcloudClients keeps one client for each Nextcloud: its connections, and the gate that lets only some wait for it.
type nextcloudClients struct {
	mu      sync.Mutex
	clients map[nextcloudKey]*nextcloudClient
}

type nextcloudKey struct{ host, authorities string }

type nextcloudClient struct {
	http *http.Client
	used time.Time
}

func (n *nextcloudClients) client(target string, authorities []byte, i *Issuers) (*http.Client, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("not a URL")
	}
	key := nextcloudKey{u.Host, string(authorities)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(i.Clock)
	if c, ok := n.clients[key]; ok {
		c.used = i.Clock.Now()
		return c.http, nil
	}
	hc, err := httpclient.New(httpclient.Options{
		RootCAs: authorities, AllowHTTP: i.AllowHTTP, DenyPrivate: i.DenyPrivate, AllowedHosts: i.AllowedHosts, UserAgent: i.UserAgent,
		Wrap: func(wire http.RoundTripper) http.RoundTripper { return hostgate.New(wire, i.Clock) },
	})
	if err != nil {
		return nil, fmt.Errorf("building a client: %w", err)
	}
	if n.clients == nil {
		n.clients = map[nextcloudKey]*nextcloudClient{}
	}
	n.clients[key] = &nextcloudClient{hc, i.Clock.Now()}
	return hc, nil
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
