//go:build unix

package systemd

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// handedOver makes a descriptor as a manager leaves it: blocking and inheritable.
func handedOver(t *testing.T, file interface{ File() (*os.File, error) }) int {
	t.Helper()
	f, err := file.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return fd
}

func TestSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	for _, tt := range []struct {
		name, network, address string
		want                   func(Socket) bool
	}{
		{"IPv4", "tcp4", "127.0.0.1:0", func(s Socket) bool {
			return s.Addr.Addr() == netip.MustParseAddr("127.0.0.1") && s.Addr.Port() != 0 && !s.Dual
		}},
		{"all of IPv4", "tcp4", "0.0.0.0:0", func(s Socket) bool { return s.Addr.Addr() == netip.IPv4Unspecified() && !s.Dual }},
		{"all of IPv6", "tcp6", "[::]:0", func(s Socket) bool { return s.Addr.Addr() == netip.IPv6Unspecified() && !s.Dual }},
		{"all", "tcp", ":0", func(s Socket) bool { return s.Addr.Addr() == netip.IPv6Unspecified() && s.Dual }},
		{"unix", "unix", path, func(s Socket) bool { return s.Unix == path && !s.Addr.IsValid() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen(tt.network, tt.address)
			if err != nil {
				t.Skip(err) // a machine without IPv6
			}
			defer ln.Close()
			fd := handedOver(t, ln.(interface{ File() (*os.File, error) }))
			defer syscall.Close(fd)
			sockets, err := inherit(fd, 1, []string{"db"})
			if err != nil || len(sockets) != 1 {
				t.Fatalf("got %v, %v; want one socket", sockets, err)
			}
			if s := sockets[0]; !tt.want(s) || s.Name != "db" || s.FD != fd {
				t.Errorf("got %+v", s)
			}
			flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
			if flags&syscall.FD_CLOEXEC == 0 {
				t.Error("the socket would be inherited by children")
			}
		})
	}
}

func TestWhatIsNoListeningSocketIsToldAndClosed(t *testing.T) {
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	pipe, err := syscall.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, tt := range []struct {
		name string
		fd   int
		want string
	}{
		{"datagrams", handedOver(t, datagrams.(*net.UDPConn)), "not a stream socket"},
		{"a pipe", pipe, "socket operation on non-socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sockets, err := inherit(tt.fd, 1, nil)
			if len(sockets) != 0 || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error: %s", sockets, err, tt.want)
			}
			var st syscall.Stat_t
			if err := syscall.Fstat(tt.fd, &st); err != syscall.EBADF {
				t.Errorf("the descriptor: got %v; want it closed", err)
			}
		})
	}
}

func TestListenFDsThatIsNoNumber(t *testing.T) {
	for _, count := range []string{"many", "-1", "4097"} {
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		t.Setenv("LISTEN_FDS", count)
		if _, err := Sockets(); err == nil {
			t.Errorf("LISTEN_FDS=%s: got no error; want one", count)
		}
	}
}
