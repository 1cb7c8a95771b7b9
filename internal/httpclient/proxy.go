package httpclient

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// throughProxy is the key of a context for the proxy that a request goes through.
type throughProxy struct{}

// proxyOf is the Proxy of a transport: the policy has chosen it.
func proxyOf(r *http.Request) (*url.URL, error) {
	proxy, _ := r.Context().Value(throughProxy{}).(*url.URL)
	return proxy, nil
}

// dial connects to a server, or to the proxy on the way. The proxy may be private: whoever runs the operator has chosen
// it. A transport keeps connections through a proxy apart from others.
func (d dialPolicy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if ctx.Value(throughProxy{}) != nil {
		d = dialPolicy{}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	name, err := canonical(host)
	named := err == nil && d.allowed.name(name)
	// The dialer calls Control with the resolved address of each attempt, so that neither a name nor a DNS answer that
	// changes between two look-ups gets around it.
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: func(_, address string, _ syscall.RawConn) error {
		return d.checkDial(address, named)
	}}
	return dialer.DialContext(ctx, network, address)
}
