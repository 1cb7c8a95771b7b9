package httpclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func hosts(t *testing.T, list string) *Hosts {
	t.Helper()
	h, err := ParseHosts(list)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestListsOfHostsThatAreRefused(t *testing.T) {
	for list, says := range map[string]string{
		"*.example.com":           `"*.example.com"`,
		"https://id.example.com":  "https",
		"id.example.com:443":      "443",
		"example.com,10.0.0.0/33": "10.0.0.0/33",
		"10.0.0.1/8":              "10.0.0.0/8", // bits beside the mask: a mistake
		"10.0.0":                  "10.0.0",
		"0x0a.0.0.1":              "0x0a.0.0.1",
		"fe80::1%eth0":            "eth0",
		"example..com":            "example..com",
		"exa mple.com":            "exa mple.com",
	} {
		if _, err := ParseHosts(list); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want one that says %q", list, err, says)
		}
	}
}

func TestNoListOfHostsAllowsAll(t *testing.T) {
	for _, list := range []string{"", " ", ","} {
		if h := hosts(t, list); h != nil || h.Check("id.example.com") != nil || h.Check("10.0.0.1") != nil {
			t.Errorf("%q: %v", list, h)
		}
	}
}

// TestHostsThatAreAllowed checks the URL, before any name is resolved.
func TestHostsThatAreAllowed(t *testing.T) {
	const names, both = "example.com, .Internal, bücher.example", "example.com,10.0.0.0/8,fd00::/8,192.0.2.7"
	for _, tc := range []struct {
		list, host string
		allowed    bool
	}{
		{names, "example.com", true},
		{names, "id.example.com", true},
		{names, "ID.Example.COM.", true},
		{names, "badexample.com", false},
		{names, "example.com.evil.org", false},
		{names, "internal", false}, // a leading dot: only what is below it
		{names, "id.internal", true},
		{names, "xn--bcher-kva.example", true},
		{names, "www.bücher.example", true},
		{names, "10.0.0.1", false},
		{names, "2852039166", false},
		{both, "10.1.2.3", true},
		{both, "11.1.2.3", false},
		{both, "192.0.2.7", true},
		{both, "192.0.2.8", false},
		{both, "fd00::1", true},
		{both, "fe80::1%eth0", false},
		{both, "::ffff:10.0.0.1", true},
		{both, "64:ff9b::10.0.0.1", true},
		{both, "64:ff9b::11.0.0.1", false},
		{both, "id.example.org", true}, // known when it has been resolved
		{"64:ff9b::/96", "64:ff9b::10.0.0.1", true},
	} {
		if err := hosts(t, tc.list).Check(tc.host); errors.Is(err, ErrHostNotAllowed) == tc.allowed || (err == nil) != tc.allowed {
			t.Errorf("%q of %q: %v, want allowed %t", tc.host, tc.list, err, tc.allowed)
		}
	}
}

// TestAllowedHostsOnTheWire connects to a server at 127.0.0.1, by its address and by a name that resolves to it.
func TestAllowedHostsOnTheWire(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	named := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for _, tc := range []struct {
		list, url   string
		denyPrivate bool
		want        error
	}{
		{list: "localhost", url: named},
		{list: "localhost", url: server.URL, want: ErrHostNotAllowed},
		{list: "127.0.0.0/8,::1", url: server.URL},
		{list: "127.0.0.0/8,::1", url: named},
		{list: "10.0.0.0/8", url: named, want: ErrHostNotAllowed},
		{list: "10.0.0.0/8", url: server.URL, want: ErrHostNotAllowed},
		{list: "example.com", url: named, want: ErrHostNotAllowed},
		{list: "localhost", url: named, denyPrivate: true, want: ErrPrivateAddress},
		{list: "localhost,127.0.0.0/8,::1", url: named, denyPrivate: true}, // a listed address may be private
		{list: "0.0.0.0/0,::/0", url: "https://169.254.169.254/", want: ErrForbiddenAddress},
		{list: "0.0.0.0/0,::/0", url: "https://[64:ff9b::169.254.169.254]/", want: ErrForbiddenAddress},
	} {
		c := client(t, Options{AllowedHosts: hosts(t, tc.list), DenyPrivate: tc.denyPrivate})
		if _, err := get(t, c, tc.url); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s with %q, private denied %t: %v, want %v", tc.url, tc.list, tc.denyPrivate, err, tc.want)
		}
	}
}
