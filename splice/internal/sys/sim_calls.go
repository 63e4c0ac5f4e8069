//go:build linux && simkernel

package sys

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

func socket(fd int32, call string) *Conn {
	s, ok := enter(fd, call).(*Conn)
	if !ok {
		kernel.Fault(call + " of what is not a socket")
	}
	return s
}

// Incoming has a client connect to the listening socket fd. It answers nil if that
// refuses.
func (k *Kernel) Incoming(fd int32, from netip.AddrPort) *Conn {
	ln := k.files[fd].(*Conn)
	if ln.state != tcpListen {
		return nil
	}
	s := newConn()
	s.state, s.local, s.remote = tcpEstablished, ln.local, from
	ln.queue = append(ln.queue, s)
	ln.wake(unix.EPOLLIN)
	return s
}

// Waiting is the number of clients in the queue of the listening socket fd.
func (k *Kernel) Waiting(fd int32) int { return len(k.files[fd].(*Conn).queue) }

// Recv reads what the socket holds. 0 and no error is the end of the stream.
func Recv(fd int32, b []byte) (int, Errno) { return socket(fd, "recvfrom").recv(b, false) }

// Peek is Recv that leaves the bytes in the socket.
func Peek(fd int32, b []byte) (int, Errno) { return socket(fd, "recvfrom").recv(b, true) }

// Send writes as much of b as the socket takes at once.
func Send(fd int32, b []byte) (int, Errno) { return socket(fd, "sendto").send(b) }

// Accept takes the next client off a listener's queue.
func Accept(fd int32) (int32, netip.AddrPort, Errno) {
	ln := socket(fd, "accept4")
	if ln.state != tcpListen {
		return -1, netip.AddrPort{}, unix.EINVAL
	}
	if len(ln.queue) == 0 {
		return -1, netip.AddrPort{}, unix.EAGAIN
	}
	if e := refused("accept4"); e != 0 {
		return -1, netip.AddrPort{}, e
	}
	s := ln.queue[0]
	ln.queue = ln.queue[1:]
	return install(s), s.remote, 0
}

// LocalAddr is the socket's own address, RemoteAddr the other end's.
func LocalAddr(fd int32) (netip.AddrPort, Errno) { return socket(fd, "getsockname").local, 0 }

// RemoteAddr: see LocalAddr.
func RemoteAddr(fd int32) (netip.AddrPort, Errno) {
	s := socket(fd, "getpeername")
	if s.state != tcpEstablished {
		return netip.AddrPort{}, unix.ENOTCONN
	}
	return s.remote, 0
}

// Socket makes a stream socket.
func Socket(int) (int32, Errno) {
	meanwhile()
	if e := refused("socket"); e != 0 {
		return -1, e
	}
	return install(newConn()), 0
}

// Bind gives the socket an address.
func Bind(fd int32, _ int, a netip.AddrPort) Errno {
	s := socket(fd, "bind")
	if e := refused("bind"); e != 0 {
		return e
	}
	s.local = a
	return 0
}

// Connect starts a connect.
func Connect(fd int32, _ int, a netip.AddrPort) Errno {
	s := socket(fd, "connect")
	s.remote, s.state = a, tcpSynSent
	e := unix.EINPROGRESS
	if kernel.Dialed != nil {
		e = kernel.Dialed(s, a)
	}
	switch e {
	case 0:
		s.state = tcpEstablished
	case unix.EINPROGRESS:
	default:
		s.state = tcpClose
	}
	return e
}

// BindUnix and ConnectUnix always fail: the model has no unix sockets.
func BindUnix(int32, string) Errno    { return unix.EAFNOSUPPORT }
func ConnectUnix(int32, string) Errno { return unix.EAFNOSUPPORT }

// Listen makes the socket accept clients, or ends Unlisten.
func Listen(fd int32, _ int) Errno {
	socket(fd, "listen").state = tcpListen
	return 0
}

// Unlisten makes a listening socket refuse clients and reset those in its queue.
func Unlisten(fd int32) Errno {
	s := socket(fd, "shutdown")
	for _, c := range s.queue {
		c.abandon()
		c.closed, c.orphan = true, true
	}
	s.state, s.queue = tcpClose, nil
	s.wake(0)
	return 0
}

// ShutdownWrite sends FIN after the bytes that are queued.
func ShutdownWrite(fd int32) Errno {
	s := socket(fd, "shutdown")
	if s.state != tcpEstablished {
		return unix.ENOTCONN
	}
	if s.finished {
		kernel.Fault("shutdown twice")
	}
	s.finished, s.noWrite = true, true
	s.unacked++
	kernel.effects++
	s.wake(0)
	return 0
}

// Reset closes a socket with a RST and discards what is queued in it.
func Reset(fd int32) {
	socket(fd, "setsockopt").abort = true
	Close(fd)
}

// SetInt sets a socket option, of which the model has none.
func SetInt(fd int32, _, _, _ int) Errno {
	socket(fd, "setsockopt")
	return 0
}

// SocketError takes the socket's pending error.
func SocketError(fd int32) Errno { return socket(fd, "getsockopt").takeError() }

// Unsent is the number of bytes in the send queue that are not acknowledged; a FIN
// counts for one.
func Unsent(fd int32) (int, Errno) {
	s := socket(fd, "ioctl")
	return s.unacked, 0
}

// Silence tells of a far end that vanished that it did so long ago.
func Silence(fd int32) (ms uint32, unanswered int, e Errno) {
	if s := socket(fd, "getsockopt"); s.vanished {
		return uint32(s.VanishedFor().Milliseconds()), 3, 0
	}
	return 100, 0, 0
}

// Taken tells of no queue: what far ends take of theirs is seen by events alone.
func Taken(fd int32) (ms uint32, queued bool) {
	socket(fd, "getsockopt")
	return 0, false
}

// Path tells of a near and faultless one.
func Path(fd int32) (rtt, retransmits uint32, e Errno) {
	socket(fd, "getsockopt")
	return 100, 0, 0
}

// Readable is the number of bytes that the socket holds to be read.
func Readable(fd int32) int { return socket(fd, "ioctl").pending() }
