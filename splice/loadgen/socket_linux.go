package loadgen

import (
	"fmt"
	"net/netip"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

func familyOf(a netip.Addr) int {
	if a.Is4() || a.Is4In6() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// dial starts to connect; EINPROGRESS is the usual answer. With any other error fd,
// if it is not -1, is for the caller to close.
func dial(target netip.AddrPort, source netip.Addr) (fd int32, e sys.Errno) {
	family := familyOf(target.Addr())
	if fd, e = sys.Socket(family); e != 0 {
		return -1, e
	}
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if source.IsValid() {
		// The port is then chosen at connect, when the remote address is known: so many
		// connections to different targets share one (ip(7)).
		sys.SetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if e = sys.Bind(fd, family, netip.AddrPortFrom(source, 0)); e != 0 {
			return fd, e
		}
	}
	return fd, sys.Connect(fd, family, target)
}

// openListener binds and listens. reuse shares the address with other sockets that
// said so as well (SO_REUSEPORT).
func openListener(a netip.AddrPort, reuse bool) (int32, error) {
	fail := func(fd int32, e sys.Errno) (int32, error) {
		if fd >= 0 {
			sys.Close(fd)
		}
		return -1, fmt.Errorf("listen %s: %w", a, e)
	}
	family := familyOf(a.Addr())
	fd, e := sys.Socket(family)
	if e != 0 {
		return fail(-1, e)
	}
	sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // inherited by the clients (tcp(7))
	if reuse {
		sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if e := sys.Bind(fd, family, a); e != 0 {
		return fail(fd, e)
	}
	if e := sys.Listen(fd, backlog); e != 0 {
		return fail(fd, e)
	}
	return fd, nil
}

// backlog is more than any run opens at a time; the kernel lowers it to somaxconn.
const backlog = 1 << 16

// openListeners binds n sockets to one address, so that the kernel spreads the
// clients over them, and answers the address with the port that the system chose.
// The first binds without SO_REUSEPORT: a port that another process of this user
// shares would else be taken silently.
func openListeners(a netip.AddrPort, n int) (fds []int32, at netip.AddrPort, err error) {
	at = a
	for i := range n {
		fd, err := openListener(at, i > 0)
		if err != nil {
			closeAll(fds)
			return nil, at, err
		}
		fds = append(fds, fd)
		if i == 0 {
			sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			local, _ := sys.LocalAddr(fd)
			at = netip.AddrPortFrom(a.Addr(), local.Port())
		}
	}
	return fds, at, nil
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		sys.Close(fd)
	}
}

// RaiseFileLimit makes room for n file descriptors, and answers how many there may
// be: fewer than n if the process is not privileged and the hard limit is lower.
// Processes that are started afterwards inherit it.
func RaiseFileLimit(n uint64) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read file limit: %w", err)
	}
	higher := unix.Rlimit{Cur: max(l.Cur, n), Max: max(l.Max, n)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &higher) == nil {
		return higher.Cur, nil
	}
	within := unix.Rlimit{Cur: l.Max, Max: l.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &within); err != nil {
		return l.Cur, fmt.Errorf("raise file limit to %d: %w", l.Max, err)
	}
	return within.Cur, nil
}
