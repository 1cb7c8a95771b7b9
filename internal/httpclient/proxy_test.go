package httpclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// proxy records what it is asked to connect to, and answers every request with a redirect to the metadata service.
type proxy struct{ asked []string }

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
	w.WriteHeader(http.StatusFound)
}

func startProxy(t *testing.T) (*proxy, string) {
	t.Helper()
	p := &proxy{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server.URL
}

// TestThroughAProxy checks what a proxy is asked to connect to, by CONNECT and in absolute form. The proxy itself may be private.
func TestThroughAProxy(t *testing.T) {
	p, proxyURL := startProxy(t)
	for name, tc := range map[string]struct {
		allowed, url string
		want         error
		asked        []string
	}{
		"a name":                           {url: "http://id.example.com/", asked: []string{"GET http://id.example.com/"}},
		"a name, by https":                 {url: "https://id.example.com/", want: ErrProtocol, asked: []string{"CONNECT id.example.com:443"}},
		"a public address":                 {url: "https://8.8.8.8/", want: ErrProtocol, asked: []string{"CONNECT 8.8.8.8:443"}},
		"link-local":                       {url: "http://169.254.169.254/", want: ErrForbiddenAddress},
		"link-local, by https":             {url: "https://169.254.169.254/", want: ErrForbiddenAddress},
		"private":                          {url: "http://10.0.0.1/", want: ErrPrivateAddress},
		"private, by https":                {url: "https://10.0.0.1/", want: ErrPrivateAddress},
		"this network":                     {url: "https://0.1.2.3/", want: ErrForbiddenAddress},
		"IPv4-compatible":                  {url: "https://[::169.254.169.254]/", want: ErrForbiddenAddress},
		"a local NAT64 prefix":             {url: "https://[64:ff9b:1:a9fe:a9:fe00::]/", want: ErrForbiddenAddress},
		"with a zone":                      {url: "https://[fe80::1%25eth0]/", want: ErrForbiddenAddress},
		"mapped, with a zone":              {url: "https://[::ffff:169.254.169.254%25eth0]/", want: ErrForbiddenAddress},
		"one decimal number":               {url: "https://2852039166/", want: ErrAmbiguousHost},
		"hexadecimal":                      {url: "https://0xA9FEA9FE/", want: ErrAmbiguousHost},
		"octal":                            {url: "https://0251.0376.0251.0376/", want: ErrAmbiguousHost},
		"two numbers":                      {url: "https://169.16689662/", want: ErrAmbiguousHost},
		"mixed":                            {url: "https://169.0xfe.43518/", want: ErrAmbiguousHost},
		"with a final dot":                 {url: "https://169.254.169.254./", want: ErrAmbiguousHost},
		"in wide characters":               {url: "https://169。254。169。254/", want: ErrForbiddenAddress},
		"in wide characters, percent":      {url: "https://169%E3%80%82254%E3%80%82169%E3%80%82254/", want: ErrForbiddenAddress},
		"a name that is none":              {url: "https://\u2024.example/", want: ErrAmbiguousHost},
		"a listed name":                    {allowed: "example.com", url: "http://id.example.com/", asked: []string{"GET http://id.example.com/"}},
		"a name that is not listed":        {allowed: "example.com", url: "https://id.example.org/", want: ErrHostNotAllowed},
		"a name that the proxy resolves":   {allowed: "8.8.8.0/24", url: "https://id.example.org/", want: ErrHostNotAllowed},
		"a listed address":                 {allowed: "10.0.0.0/8", url: "http://10.0.0.1/", asked: []string{"GET http://10.0.0.1/"}},
		"an address that is not listed":    {allowed: "10.0.0.0/8", url: "http://8.8.8.8/", want: ErrHostNotAllowed},
		"a listed address, always refused": {allowed: "0.0.0.0/0", url: "http://169.254.169.254/", want: ErrForbiddenAddress},
	} {
		t.Run(name, func(t *testing.T) {
			for _, form := range []string{proxyURL, strings.TrimPrefix(proxyURL, "http://")} {
				t.Setenv("HTTP_PROXY", form)
				t.Setenv("HTTPS_PROXY", form)
				p.asked = nil
				c := client(t, Options{DenyPrivate: true, AllowHTTP: true, AllowedHosts: hosts(t, tc.allowed)})
				if _, err := get(t, c, tc.url); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
					t.Errorf("error %v, want %v", err, tc.want)
				}
				if !slices.Equal(p.asked, tc.asked) {
					t.Errorf("the proxy was asked for %q, want %q", p.asked, tc.asked)
				}
			}
		})
	}
}

// TestTheProxyIsNoServer names the proxy's own private address as the server.
func TestTheProxyIsNoServer(t *testing.T) {
	p, proxyURL := startProxy(t)
	proxyURL = strings.Replace(proxyURL, "127.0.0.1", "localhost", 1) // never asked through a proxy
	t.Setenv("HTTP_PROXY", proxyURL)
	if _, err := get(t, client(t, Options{DenyPrivate: true}), proxyURL); !errors.Is(err, ErrPrivateAddress) || len(p.asked) > 0 {
		t.Errorf("error %v, want %v; the proxy was asked for %q", err, ErrPrivateAddress, p.asked)
	}
}
