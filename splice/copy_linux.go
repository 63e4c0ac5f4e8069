package splice

import (
	"net"
	"syscall"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
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

// howEnded tells how a TCP connection came to its end whose own direction is still
// open. If it is hung up both ways there was a reset: the system says EPIPE for one
// that came after an orderly end (tcp_reset in the kernel's net/ipv4/tcp_input.c),
// which left then tells, and something else, or nothing twice, for another.
func howEnded(conn net.Conn) (reset bool, left error) {
	if !hungUp(conn) {
		return false, nil
	}
	control(conn, func(fd int) error {
		if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno == int(unix.EPIPE) {
			left = unix.EPIPE
		}
		return nil
	})
	return left == nil, left
}

// hungUp reports whether there is no TCP connection any more.
func hungUp(conn net.Conn) bool {
	_, tcp := conn.(*net.TCPConn)
	return tcp && poll(conn, 0)&(unix.POLLERR|unix.POLLHUP) != 0
}

// hasEnded reports whether the peer has ended its direction, or there is no connection
// any more, whatever is left to be read.
func hasEnded(conn net.Conn) bool { return poll(conn, pollPeerEnded) != 0 }

// sinceTaken is how long a peer has taken nothing of what is in the system's queue for
// it; queued is false if nothing is.
func sinceTaken(conn net.Conn) (since time.Duration, queued bool) {
	ofTCP(conn, func(fd int32) {
		var ms uint32
		ms, queued = sys.Taken(fd)
		since = time.Duration(ms) * time.Millisecond
	})
	return since, queued
}

// isSilent reports whether a peer that takes nothing has acknowledged nothing for a
// time, and left probes unanswered.
func isSilent(conn net.Conn, limit time.Duration) (silent bool) {
	ofTCP(conn, func(fd int32) {
		ms, unanswered, e := sys.Silence(fd)
		silent = e == 0 && time.Duration(ms)*time.Millisecond >= limit && unanswered >= silentProbes
	})
	return silent
}

// seesSilence says that isSilent can tell.
const seesSilence = true

// pathOf tells how a TCP connection was.
func pathOf(conn net.Conn) (seen Path) {
	ofTCP(conn, func(fd int32) {
		if rtt, retransmits, e := sys.Path(fd); e == 0 {
			seen = Path{RTT: time.Duration(rtt) * time.Microsecond, Retransmits: retransmits}
		}
	})
	return seen
}

// ofTCP calls f with the descriptor of a TCP connection.
func ofTCP(conn net.Conn, f func(fd int32)) {
	if _, tcp := conn.(*net.TCPConn); tcp {
		control(conn, func(fd int) error {
			f(int32(fd))
			return nil
		})
	}
}

// setConnUserTimeout bounds how long sent bytes may stay unacknowledged (tcp(7)).
func setConnUserTimeout(conn net.Conn, d time.Duration) {
	if _, tcp := conn.(*net.TCPConn); tcp && d > 0 {
		control(conn, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, wholeMillis(d))
		})
	}
}

// pending is how many bytes there are to read.
func (r *reader) pending() (n int) {
	control(r.conn, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return n
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
	return socket, relisten(socket, b)
}

// relisten takes a TCP socket back into the listening state.
func relisten(socket net.Listener, b Bind) error {
	backlog := b.Backlog
	if backlog == 0 {
		backlog = systemBacklog
	}
	return control(socket, func(fd int) error {
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
