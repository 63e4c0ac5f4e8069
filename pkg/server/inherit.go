package server

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/limeload/limeload/splice"
)

// Socket is one that listens already, made by a service manager.
type Socket struct {
	FD   int    // descriptor
	Name string // for people

	Addr netip.AddrPort // where it listens, of a TCP socket
	Dual bool           // at [::]: takes IPv4 as well
	Unix string         // the path, of a unix socket
}

// inherited are such sockets. A listener at the same address gets a duplicate each time
// that one is bound: as long as the manager holds the socket, nobody could bind the
// address anew after a listener was renamed, or removed and added again.
type inherited struct {
	sockets []Socket
	used    []bool // by a listener, once at least
}

// Inherit gives the server sockets that listen already; they are its own from now on.
// It is called before Run, at most once. A listener whose address is that of a socket
// uses it instead of binding; sockets that no listener uses are told in the log and
// closed when all listeners are bound.
func (s *Server) Inherit(sockets []Socket) {
	s.inherited = inherited{sockets, make([]bool, len(sockets))}
}

// claim has b use an inherited socket, if there is one for its address, and answers
// its name.
func (in *inherited) claim(b *splice.Bind) (name string, err error) {
	i := in.find(b)
	if i < 0 {
		return "", nil
	}
	s := &in.sockets[i]
	in.used[i] = true
	if b.Inherited, err = duplicate(s.FD); err != nil {
		return "", fmt.Errorf("listen %s: %w", b, err)
	}
	return s.Name, nil
}

// find answers the index of the socket for an address, -1 for none.
func (in *inherited) find(b *splice.Bind) int {
	found := -1
	for i := range in.sockets {
		switch in.sockets[i].fits(b) {
		case exactly:
			return i
		case nearly:
			found = i
		}
	}
	return found
}

// fit is how a socket's address agrees with a configured one.
type fit int

const (
	not     fit = iota
	nearly      // all of IPv4 where all addresses were asked for: a manager without IPv6
	exactly     //
)

func (s *Socket) fits(b *splice.Bind) fit {
	any := !b.Addr.Addr().IsValid()
	switch {
	case b.Unix != "" || s.Unix != "":
		if b.Unix == s.Unix {
			return exactly
		}
	case b.Addr.Port() == 0 || b.Addr.Port() != s.Addr.Port():
	case any && s.Dual:
		return exactly
	case any && s.Addr.Addr() == netip.IPv4Unspecified():
		return nearly
	case b.Addr == s.Addr && !s.Dual:
		return exactly
	}
	return not
}

// disown closes the sockets that no listener uses, and tells of them.
func (s *Server) disown() {
	var kept []Socket
	for i, socket := range s.inherited.sockets {
		if s.inherited.used[i] {
			kept = append(kept, socket)
			continue
		}
		s.log.Warn().Str("socket", socket.Name).Str("address", socket.String()).
			Msg("inherited socket closed: no listener has its address")
		syscall.Close(socket.FD)
	}
	s.Inherit(kept)
}

// closeInherited lets go of the sockets when no listener can come any more.
func (s *Server) closeInherited() {
	for _, socket := range s.inherited.sockets {
		syscall.Close(socket.FD)
	}
}

func (s *Socket) String() string {
	switch {
	case s.Unix != "":
		return "unix:" + s.Unix
	case s.Dual:
		return netip.AddrPortFrom(netip.IPv6Unspecified(), s.Addr.Port()).String()
	}
	return s.Addr.String()
}

// duplicate is dup(2), not for children.
func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(n)
	}
	return n, err
}
