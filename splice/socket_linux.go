package splice

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// tune sets what both legs have from the beginning. On a listening socket this, the
// keepalive and the user timeout are inherited by the clients (tcp(7)), which saves the
// calls for each.
func tune(fd int32) { sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// setKeepalive turns the probes of keepalive on.
func setKeepalive(fd int32, k Keepalive) {
	sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, wholeSeconds(k.idle()))
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, wholeSeconds(k.interval()))
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.count())
}

func setUserTimeout(fd int32, d time.Duration) {
	sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, wholeMillis(d))
}

// wholeMillis is d for an option that is an int of 32 bits.
func wholeMillis(d time.Duration) int { return int(min(d.Milliseconds(), math.MaxInt32)) }

func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// lowestPort is the lowest local port that the system chooses by itself: a connect
// to one below can never meet itself. Unknown, it is the lowest unprivileged one.
func lowestPort() uint16 {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 1024
	}
	low := uint16(1024)
	fmt.Sscan(string(b), &low)
	return low
}

// openBackend makes a socket and starts to connect it. EINPROGRESS is the usual
// answer; with any other error fd, if it is not -1, is for the caller to close.
//
// hold is for a client whose first bytes are here already: they will carry the
// handshake's last ACK, which is a packet less. The kernel sends it by itself if they do
// not follow within 200 ms, and acknowledges at once again afterwards (tcp(7),
// TCP_QUICKACK; tcp_rcv_synsent_state_process).
func openBackend(ep *Endpoint, hold bool) (fd int32, e sys.Errno) {
	if ep.Unix != "" {
		if fd, e = sys.Socket(unix.AF_UNIX); e != 0 {
			return -1, e
		}
		return fd, sys.ConnectUnix(fd, ep.Unix)
	}
	family := familyOf(ep.Addr.Addr())
	if fd, e = sys.Socket(family); e != 0 {
		return -1, e
	}
	tune(fd)
	if hold {
		sys.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	}
	if t := ep.Timeouts; t != nil && t.Keepalive.UserTimeout > 0 {
		setUserTimeout(fd, t.Keepalive.UserTimeout)
	}
	if ep.Source.IsValid() {
		// The port is then chosen at connect, when the remote address is known: so many
		// connections to different backends share one (ip(7)).
		sys.SetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if e = sys.Bind(fd, family, netip.AddrPortFrom(ep.Source, 0)); e != 0 {
			return fd, e
		}
	}
	return fd, sys.Connect(fd, family, ep.Addr)
}

// openListeners binds n sockets to one address, so that the kernel spreads the
// clients over them (SO_REUSEPORT, socket(7)). It answers the address, with the
// port that the system chose.
//
// One more socket binds first, without that option: a port that another process of
// this user shares would else be taken silently. It also settles port 0, so that
// all that stay have asked for their port by number: one that was merely given to
// them would be lost in Unlisten.
func openListeners(b *Bind, n int) (fds []int32, at netip.AddrPort, e sys.Errno) {
	first, e := openListener(b.Addr, b.Addr.Port(), false)
	if e != 0 {
		return nil, b.Addr, e
	}
	defer sys.Close(first)
	if at, e = sys.LocalAddr(first); e != 0 {
		return nil, at, e
	}
	sys.SetInt(first, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	for range n {
		fd, e := openListener(b.Addr, at.Port(), true)
		if e != 0 {
			closeAll(fds)
			return nil, at, e
		}
		fds = append(fds, fd)
	}
	return fds, at, 0
}

// openListener binds one socket; it does not listen yet.
func openListener(a netip.AddrPort, port uint16, share bool) (int32, sys.Errno) {
	ip, v6only := a.Addr(), 1
	if !ip.IsValid() {
		ip, v6only = netip.IPv6Unspecified(), 0
	}
	family := familyOf(ip)
	fd, e := sys.Socket(family)
	if e == unix.EAFNOSUPPORT && !a.Addr().IsValid() { // a kernel without IPv6
		ip, family = netip.IPv4Unspecified(), unix.AF_INET
		fd, e = sys.Socket(family)
	}
	if e != 0 {
		return -1, e
	}
	if family == unix.AF_INET6 {
		sys.SetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only)
	}
	sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if share {
		sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	tune(fd)
	if e := sys.Bind(fd, family, netip.AddrPortFrom(ip, port)); e != 0 {
		sys.Close(fd)
		return -1, e
	}
	return fd, 0
}

// openUnixListener binds the path. A socket file that nobody answers on is left
// over from a process that was killed, and is replaced.
func openUnixListener(path string) (int32, sys.Errno) {
	fd, e := sys.Socket(unix.AF_UNIX)
	if e != 0 {
		return -1, e
	}
	e = sys.BindUnix(fd, path)
	if e == unix.EADDRINUSE && abandoned(path) {
		unix.Unlink(path)
		e = sys.BindUnix(fd, path)
	}
	if e != 0 {
		sys.Close(fd)
		return -1, e
	}
	return fd, 0
}

func abandoned(path string) bool {
	fd, e := sys.Socket(unix.AF_UNIX)
	if e != 0 {
		return false
	}
	defer sys.Close(fd)
	return sys.ConnectUnix(fd, path) == unix.ECONNREFUSED && isSocket(path)
}

func isSocket(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		sys.Close(fd)
	}
}
