package httpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

var (
	// ErrHostNotAllowed refuses a host that Options.AllowedHosts does not list.
	ErrHostNotAllowed = errors.New("the host is not one of those that this operator may connect to (--allowed-hosts)")
	// ErrAmbiguousHost refuses a host that is neither a name nor an address in its usual form: a decimal, octal or
	// hexadecimal IPv4 address, for example. A resolver or a proxy could read it as an address that is refused.
	ErrAmbiguousHost = errors.New("the host is neither a name nor an address in its usual form")
)

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// Hosts lists the servers that may be connected to. A nil list allows all. It is safe for concurrent use.
type Hosts struct {
	suffixes []string
	prefixes []netip.Prefix
}

// ParseHosts reads a comma-separated list of names, addresses and CIDRs. A name stands for itself and for all names
// below it; with a leading dot, for those below it only. An empty list is nil.
func ParseHosts(list string) (*Hosts, error) {
	var h Hosts
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if err := h.add(entry); err != nil {
			return nil, err
		}
	}
	if len(h.suffixes)+len(h.prefixes) == 0 {
		return nil, nil
	}
	return &h, nil
}

func (h *Hosts) add(entry string) error {
	if ip, err := netip.ParseAddr(entry); err == nil && ip.Zone() == "" {
		h.prefixes = append(h.prefixes, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		return nil
	}
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		if prefix != prefix.Masked() {
			return fmt.Errorf("%q has bits beside its mask: write %s", entry, prefix.Masked())
		}
		h.prefixes = append(h.prefixes, prefix)
		return nil
	}
	name, err := canonical(strings.TrimPrefix(entry, "."))
	if err != nil || !hostName.MatchString(name) {
		return fmt.Errorf("%q is neither a name of a host, without scheme, port and wildcard, nor an address or a CIDR", entry)
	}
	if strings.HasPrefix(entry, ".") {
		name = "." + name
	}
	h.suffixes = append(h.suffixes, name)
	return nil
}

// Check returns ErrHostNotAllowed for the host of a URL, without its port, that is not in the list whatever it resolves to.
func (h *Hosts) Check(host string) error {
	if h == nil {
		return nil
	}
	name, err := canonical(host)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHostNotAllowed, err)
	}
	allowed := h.name(name) || len(h.prefixes) > 0
	if ip, err := netip.ParseAddr(name); err == nil {
		allowed = h.address(plain(ip))
	}
	if !allowed {
		return ErrHostNotAllowed
	}
	return nil
}

// name reports whether the list has a canonical name, or one above it.
func (h *Hosts) name(name string) bool {
	return h != nil && slices.ContainsFunc(h.suffixes, func(suffix string) bool {
		return name == suffix || strings.HasSuffix(name, "."+strings.TrimPrefix(suffix, "."))
	})
}

// address reports whether the list has an address, or all that a gateway may pass it on to.
func (h *Hosts) address(ip netip.Addr) bool {
	if h == nil {
		return false
	}
	listed := func(ip netip.Addr) bool {
		return slices.ContainsFunc(h.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return listed(ip) || !slices.ContainsFunc(reached(ip), func(ip netip.Addr) bool { return !listed(ip) })
}

// canonical gives a host as net/http asks a resolver or a proxy for it, in small letters and without the final dot.
func canonical(host string) (string, error) {
	name := host
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		var err error
		if name, err = idna.Lookup.ToASCII(host); err != nil {
			return "", ErrAmbiguousHost
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name, nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if strings.ContainsAny(name, ":%") || endsInNumber(name) {
		return "", ErrAmbiguousHost
	}
	return name, nil
}

// endsInNumber reports whether programs that take IPv4 addresses as inet_aton does could take a name for one. No
// top-level domain is a number.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	digits, hexadecimal := strings.CutPrefix(last, "0x")
	if hexadecimal {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkURL checks the host of a URL before a connection is made. A proxy resolves names and connects in the operator's
// place, so that nothing is checked afterwards.
func (d dialPolicy) checkURL(u *url.URL, proxied bool) error {
	host, err := canonical(u.Hostname())
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return d.check(ip, false)
	}
	if proxied && d.allowed != nil && !d.allowed.name(host) {
		return ErrHostNotAllowed
	}
	return d.allowed.Check(host)
}
