package admin

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/limeload/limeload/pkg/config"
)

// hostList is the hosts that requests may name, as the header Host does. A page of any
// name can have its name server answer with this machine's address (DNS rebinding): for
// the browser what it asks for then is of its own origin, and only the name tells.
type hostList struct {
	any   bool // a unix socket, which no browser reaches: clients make up a host
	names []config.HostName
}

// newHostList is that of an API at listen, which may name its host itself.
func newHostList(listen config.AdminListen, hosts []config.HostName, local bool) hostList {
	l := hostList{any: local, names: slices.Clone(hosts)}
	if name, err := config.ParseHostName(listen.Address.Host); err == nil {
		l.names = append(l.names, name)
	}
	return l
}

// allow accepts, besides the names, what no name server can rebind; and no host at all, as
// some checks of HTTP/1.0 have it, and no browser.
func (l hostList) allow(host string) bool {
	if l.any || host == "" {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return true
	}
	name, err := config.ParseHostName(host)
	return err == nil && (name == "localhost" || slices.Contains(l.names, name))
}
