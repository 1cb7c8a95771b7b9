package httpclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"syscall"

	"code.dny.dev/ssrf"
)

var (
	// ErrForbiddenAddress refuses to connect to an address that no issuer and no Nextcloud has.
	ErrForbiddenAddress = errors.New("the address is link-local, multicast, unspecified or a cloud metadata service")
	// ErrPrivateAddress refuses, with Options.DenyPrivate, to connect to an address that is not of the public internet.
	ErrPrivateAddress = errors.New("the address is private, and this operator does not connect to private addresses (--deny-private-addresses)")
)

// Metadata services hand credentials of the machine to whoever asks from it. Those outside of the
// link-local ranges, by their providers' documentation:
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd00:ec2::23"):    true, // AWS, credentials of pods
	netip.MustParseAddr("fd20:ce::254"):    true, // Google Cloud
	netip.MustParseAddr("fd00:42::42"):     true, // Scaleway
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle Cloud
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})

	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052: ends with an IPv4 address
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215: the same, with the usual /96 below it
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1: the same
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056: the IPv4 address of the router comes next
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380: ends with the IPv4 address, its bits inverted
)

// public knows the registries of special addresses (IANA); it takes any port.
var public = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())

// dialPolicy says to which addresses connections are made.
type dialPolicy struct{ denyPrivate bool }

// control is a net.Dialer.Control. The dialer calls it with the resolved address of each attempt, so no name and no DNS
// answer that changes between two look-ups gets around it.
func (d dialPolicy) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, address)
	}
	return d.check(target.Addr())
}

// checkURL judges a host that is an address already. A proxy would connect to it in our place, where no control is asked.
func (d dialPolicy) checkURL(u *url.URL) error {
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return d.check(ip)
	}
	return nil
}

func (d dialPolicy) check(ip netip.Addr) error {
	ip = embedded(ip.WithZone("").Unmap())
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || metadata[ip] || thisNetwork.Contains(ip) || ip == broadcast {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, ip)
	}
	if d.denyPrivate && public.SafeAddr(ip) != nil {
		return fmt.Errorf("%w: %s", ErrPrivateAddress, ip)
	}
	return nil
}

// embedded gives the IPv4 address to which a gateway on the way would pass on what is sent to an IPv6 one.
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() || ip == netip.IPv6Loopback() || ip.IsUnspecified() {
		return ip
	}
	b := ip.As16()
	last := [4]byte(b[12:])
	switch {
	case nat64.Contains(ip), localNAT64.Contains(ip), compatible.Contains(ip):
		return netip.AddrFrom4(last)
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(ip):
		binary.BigEndian.PutUint32(last[:], ^binary.BigEndian.Uint32(last[:]))
		return netip.AddrFrom4(last)
	}
	return ip
}
