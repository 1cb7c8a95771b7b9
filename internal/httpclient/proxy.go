package httpclient

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// wiring gives the way to a server: through the proxy of the environment where there is one. The policy judges what is
// connected to. The proxy itself may be private: whoever runs the operator has chosen it, and no user.
func wiring(d dialPolicy) (proxy func(*http.Request) (*url.URL, error), connect dial) {
	environment := httpproxy.FromEnvironment()
	chosen := addresses(environment.HTTPProxy, environment.HTTPSProxy)
	choose := environment.ProxyFunc()
	direct, toProxy := dialer(d), dialer(dialPolicy{})
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
		func(ctx context.Context, network, address string) (net.Conn, error) {
			if chosen[address] {
				return toProxy(ctx, network, address)
			}
			return direct(ctx, network, address)
		}
}

func dialer(d dialPolicy) dial {
	return (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: d.control}).DialContext
}

// addresses gives host:port of proxies, as net/http dials them.
func addresses(proxies ...string) map[string]bool {
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	found := map[string]bool{}
	for _, proxy := range proxies {
		u, err := url.Parse(proxy)
		if err != nil || ports[u.Scheme] == "" || u.Host == "" {
			u, err = url.Parse("http://" + proxy) // The scheme may be left out.
		}
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = ports[u.Scheme]
		}
		found[net.JoinHostPort(u.Hostname(), port)] = true
	}
	return found
}
