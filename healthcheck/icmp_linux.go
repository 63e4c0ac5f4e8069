package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// pingUnprivileged pings over a ping socket of its own. It returns
// errNotPermitted, with nothing sent, when this process may not have one.
func pingUnprivileged(ctx context.Context, e echo) error {
	f, err := openPing(&e)
	if err != nil {
		return err
	}
	defer f.Close()
	stop := interruptWhenDone(ctx, f)
	defer stop()
	request, err := e.request()
	if err != nil {
		return err
	}
	if _, err := f.Write(request); err != nil {
		return cause(err)
	}
	return awaitReply(f, &e)
}

// openPing opens a ping socket connected to e's destination, and sets e's id
// to the one that the kernel has chosen for the socket.
func openPing(e *echo) (*os.File, error) {
	remote, family, err := sockaddr(netip.AddrPortFrom(e.to, 0))
	if err != nil {
		return nil, err
	}
	protocol := unix.IPPROTO_ICMP
	if family == unix.AF_INET6 {
		protocol = unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	switch err {
	case nil:
	case unix.EACCES, unix.EPERM, unix.EPROTONOSUPPORT: // the last: the kernel is built without
		return nil, errNotPermitted
	default:
		return nil, fmt.Errorf("open ping socket: %w", err)
	}
	if err := connectPing(fd, family, remote, e); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "ping"), nil
}

func connectPing(fd, family int, remote unix.Sockaddr, e *echo) error {
	if err := reportErrors(fd, family); err != nil {
		return err
	}
	if err := unix.Connect(fd, remote); err != nil {
		return err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	a, _ := addrPort(local)
	e.id = a.Port()
	return nil
}

// reportErrors has read(2) fail with what routers say about our request. By
// default the kernel keeps all but a few such errors to itself.
func reportErrors(fd, family int) error {
	if family == unix.AF_INET6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
}

// awaitReply reads until e's reply, or an error that ends the probe, comes.
func awaitReply(f *os.File, e *echo) error {
	protocol := protocolICMP
	if e.to.Is6() {
		protocol = protocolICMPv6
	}
	var packet [1500]byte
	for {
		n, err := f.Read(packet[:])
		switch {
		case errors.Is(err, unix.EREMOTEIO): // a redirect or a source quench: no failure
			continue
		case isAny(err, unix.EACCES, unix.ECONNREFUSED, unix.ENOPROTOOPT, unix.EPROTO):
			return errUnreachable // what the kernel makes of the codes of "destination unreachable"
		case err != nil:
			return cause(err)
		}
		if r, ok := parseResponse(protocol, packet[:n]); ok && r.answers(e) {
			return r.outcome()
		}
	}
}
