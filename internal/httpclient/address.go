package httpclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

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

	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052: ends with an IPv4 address
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215: the same, below prefixes of any length
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 §2.5.5.1: ends with an IPv4 address
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765 §2.1: the same
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056: the IPv4 address of the router comes next
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380: ends with the IPv4 address, its bits inverted
)

// public knows the registries of special addresses (IANA); it takes any port.
var public = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())

// dialPolicy says to which addresses connections are made.
type dialPolicy struct {
	denyPrivate bool
	allowed     *Hosts
}

// checkDial checks the resolved address, with its port, of a connection. named says that the list of allowed hosts has
// the name that was resolved.
func (d dialPolicy) checkDial(address string, named bool) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, address)
	}
	return d.check(target.Addr(), named)
}

func (d dialPolicy) check(ip netip.Addr, named bool) error {
	ip = plain(ip)
	targets := reached(ip)
	switch {
	case forbidden(ip), slices.ContainsFunc(targets, forbidden):
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, ip)
	case d.allowed.address(ip):
		return nil
	case d.allowed != nil && !named:
		return fmt.Errorf("%w: %s", ErrHostNotAllowed, ip)
	case d.denyPrivate && slices.ContainsFunc(targets, private):
		return fmt.Errorf("%w: %s", ErrPrivateAddress, ip)
	}
	return nil
}

func forbidden(ip netip.Addr) bool {
	return ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || metadata[ip] || thisNetwork.Contains(ip) || ip == broadcast
}

func private(ip netip.Addr) bool { return public.SafeAddr(ip) != nil }

// plain gives an address without zone, an IPv4 one that IPv6 maps as IPv4.
func plain(ip netip.Addr) netip.Addr { return ip.WithZone("").Unmap() }

// reached gives the IPv4 addresses to which a gateway may pass on what is sent to an IPv6 one, or the address itself.
func reached(ip netip.Addr) []netip.Addr {
	if !ip.Is6() || ip == netip.IPv6Loopback() || ip.IsUnspecified() {
		return []netip.Addr{ip}
	}
	b := ip.As16()
	last := [4]byte(b[12:])
	switch {
	case nat64.Contains(ip), translated.Contains(ip), compatible.Contains(ip):
		return []netip.Addr{netip.AddrFrom4(last)}
	case localNAT64.Contains(ip):
		return ofLocalNAT64(b)
	case sixToFour.Contains(ip):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:6]))}
	case teredo.Contains(ip):
		binary.BigEndian.PutUint32(last[:], ^binary.BigEndian.Uint32(last[:]))
		return []netip.Addr{netip.AddrFrom4(last)}
	}
	return []netip.Addr{ip}
}

// ofLocalNAT64 gives the IPv4 address for each length that the gateway's prefix may have (RFC 6052 §2.2: 48, 56, 64 or 96
// bits). A length that reads an address of 0.0.0.0/8 is left out if another reads none: nothing is there.
func ofLocalNAT64(b [16]byte) []netip.Addr {
	all := []netip.Addr{
		netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}),
		netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}),
		netip.AddrFrom4([4]byte(b[9:13])),
		netip.AddrFrom4([4]byte(b[12:])),
	}
	if used := slices.DeleteFunc(slices.Clone(all), thisNetwork.Contains); len(used) > 0 {
		return used
	}
	return all
}
