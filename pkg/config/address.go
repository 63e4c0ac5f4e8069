package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Networks of an Address, as package net names them.
const (
	TCP  = "tcp"
	Unix = "unix"
)

// Address is where something listens or is dialled. It is comparable; its zero
// value is no address.
type Address struct {
	Network string // TCP or Unix

	// Host is an IP address without brackets, in its canonical form, or a host
	// name as it was written. As an address to listen on, "" is every address
	// of both families, 0.0.0.0 every IPv4 and :: every IPv6 address.
	Host string
	Port uint16 // 0, to listen on, is any free port

	Path string // of a unix socket: absolute, cleaned, at most 107 bytes
}

// maxUnixPath is what fits into sun_path with its final NUL (unix(7)).
const maxUnixPath = 107

// ParseAddress parses host:port, [v6]:port, :port and unix:/path. Ports are
// numbers, 0..65535; whether port 0 or an empty host make sense depends on the
// use and is left to Validate.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, errors.New("address is empty; want host:port, [v6]:port or unix:/path")
	}
	if p, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(p)
	}
	return parseTCP(s)
}

// IsZero says whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// String is the address as ParseAddress reads it; "" for the zero value.
func (a Address) String() string {
	switch a.Network {
	case Unix:
		return "unix:" + a.Path
	case TCP:
		return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	}
	return ""
}

// IP returns the address of a host that is not a name; else it is not valid.
func (a Address) IP() netip.Addr {
	ip, _ := netip.ParseAddr(a.Host)
	return ip
}

// IsLocal says whether only this machine reaches the address: a unix socket,
// a loopback address or localhost.
func (a Address) IsLocal() bool {
	return a.Network == Unix || isLocalhost(a.Host) || a.IP().IsLoopback()
}

// String is the value as admin.listen writes it.
func (l AdminListen) String() string {
	if l.Default {
		return "default"
	}
	return l.Address.String()
}

// parseAdminListen parses the value of admin.listen.
func parseAdminListen(s string) (AdminListen, error) {
	switch s {
	case "":
		return AdminListen{}, nil
	case "default":
		return AdminListen{Default: true}, nil
	}
	a, err := ParseAddress(s)
	return AdminListen{Address: a}, err
}

func parseUnix(p string) (Address, error) {
	switch {
	case !path.IsAbs(p):
		return Address{}, fmt.Errorf("unix path %q is not absolute; want unix:/path", p)
	case !utf8.ValidString(p) || strings.ContainsFunc(p, notPrint):
		return Address{}, fmt.Errorf("unix path %q holds what cannot be printed", p)
	}
	if p = path.Clean(p); len(p) > maxUnixPath {
		return Address{}, fmt.Errorf("unix path is %d bytes long; the system allows %d", len(p), maxUnixPath)
	}
	return Address{Network: Unix, Path: p}, nil
}

func parseTCP(s string) (Address, error) {
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return Address{}, fmt.Errorf("%q has a scheme; write host:port without %q", s, scheme+"://")
	}
	host, port, err := splitHostPort(s)
	if err != nil {
		return Address{}, err
	}
	if host, err = parseHost(host, strings.HasPrefix(s, "[")); err != nil {
		return Address{}, err
	}
	n, err := parsePort(port)
	if err != nil {
		return Address{}, err
	}
	return Address{Network: TCP, Host: host, Port: n}, nil
}

// splitHostPort is net.SplitHostPort with errors that say what to write.
func splitHostPort(s string) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, port, ok = strings.Cut(rest, "]")
		if !ok {
			return "", "", fmt.Errorf("%q has no closing bracket; want [v6]:port", s)
		}
		if port, ok = strings.CutPrefix(port, ":"); !ok {
			return "", "", fmt.Errorf("%q has no port; want [v6]:port", s)
		}
		return host, port, nil
	}
	switch i := strings.LastIndexByte(s, ':'); {
	case i < 0:
		return "", "", fmt.Errorf("%q has no port; want host:port", s)
	case strings.IndexByte(s, ':') != i:
		return "", "", bracketsMissing(s, s[:i], s[i+1:])
	default:
		return s[:i], s[i+1:], nil
	}
}

// bracketsMissing is the error for two colons or more outside of brackets; it
// knows what to write where the text reads as an IPv6 address and a port.
func bracketsMissing(s, host, port string) error {
	if ip, err := netip.ParseAddr(host); err == nil && isDigits(port) {
		return fmt.Errorf("%q is IPv6 without brackets; want \"[%s]:%s\"", s, ip, port)
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return fmt.Errorf("%q is IPv6 without brackets and port; want \"[%s]:port\"", s, ip)
	}
	return fmt.Errorf("%q has too many colons; want host:port or [v6]:port", s)
}

// parseHost returns the canonical form of an IP address, or a host name as it
// is. Brackets belong to IPv6 and to nothing else.
func parseHost(host string, bracketed bool) (string, error) {
	ip, err := netip.ParseAddr(host)
	switch {
	case bracketed && (err != nil || ip.Is4()):
		return "", fmt.Errorf("%q is not an IPv6 address; brackets are for those alone", host)
	case err == nil && ip.Zone() != "" && !isName(ip.Zone()):
		return "", fmt.Errorf("%q has a zone that is not an interface's name", host)
	case err == nil:
		return ip.Unmap().String(), nil
	case host == "*":
		return "", errors.New(`"*" is not a host; every address is written ":port"`)
	case host != "" && !isHostName(host):
		return "", fmt.Errorf("%q is neither an IP address nor a host name", host)
	}
	return host, nil
}

// parsePort parses 0..65535. Its error names 1 as the least: that is what one
// would write.
func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, errors.New("port is empty; want a number of 1..65535")
	}
	if !isDigits(s) {
		return 0, fmt.Errorf("port %q is not a number of 1..65535", s)
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %s is out of range 1..65535", s)
	}
	return uint16(n), nil
}

// parseSource parses an address to dial from.
func parseSource(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	case ip.IsUnspecified() || ip.IsMulticast():
		return netip.Addr{}, fmt.Errorf("%s is not an address of this machine", ip)
	case ip.Zone() != "" && !isName(ip.Zone()):
		return netip.Addr{}, fmt.Errorf("%q has a zone that is not an interface's name", s)
	}
	return ip.Unmap(), nil
}

// HostName is the name of a host as names are compared: in lower case, without the dot
// that may end it.
type HostName string

// ParseHostName parses the name of a host, which is no IP address and has no port.
func ParseHostName(s string) (HostName, error) {
	_, notIP := netip.ParseAddr(strings.Trim(s, "[]"))
	switch {
	case s == "":
		return "", errors.New(`host name is empty; want one such as "lb1.example.net"`)
	case notIP == nil:
		return "", fmt.Errorf("%q is an IP address; want a host name, as IP addresses need none", s)
	case strings.Contains(s, ":"):
		return "", fmt.Errorf("%q has more than a host name; want it without scheme and port", s)
	case !isHostName(s):
		return "", fmt.Errorf("%q is not a host name", s)
	}
	return HostName(strings.ToLower(strings.TrimSuffix(s, "."))), nil
}

// isHostName says whether s is made of DNS labels (RFC 1123, and the
// underscore that is common in practice). A name whose last label is a number
// is an IPv4 address gone wrong, such as 10.0.0.256.
func isHostName(s string) bool {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, notLabel) {
			return false
		}
	}
	return len(s) <= 253 && !isDigits(labels[len(labels)-1])
}

func notLabel(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' }

func isLocalhost(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

func isDigits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func isAlnum(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

func notPrint(r rune) bool { return !unicode.IsPrint(r) }

// Overlaps says whether sockets that listen on a and b would claim the same
// address and port.
func (a Address) Overlaps(b Address) bool {
	if a.Network != b.Network || a.IsZero() {
		return false
	}
	if a.Network == Unix {
		return a.Path == b.Path
	}
	return a.Port == b.Port && a.Port != 0 && (covers(a.Host, b.Host) || covers(b.Host, a.Host))
}

// covers says whether listening on host a takes in some of what host b means.
func covers(a, b string) bool {
	switch {
	case a == "" || sameHost(a, b):
		return true
	case isLocalhost(a):
		return b == loopback4.String() || b == loopback6.String()
	}
	on, _ := netip.ParseAddr(a)
	return on.IsUnspecified() && slices.ContainsFunc(hostIPs(b), func(ip netip.Addr) bool {
		return ip.Is4() == on.Is4()
	})
}

// reaches says whether a dial to a may end at a socket that listens on l. With
// l on every address only this machine's loopback is known to be one of them:
// the others cannot be told without asking the system.
func (a Address) reaches(l Address) bool {
	if a.Network != l.Network || a.IsZero() {
		return false
	}
	if a.Network == Unix {
		return a.Path == l.Path
	}
	if a.Port != l.Port {
		return false
	}
	return sameHost(a.Host, l.Host) || dialLandsOn(a.Host, l.Host)
}

// dialLandsOn compares what a dialled host stands for with a listening host.
func dialLandsOn(host, listen string) bool {
	on, _ := netip.ParseAddr(listen)
	for _, ip := range hostIPs(host) {
		if ip.IsUnspecified() {
			ip = loopbackOf(ip)
		}
		wildcard := listen == "" || on.IsUnspecified() && on.Is4() == ip.Is4()
		if wildcard && ip.IsLoopback() || on == ip || isLocalhost(listen) && ip == loopbackOf(ip) {
			return true
		}
	}
	return false
}

// sameHost compares host names and canonical addresses; "" is no host.
func sameHost(a, b string) bool {
	return a != "" && strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// hostIPs returns what is known of a host without asking anyone: an address is
// itself, localhost is both loopbacks, other names are nothing.
func hostIPs(host string) []netip.Addr {
	if isLocalhost(host) {
		return []netip.Addr{loopback4, loopback6}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}
	}
	return nil
}

var loopback4, loopback6 = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()

// loopbackOf is where a dial to the unspecified address of ip's family ends.
func loopbackOf(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return loopback4
	}
	return loopback6
}
