package splice

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// What only Linux can do for the goroutine engine.

// pollPeerEnded is the event of a peer that has ended its direction; it shows even
// behind unread bytes.
const pollPeerEnded = unix.POLLRDHUP

// unsent is the number of bytes that were written to conn and that its peer has not
// acknowledged yet (tcp(7), SIOCOUTQ).
func unsent(conn net.Conn) (n int, ok bool) {
	err := control(conn, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n, err == nil
}

// isReset reports whether a TCP connection whose own direction is still open came
// to its end by a reset: only then is it hung up both ways.
func isReset(conn net.Conn) bool {
	_, tcp := conn.(*net.TCPConn)
	return tcp && poll(conn, 0)&(unix.POLLERR|unix.POLLHUP) != 0
}

// suspend makes the kernel refuse clients. A TCP socket leaves the listening state
// with shutdown(2) and keeps its address: without SO_REUSEADDR, or another process
// could listen on it now. A unix socket could not listen again after a shutdown: it
// is closed, and its file stays.
func suspend(socket net.Listener) (net.Listener, error) {
	if _, ok := socket.(*net.UnixListener); ok {
		return closeSuspended(socket)
	}
	return socket, control(socket, func(fd int) error {
		at, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
			return err
		}
		if err := rebind(fd, at); err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	})
}

// rebind binds fd to at again: the system takes a port that it chose itself back
// when the socket stops listening. A port that was asked for stays, and EINVAL says
// so.
func rebind(fd int, at unix.Sockaddr) error {
	if err := unix.Bind(fd, at); err != unix.EINVAL {
		return err
	}
	return nil
}

func resume(socket net.Listener, b Bind) (net.Listener, error) {
	if socket == nil {
		return listen(b)
	}
	backlog := b.Backlog
	if backlog == 0 {
		backlog = systemBacklog
	}
	return socket, control(socket, func(fd int) error {
		// The live sessions have the same address.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		return unix.Listen(fd, backlog)
	})
}

// systemBacklog is cut down to net.core.somaxconn by the kernel.
const systemBacklog = 1<<31 - 1

// bindLate leaves the choice of a port at a configured source address to connect,
// which can then use a port for each destination anew (ip(7),
// IP_BIND_ADDRESS_NO_PORT; also for IPv6).
func bindLate(_, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if outer != nil {
		return outer
	}
	return err
}
