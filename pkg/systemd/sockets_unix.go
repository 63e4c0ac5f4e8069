//go:build unix

package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// Socket is one that the manager listens on.
type Socket struct {
	FD   int    // descriptor
	Name string // FileDescriptorName of the socket unit, for people

	Addr netip.AddrPort // where it listens, of a TCP socket
	Dual bool           // at [::]: takes IPv4 as well
	Unix string         // the path, of a unix socket
}

// inherit describes n descriptors from first on, and closes what it cannot use.
func inherit(first, n int, names []string) (sockets []Socket, err error) {
	for i := range n {
		s := Socket{FD: first + i, Name: "unknown"}
		if i < len(names) && names[i] != "" {
			s.Name = names[i]
		}
		if bad := s.describe(); bad != nil {
			syscall.Close(s.FD)
			err = errors.Join(err, fmt.Errorf("LISTEN_FDS: descriptor %d (%s): %w", s.FD, s.Name, bad))
			continue
		}
		sockets = append(sockets, s)
	}
	return sockets, err
}

// describe finds out where the socket listens, and makes it ours.
func (s *Socket) describe() error {
	kind, err := syscall.GetsockoptInt(s.FD, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return err
	}
	if kind != syscall.SOCK_STREAM {
		return errors.New("not a stream socket; want ListenStream=")
	}
	// Accept=yes hands over clients instead of the socket that they come to.
	if listening, err := syscall.GetsockoptInt(s.FD, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listening == 0 {
		return errors.New("does not listen; want Accept=no")
	}
	at, err := syscall.Getsockname(s.FD)
	if err != nil {
		return err
	}
	switch a := at.(type) {
	case *syscall.SockaddrInet4:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
		only, err := syscall.GetsockoptInt(s.FD, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY)
		s.Dual = err == nil && only == 0 && s.Addr.Addr().IsUnspecified()
	case *syscall.SockaddrUnix:
		s.Unix = a.Name
	default:
		return errors.New("neither TCP nor a unix socket")
	}
	syscall.CloseOnExec(s.FD)
	return syscall.SetNonblock(s.FD, true)
}
