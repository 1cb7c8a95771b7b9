package httpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrForbiddenAddress refuses to connect to an address that no issuer and no Nextcloud has.
var ErrForbiddenAddress = errors.New("the address is link-local, multicast, unspecified or a cloud metadata service")

// Metadata services hand credentials of the machine to whoever asks from it. Those outside of the
// link-local ranges, by their providers' documentation:
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd20:ce::254"):    true, // Google Cloud
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle Cloud
}

// nat64 is the well-known prefix of RFC 6052: its last 32 bits are an IPv4 address.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// refuseForbidden is a net.Dialer.Control. The dialer calls it with the resolved address of each attempt,
// so no name and no DNS answer that changes between two look-ups gets around it.
func refuseForbidden(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, address)
	}
	ip := target.Addr().WithZone("").Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || metadata[ip] {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, ip)
	}
	return nil
}
