//go:build !simkernel

// Package sys holds every system call of the datapath, one thin function each.
//
// Calls that cannot block go through RawSyscall, which skips the scheduler's
// bookkeeping; EINTR is handled here. Errors are plain errno values, 0 for
// success, because the datapath branches on them and must not allocate; who
// reports one to a person wraps it with os.NewSyscallError.
package sys

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errno is the system's error number; 0 is success.
type Errno = unix.Errno

// Since is the time that has passed since t, which time.Now answered.
func Since(t time.Time) time.Duration { return time.Since(t) }

// Recv reads what the socket holds, at most len(b) bytes. 0 and no error is the
// end of the stream. len(b) must not be 0.
func Recv(fd int32, b []byte) (int, Errno) {
	return recvfrom(fd, b, 0)
}

// Peek is Recv that leaves the bytes in the socket.
func Peek(fd int32, b []byte) (int, Errno) {
	return recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
}

func recvfrom(fd int32, b []byte, flags uintptr) (int, Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

// Send writes as much of b as the socket takes at once. len(b) must not be 0.
func Send(fd int32, b []byte) (int, Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

// Splice moves at most n bytes from one descriptor to another, one of which is a
// pipe, without copying them (splice(2)). SPLICE_F_MORE is never set: it would
// cork the last segment for up to 200 ms.
func Splice(from, to int32, n int) (int, Errno) {
	for {
		m, _, e := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if e == 0 {
			return int(m), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

// Accept takes the next client off a listener's queue, non-blocking and
// close-on-exec. The address is the zero value for a unix client.
func Accept(fd int32) (int32, netip.AddrPort, Errno) {
	var sa unix.RawSockaddrAny
	for {
		n := uint32(unix.SizeofSockaddrAny)
		c, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e == 0 {
			return int32(c), addrPort(&sa), 0
		}
		if e != unix.EINTR {
			return -1, netip.AddrPort{}, e
		}
	}
}

// LocalAddr is the socket's own address, RemoteAddr the other end's; both are the
// zero value for a unix socket.
func LocalAddr(fd int32) (netip.AddrPort, Errno)  { return sockAddr(unix.SYS_GETSOCKNAME, fd) }
func RemoteAddr(fd int32) (netip.AddrPort, Errno) { return sockAddr(unix.SYS_GETPEERNAME, fd) }

func sockAddr(call uintptr, fd int32) (netip.AddrPort, Errno) {
	var sa unix.RawSockaddrAny
	n := uint32(unix.SizeofSockaddrAny)
	_, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)))
	return addrPort(&sa), e
}

// Socket makes a non-blocking, close-on-exec stream socket. TCP is asked for by
// its protocol number, so that it is never MPTCP.
func Socket(family int) (int32, Errno) {
	proto := unix.IPPROTO_TCP
	if family == unix.AF_UNIX {
		proto = 0
	}
	fd, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, uintptr(proto))
	if e != 0 {
		return -1, e
	}
	return int32(fd), 0
}

// Bind gives the socket a TCP address; an IPv4 address on an IPv6 socket is mapped.
func Bind(fd int32, family int, a netip.AddrPort) Errno {
	return withAddr(unix.SYS_BIND, fd, family, a)
}

// Connect starts a TCP connect; EINPROGRESS is the usual answer.
func Connect(fd int32, family int, a netip.AddrPort) Errno {
	return withAddr(unix.SYS_CONNECT, fd, family, a)
}

// BindUnix and ConnectUnix do the same for the path of a unix socket, which must
// be shorter than 108 bytes.
func BindUnix(fd int32, path string) Errno    { return withPath(unix.SYS_BIND, fd, path) }
func ConnectUnix(fd int32, path string) Errno { return withPath(unix.SYS_CONNECT, fd, path) }

func withAddr(call uintptr, fd int32, family int, a netip.AddrPort) Errno {
	port := a.Port()<<8 | a.Port()>>8 // network byte order on a little-endian machine
	if bigEndian {
		port = a.Port()
	}
	if family == unix.AF_INET {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().Unmap().As4()}
		_, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet4)
		return e
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16(), Scope_id: scope(a.Addr())}
	_, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet6)
	return e
}

func withPath(call uintptr, fd int32, path string) Errno {
	sa := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	if len(path) >= len(sa.Path) {
		return unix.ENAMETOOLONG
	}
	for i := range len(path) {
		sa.Path[i] = int8(path[i])
	}
	_, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(2+len(path)+1))
	return e
}

// Listen makes the socket accept clients; called again it changes the backlog or
// ends Unlisten.
func Listen(fd int32, backlog int) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_LISTEN, uintptr(fd), uintptr(backlog), 0)
	return e
}

// Unlisten makes a listening socket refuse clients and reset those in its queue;
// its address stays bound (inet_shutdown in the kernel's net/ipv4/af_inet.c).
func Unlisten(fd int32) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_RD, 0)
	return e
}

// ShutdownWrite sends FIN after the bytes that are queued.
func ShutdownWrite(fd int32) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return e
}

// Close closes any descriptor. EINTR is success on Linux (close(2)).
func Close(fd int32) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// Reset closes a socket with a RST and discards what is queued in it (linger 0,
// socket(7)).
func Reset(fd int32) {
	l := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unix.SizeofLinger, 0)
	Close(fd)
}

// SetInt sets a socket option.
func SetInt(fd int32, level, opt, value int) Errno {
	v := int32(value)
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt), uintptr(unsafe.Pointer(&v)), 4, 0)
	return e
}

// SocketError takes the socket's pending error (SO_ERROR).
func SocketError(fd int32) Errno {
	var v int32
	n := uint32(4)
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return e
	}
	return Errno(v)
}

// Unsent is the number of bytes in the socket's send queue that the peer has not
// acknowledged (SIOCOUTQ, tcp(7)).
func Unsent(fd int32) (int, Errno) {
	var v int32
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&v)))
	return int(v), e
}

// Silence tells how a peer that we cannot write to behaves: the milliseconds since
// it last acknowledged anything, and how many retransmissions or zero-window
// probes it has left without an answer (tcpi_last_ack_recv, tcpi_retransmits and
// tcpi_probes of TCP_INFO).
func Silence(fd int32) (ms uint32, unanswered int, e Errno) {
	info, e := tcpInfo(fd)
	return info.Last_ack_recv, int(info.Retransmits) + int(info.Probes), e
}

// Taken tells since when the peer has taken nothing of what is in the socket's send
// queue, in milliseconds; queued is false if that is empty. Who takes bytes has new ones sent
// to it and acknowledges some, so that is the longer of the times since either happened
// (tcpi_last_data_sent and tcpi_last_ack_recv of TCP_INFO): probes of a window that is
// closed carry no data, and of repetitions nothing is acknowledged.
func Taken(fd int32) (ms uint32, queued bool) {
	if n, e := Unsent(fd); n == 0 || e != 0 {
		return 0, false
	}
	info, e := tcpInfo(fd)
	return max(info.Last_data_sent, info.Last_ack_recv), e == 0
}

// Path tells how the connection to a TCP peer was so far: the smoothed round-trip
// time in microseconds, 0 if none was measured, and the segments that were sent again
// (tcpi_rtt and tcpi_total_retrans of TCP_INFO).
func Path(fd int32) (rtt, retransmits uint32, e Errno) {
	info, e := tcpInfo(fd)
	return info.Rtt, info.Total_retrans, e
}

func tcpInfo(fd int32) (info unix.TCPInfo, e Errno) {
	n := uint32(unix.SizeofTCPInfo)
	_, _, e = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&n)), 0)
	return info, e
}

// Readable is the number of bytes that the socket holds to be read (SIOCINQ, tcp(7));
// 0 if that cannot be told.
func Readable(fd int32) int {
	var v int32
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCINQ, uintptr(unsafe.Pointer(&v)))
	return int(v)
}

// Pipe makes a non-blocking, close-on-exec pipe.
func Pipe() (r, w int32, e Errno) {
	var p [2]int32
	_, _, e = unix.RawSyscall(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&p)), unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	return p[0], p[1], e
}

// ReadPipe reads what is in the pipe, at most len(b) bytes.
func ReadPipe(fd int32, b []byte) (int, Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}

// PipeSize is the pipe's capacity in bytes; SetPipeSize asks for another, which
// the kernel refuses with EPERM beyond the user's share (pipe(7)).
func PipeSize(fd int32) int {
	n, _, _ := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETPIPE_SZ, 0)
	return int(n)
}

// SetPipeSize: see PipeSize.
func SetPipeSize(fd int32, size int) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETPIPE_SZ, uintptr(size))
	return e
}

func addrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), hostPort(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(zone(a.Scope_id))
		}
		return netip.AddrPortFrom(ip, hostPort(a.Port))
	}
	return netip.AddrPort{}
}

func hostPort(p uint16) uint16 {
	if bigEndian {
		return p
	}
	return p<<8 | p>>8
}
