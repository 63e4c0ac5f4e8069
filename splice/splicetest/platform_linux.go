package splicetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
	"golang.org/x/sys/unix"
)

// control calls f with the descriptor of a connection or listener.
func control(t testing.TB, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if inner != nil {
		t.Fatal(inner)
	}
}

// flushed waits until the peer's system has acknowledged all that was written.
func flushed(t testing.TB, s stream) {
	t.Helper()
	eventually(t, "everything written is acknowledged", func() bool {
		var left int
		control(t, s, func(fd int) (err error) {
			left, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			return err
		})
		return left == 0
	})
}

// resetArrived resets s, and waits until the other end of it, in this system too, is no
// more: a busy system may take its time.
func resetArrived(t testing.TB, s stream) {
	t.Helper()
	ends := fmt.Sprintf(": %s %s 01 ", procAddress(s.RemoteAddr()), procAddress(s.LocalAddr()))
	resetNow(s)
	eventually(t, "the reset arrives", func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		return err == nil && !strings.Contains(string(table), ends)
	})
}

// procAddress is an IPv4 address as /proc/net/tcp has it (proc_net_tcp in the kernel's
// documentation): the address as a number of the machine's, in hexadecimal.
func procAddress(a net.Addr) string {
	ap := netip.MustParseAddrPort(a.String())
	ip := ap.Addr().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), ap.Port())
}

func (s suite) gateLeftReset(t *testing.T) {
	s.gateLeft(t, splice.ReasonClientReset, func(c stream) { resetArrived(t, c) })
}

// leaveWaitOver has the client end just before a Wait that is over at once.
func (s suite) leaveWaitOver(t *testing.T) {
	clients := make(chan stream, 1)
	r := s.rig(t, plan{dial: func(call int, _ error) (splice.Endpoint, error) {
		if call > 1 {
			return splice.Endpoint{}, errNoneLeft
		}
		client := <-clients
		client.CloseWrite()
		flushed(t, client)
		return splice.Endpoint{}, splice.Wait(1)
	}})
	for range 20 {
		clients <- r.client()
		session := r.session()
		session.wantEnd(t, splice.ReasonClientClosed)
		wantOneDial(t, session)
	}
}

// smallReceiveBuffer is a net.Dialer's Control; a buffer has to be small before the
// connect to keep the window small.
func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
	})
	if outer != nil {
		return outer
	}
	return err
}

// urgentData sends a byte out of band in the middle of a stream. It is not part of
// the stream, and nothing else may be missing from it.
func (s suite) urgentData(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	send(t, client, "before")
	control(t, client, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
	send(t, client, "after")
	end(t, client)
	want(t, server, "before")
	want(t, server, "after")
	wantEnd(t, server)
	end(t, server)
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonClientClosed)
}

// socketOptions looks at the engine's own sockets, which live in this process: they
// are the ones whose peers are the test's, and the one that listens.
func (s suite) socketOptions(t *testing.T) {
	// The backend's keepalive may be set as late as its first probe is due.
	soon := splice.Timeouts{Keepalive: splice.Keepalive{Idle: time.Second}}
	r := s.rig(t, plan{options: splice.Options{Threads: 1}, timeouts: soon})
	client, server, _ := r.connect()
	for name, peer := range map[string]net.Conn{"client": client, "backend": server} {
		fd := descriptorOf(t, peer.RemoteAddr(), peer.LocalAddr())
		name = "the " + name + "'s connection"
		wantOption(t, fd, name, "SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP)
		eventually(t, name+" has its keepalive", func() bool {
			on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			return err == nil && on == 1
		})
		wantOption(t, fd, name, "TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	fd := descriptorOf(t, addrOf(r.listener), nil)
	wantOption(t, fd, "the listener", "SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP)
}

func wantOption(t testing.TB, fd int, of, option string, level, number, want int) {
	t.Helper()
	if got, err := unix.GetsockoptInt(fd, level, number); err != nil || got != want {
		t.Errorf("%s of %s got %d, %v; want %d", option, of, got, err, want)
	}
}

// descriptorOf finds the socket with a local address and a remote one, nil for none.
func descriptorOf(t testing.TB, local, remote net.Addr) int {
	t.Helper()
	for fd := range openDescriptors(t) {
		from, err := unix.Getsockname(fd)
		if err != nil || !sameAddr(from, local) {
			continue
		}
		to, err := unix.Getpeername(fd)
		if err != nil && remote == nil || err == nil && remote != nil && sameAddr(to, remote) {
			return fd
		}
	}
	t.Fatalf("no descriptor is a socket from %v to %v", local, remote)
	return -1
}

func sameAddr(sa unix.Sockaddr, a net.Addr) bool {
	sa4, ok := sa.(*unix.SockaddrInet4)
	tcp, okTCP := a.(*net.TCPAddr)
	return ok && okTCP && sa4.Port == tcp.Port && tcp.IP.Equal(sa4.Addr[:])
}

// closedPort is an address of this machine where nobody listens, and nobody else can
// for the time of the test: a socket is bound to it.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(loopback.Addr(), uint16(bound.(*unix.SockaddrInet4).Port))
}

// hanging is a backend to which connects hang in SYN_SENT: the kernel drops their
// SYN while the queue of clients not yet accepted is full, and they repeat it.
type hanging struct {
	Listener net.Listener
	Endpoint splice.Endpoint
	filler   stream
}

func hangingBackend(t testing.TB) *hanging {
	t.Helper()
	h := &hanging{Listener: listenTCP(t, "127.0.0.1:0")}
	h.Endpoint = endpointOf(h.Listener.Addr())
	// A backlog of 0 is a queue of one, which the filler takes.
	control(t, h.Listener.(*net.TCPListener), func(fd int) error { return unix.Listen(fd, 0) })
	h.filler = dialTCP(t, h.Endpoint.Addr)
	return h
}

// release makes room, and answers the connection that was hanging.
func (h *hanging) release(t testing.TB) stream {
	t.Helper()
	accept(t, h.Listener).Close()
	return accept(t, h.Listener)
}

// staleSocket is the path of a unix socket that nobody listens on any more.
func staleSocket(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stale")
	l := listenUnix(t, path)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	return path
}

// inUseShared holds a port with SO_REUSEPORT, which any process of the same user
// could join: clients would go to either.
func (s suite) inUseShared(t *testing.T) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		outer := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(outer, err)
	}}
	other, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	addr := other.Addr().(*net.TCPAddr).AddrPort()
	_, err = s.engine(t, splice.Options{Threads: 2}).Listen(splice.Bind{Addr: addr, Handler: bareHandler{}})
	wantInUse(t, err, addr.String())
}

// unlisten leaves a listening socket as an engine does that suspends it.
func unlisten(t testing.TB, l net.Listener) {
	t.Helper()
	control(t, l.(syscall.Conn), func(fd int) error {
		at, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.Shutdown(fd, unix.SHUT_RD),
			unix.Bind(fd, at), // the system takes a port back that it chose itself
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0),
		)
	})
}
