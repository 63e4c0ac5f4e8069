//go:build unix

package splice

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// What unix systems can see of a socket without reading from it or accepting.

// clientQueued reports whether an accept would answer a client at once.
func clientQueued(socket net.Listener) bool {
	return poll(socket, unix.POLLIN)&unix.POLLIN != 0
}

// readable reports whether a read would answer at once: bytes, the end, or an error.
func readable(conn net.Conn) bool { return poll(conn, unix.POLLIN) != 0 }

// writable reports whether a write would take something, or answer an error, at once.
func writable(conn net.Conn) bool { return poll(conn, unix.POLLOUT) != 0 }

// setBacklog changes the length of the kernel's queue: a second listen does that.
func setBacklog(socket net.Listener, backlog int) error {
	return control(socket, func(fd int) error { return unix.Listen(fd, backlog) })
}

// awaitPeer calls done with a look at conn's peer, now and whenever there may be
// something new to see, until done answers true or conn's read deadline passes. It
// answers at once for a connection that is not a socket's.
func awaitPeer(conn net.Conn, done func(peek func() peerState) bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(fd uintptr) bool { return done(func() peerState { return peek(int(fd)) }) })
}

// lookAtPeer calls done once, at once, also while awaitPeer waits; not at all for a
// connection that is not a socket's.
func lookAtPeer(conn net.Conn, done func(peek func() peerState) bool) {
	control(conn, func(fd int) error {
		done(func() peerState { return peek(fd) })
		return nil
	})
}

// peek looks at a socket's peer. A reset is seen by the error that is pending, even
// behind unread bytes, and that error is taken from the socket.
func peek(fd int) peerState {
	var seen peerState
	revents := pollFD(fd, unix.POLLIN|pollPeerEnded)
	seen.ended = revents&pollPeerEnded != 0
	if revents&unix.POLLERR != 0 {
		seen.broken = true
		if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
			seen.err = syscall.Errno(errno)
		}
		return seen
	}
	var b [1]byte
	n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case n > 0:
		seen.unread = true
	case err == nil:
		seen.ended = true
	case err != unix.EAGAIN:
		seen.broken, seen.err = true, err
	}
	return seen
}

// poll answers which of events are there now, besides POLLERR and POLLHUP.
func poll(socket any, events int16) (revents int16) {
	control(socket, func(fd int) error {
		revents = pollFD(fd, events)
		return nil
	})
	return revents
}

// pollFD does not wait, so no signal can interrupt it.
func pollFD(fd int, events int16) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return 0
	}
	return fds[0].Revents
}

// control calls f with the descriptor of a listener or connection.
func control(socket any, f func(fd int) error) error {
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return errNoDescriptor
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	if outer := raw.Control(func(fd uintptr) { err = f(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

// errNoDescriptor is for connections that are not a socket's, such as TLS.
var errNoDescriptor = errors.New("connection has no descriptor")
