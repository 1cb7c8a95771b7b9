package httpclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheDialerRefusesAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"8.8.8.8:443":                        false,
		"10.1.2.3:443":                       false,
		"127.0.0.1:8080":                     false,
		"[::1]:443":                          false,
		"[fd00::1]:443":                      false, // a unique local address: a cluster's own
		"[2001:db8::1]:443":                  false,
		"169.254.169.254:80":                 true, // where a name that resolves to it ends up
		"169.254.1.1:443":                    true,
		"[::ffff:169.254.169.254]:80":        true,
		"[64:ff9b::169.254.169.254]:80":      true,
		"[64:ff9b::10.0.0.1]:80":             false,
		"[fe80::1]:443":                      true,
		"[fe80::1%eth0]:443":                 true,
		"[fd00:ec2::254]:80":                 true,
		"[fd20:ce::254]:80":                  true,
		"100.100.100.200:80":                 true,
		"[::ffff:100.100.100.200]:80":        true,
		"168.63.129.16:80":                   true,
		"192.0.0.192:80":                     true,
		"224.0.0.1:443":                      true,
		"[ff02::1]:443":                      true,
		"[ff05::2]:443":                      true,
		"0.0.0.0:443":                        true,
		"[::]:443":                           true,
		"[::ffff:0.0.0.0]:443":               true,
		"[64:ff9b::0.0.0.0]:443":             true,
		"id.example.com:443":                 true, // not resolved: never seen by a Control, so refused
		"/var/run/secrets/some-socket":       true,
		"[64:ff9b:0:0:0:0:a9fe:a9fe]:443":    true,
		"[64:ff9b:1::169.254.169.254]:80":    true, // a NAT64 of one's own
		"[2002:a9fe:a9fe::1]:80":             true, // 6to4
		"[2002:808:808::1]:443":              false,
		"[2001:0:1234::5601:5601]:80":        true, // Teredo
		"[::169.254.169.254]:80":             true,
		"[fd00:ec2::23]:80":                  true,
		"[fd00:42::42]:80":                   true,
		"0.1.2.3:443":                        true,
		"255.255.255.255:443":                true,
		"0.0.0.1:443":                        true,
		"0.255.255.255:443":                  true,
		"1.0.0.0:443":                        false,
		"[::0.0.0.2]:443":                    true,
		"[::8.8.8.8]:443":                    false,
		"[::100.100.100.200%eth0]:80":        true,
		"[::ffff:0:169.254.169.254]:80":      true, // IPv4-translated (SIIT)
		"[::ffff:0:8.8.8.8]:443":             false,
		"[64:ff9b::a9fe:a9fe%eth0]:80":       true,
		"[64:ff9b:1::8.8.8.8]:443":           false,
		"[64:ff9b:1:a9fe:a9:fe00::]:80":      true, // a local NAT64 prefix of 48 bits (RFC 6052 §2.2)
		"[64:ff9b:1:808:8:800::]:443":        false,
		"[64:ff9b:1:12a9:fe:a9fe::]:80":      true, // of 56 bits
		"[64:ff9b:1:1234:a9:fea9:fe00:0]:80": true, // of 64 bits
		"[64:ff9b:1:2:3:4:a9fe:a9fe]:80":     true, // of 96 bits
		"[64:ff9b:1::]:443":                  true,
	} {
		if err := (dialPolicy{}).checkDial(address, false); errors.Is(err, ErrForbiddenAddress) != refused || (err != nil) != refused {
			t.Errorf("%s: %v; want refused %t", address, err, refused)
		}
	}
}

func TestTheDialerRefusesPrivateAddressesWhereItIsTold(t *testing.T) {
	for address, want := range map[string]error{
		"8.8.8.8:443":                 nil,
		"[2606:4700::1111]:443":       nil,
		"[64:ff9b::8.8.8.8]:443":      nil,
		"10.1.2.3:443":                ErrPrivateAddress,
		"172.31.255.255:443":          ErrPrivateAddress,
		"172.32.0.1:443":              nil,
		"192.168.0.1:443":             ErrPrivateAddress,
		"100.64.0.1:443":              ErrPrivateAddress,
		"127.0.0.1:8080":              ErrPrivateAddress,
		"[::1]:443":                   ErrPrivateAddress,
		"[fd00::1]:443":               ErrPrivateAddress,
		"[::ffff:10.0.0.1]:443":       ErrPrivateAddress,
		"[64:ff9b::10.0.0.1]:443":     ErrPrivateAddress,
		"[64:ff9b:1::10.0.0.1]:443":   ErrPrivateAddress,
		"[64:ff9b:1:a00:0:100::]:443": ErrPrivateAddress, // a prefix of 48 bits
		"[64:ff9b:1::8.8.8.8]:443":    nil,
		"[::ffff:0:10.0.0.1]:443":     ErrPrivateAddress,
		"[2002:a00:1::]:443":          ErrPrivateAddress,
		"[::10.0.0.1]:443":            ErrPrivateAddress,
		"[2001:0:1234::f5ff:fffe]:80": ErrPrivateAddress, // Teredo of 10.0.0.1
		"240.0.0.1:443":               ErrPrivateAddress,
		"169.254.169.254:80":          ErrForbiddenAddress, // always
		"[fe80::1]:443":               ErrForbiddenAddress,
	} {
		if err := (dialPolicy{denyPrivate: true}).checkDial(address, false); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v; want %v", address, err, want)
		}
	}
}

func TestTheRefusalReachesTheCaller(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	named := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) // judged when it has been resolved
	for u, want := range map[string]error{
		"https://169.254.169.254/":          ErrForbiddenAddress,
		"https://[fe80::1]/":                ErrForbiddenAddress,
		"https://[::ffff:169.254.169.254]/": ErrForbiddenAddress,
		"https://0.0.0.0/":                  ErrForbiddenAddress,
		server.URL:                          ErrPrivateAddress,
		named:                               ErrPrivateAddress,
	} {
		if _, err := get(t, client(t, Options{DenyPrivate: true}), u); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", u, err, want)
		}
	}
	if _, err := get(t, client(t, Options{}), named); err != nil {
		t.Errorf("a private address, and no word against it: %v", err)
	}
}
