package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/limeload/limeload/pkg/config"
)

// Reserve tells that the process listens on a with something that is none of its
// listeners, such as the admin API: AddBackend refuses it as it does those. It must be
// called before anybody can add one.
func (s *Server) Reserve(a net.Addr) {
	switch a := a.(type) {
	case *net.TCPAddr:
		s.reserved = append(s.reserved, ours{at: a.AddrPort()})
	case *net.UnixAddr:
		s.reserved = append(s.reserved, ours{unix: a.Name})
	}
}

// ours is one place where this process listens.
type ours struct {
	at   netip.AddrPort
	unix string // path, instead of at
	one  bool   // the unspecified address is that of one family
}

// suitable refuses the addresses at which no backend of ours can be meant: a typing
// error, or an attempt to reach this machine's own metadata service through us. A host
// name is what it stands for now, each of its addresses; one that nobody can look up now
// stands for nothing.
func (s *Server) suitable(ctx context.Context, a config.Address) error {
	why := ""
	switch {
	case a.Network == config.Unix:
		if s.ownsSocket(a.Path) {
			why = "is one of our own listeners"
		}
	case a.Port == 0:
		why = "has port 0, which cannot be connected to"
	case a.IP().IsValid():
		why = s.against(netip.AddrPortFrom(a.IP(), a.Port))
	case isName(a):
		found := answers{}
		s.names.lookUp(ctx, map[string]bool{a.Host: false}, found)
		for _, ip := range found[a.Host].ips {
			if why = s.against(netip.AddrPortFrom(ip, a.Port)); why != "" {
				why = fmt.Sprintf("is %s, which %s", ip, why)
				break
			}
		}
	}
	if why != "" {
		return fmt.Errorf("%w: address %s %s", ErrRefused, a, why)
	}
	return nil
}

// against is what speaks against a backend at a; empty if nothing does.
func (s *Server) against(a netip.AddrPort) string {
	ip := a.Addr()
	switch {
	case s.owns(a):
		return "is one of our own listeners"
	case ip.IsUnspecified():
		return "is no host's address"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is not the address of one host"
	case ip.IsLinkLocalUnicast():
		return "is link-local"
	}
	return ""
}

// ours are all places where this process listens.
func (s *Server) ours() []ours {
	all := s.reserved[:len(s.reserved):len(s.reserved)]
	for _, l := range s.state.Load().listeners {
		for _, b := range l.bound {
			all = append(all, ours{at: b.Addr(), unix: b.unix, one: b.from.Host != ""})
		}
	}
	return all
}

// owns reports whether a dial to a ends at ourselves.
func (s *Server) owns(a netip.AddrPort) bool {
	for _, o := range s.ours() {
		on := o.at.Addr()
		switch {
		case o.unix != "" || o.at.Port() != a.Port():
		case on == a.Addr():
			return true
		case on.IsUnspecified() && !(o.one && on.Is4() != a.Addr().Is4()) && thisMachine(a):
			return true
		}
	}
	return false
}

// thisMachine reports whether a is an address of this machine: a datagram to it would
// come from it. None is sent. To ask for the list takes a kind of socket that a hardened
// service is denied.
func thisMachine(a netip.AddrPort) bool {
	if a.Addr().IsLoopback() {
		return true
	}
	c, err := net.Dial("udp", a.String())
	if err != nil {
		return false
	}
	defer c.Close()
	from, ok := c.LocalAddr().(*net.UDPAddr)
	return ok && from.AddrPort().Addr().Unmap() == a.Addr()
}

// ownsSocket reports whether path, however it is written, is a unix socket of ours.
func (s *Server) ownsSocket(path string) bool {
	there, err := os.Stat(path)
	for _, o := range s.ours() {
		if o.unix == "" {
			continue
		}
		if o.unix == path {
			return true
		}
		if own, failed := os.Stat(o.unix); err == nil && failed == nil && os.SameFile(there, own) {
			return true
		}
	}
	return false
}
