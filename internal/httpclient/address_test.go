package httpclient

import (
	"errors"
	"testing"
)

func TestTheDialerRefusesAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"10.1.2.3:443":                    false,
		"127.0.0.1:8080":                  false,
		"[::1]:443":                       false,
		"[fd00::1]:443":                   false, // a unique local address: a cluster's own
		"[2001:db8::1]:443":               false,
		"169.254.169.254:80":              true, // where a name that resolves to it ends up
		"169.254.1.1:443":                 true,
		"[::ffff:169.254.169.254]:80":     true,
		"[64:ff9b::169.254.169.254]:80":   true,
		"[64:ff9b::10.0.0.1]:80":          false,
		"[fe80::1]:443":                   true,
		"[fe80::1%eth0]:443":              true,
		"[fd00:ec2::254]:80":              true,
		"[fd20:ce::254]:80":               true,
		"100.100.100.200:80":              true,
		"[::ffff:100.100.100.200]:80":     true,
		"168.63.129.16:80":                true,
		"192.0.0.192:80":                  true,
		"224.0.0.1:443":                   true,
		"[ff02::1]:443":                   true,
		"[ff05::2]:443":                   true,
		"0.0.0.0:443":                     true,
		"[::]:443":                        true,
		"[::ffff:0.0.0.0]:443":            true,
		"[64:ff9b::0.0.0.0]:443":          true,
		"id.example.com:443":              true, // not resolved: never seen by a Control, so refused
		"/var/run/secrets/some-socket":    true,
		"[64:ff9b:0:0:0:0:a9fe:a9fe]:443": true,
	} {
		if err := refuseForbidden("tcp", address, nil); errors.Is(err, ErrForbiddenAddress) != refused {
			t.Errorf("%s: %v; want refused %t", address, err, refused)
		}
	}
}

func TestTheRefusalReachesTheCaller(t *testing.T) {
	for _, u := range []string{"https://169.254.169.254/", "https://[fe80::1]/", "https://[::ffff:169.254.169.254]/", "https://0.0.0.0/"} {
		if _, err := get(t, client(t, Options{}), u); !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s: %v, want ErrForbiddenAddress", u, err)
		}
	}
}
