//go:build unix

package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/limeload/limeload/balancer"
	"golang.org/x/sys/unix"
)

// A listener's address becomes narrower and wider again, and its sessions go on.
func TestApplyAddressThatOverlaps(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a := newEcho(t, "127.0.0.1:0").Addr().String()
		free := newLeaver(t)
		free.Close()
		port := strconv.Itoa(portOf(free))
		conf := setup{listen: ":" + port, backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }", engine)}
		s := start(t, conf.config(t))
		live := dial(t, s)
		for _, next := range []struct{ listen, want string }{
			{"127.0.0.1:" + port, "127.0.0.1:" + port},
			{"0.0.0.0:" + port, "0.0.0.0:" + port},
			{"localhost:" + port, ""}, // whether ::1 is another one is the system's
			{"127.0.0.1:" + port, "127.0.0.1:" + port},
			{":" + port, ""},
		} {
			conf.listen = next.listen
			apply(t, s, conf.config(t))
			if got := s.Addr("front").String(); got != next.want && next.want != "" {
				t.Errorf("after %s it listens on %s; want %s", next.listen, got, next.want)
			}
			if err := ask(s); err != nil {
				t.Errorf("after %s: %v", next.listen, err)
			}
		}
		if err := exchange(live); err != nil {
			t.Errorf("a session from before: %v", err)
		}

		// An address that is not this machine's is no reason to let go of the one that is.
		conf.listen = "192.0.2.201:" + port
		if _, err := s.Apply(t.Context(), conf.config(t)); !errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, ErrIncomplete) {
			t.Errorf("Apply: %v; want cannot assign requested address, and nothing changed", err)
		}
		if err := ask(s); err != nil {
			t.Errorf("after an address of another machine: %v", err)
		}
	})
}

// A service manager never lets go of its socket, so neither does the listener: for an
// address that is never to be had.
func TestApplyAddressThatOverlapsAnInheritedSocket(t *testing.T) {
	manager, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	file, err := manager.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := duplicate(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	at := manager.Addr().(*net.TCPAddr).AddrPort()
	conf := setup{listen: at.String(), backends: []string{newEcho(t, "127.0.0.1:0").Addr().String()}}
	s := startWith(t, conf.config(t), []Socket{{FD: fd, Name: "manager", Addr: at}})
	conf.listen = "0.0.0.0:" + strconv.Itoa(int(at.Port()))
	if _, err := s.Apply(t.Context(), conf.config(t)); !errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, ErrIncomplete) {
		t.Errorf("Apply: %v; want address already in use, and nothing changed", err)
	}
	if err := ask(s); err != nil {
		t.Error(err)
	}
}

// Somebody else is quicker to take an address that was to be had: all else is changed,
// and told, and the next reload takes the address.
func TestApplyThatStaysIncomplete(t *testing.T) {
	a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	free := newLeaver(t)
	free.Close()
	port := strconv.Itoa(portOf(free))
	conf := setup{listen: ":" + port, backends: []string{a}}
	s := start(t, conf.config(t))
	quicker, err := sharing.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer quicker.Close()

	conf.listen, conf.backends = "127.0.0.1:"+port, []string{a, b}
	changes, err := s.Apply(t.Context(), conf.config(t))
	if !errors.Is(err, ErrIncomplete) || !errors.Is(err, syscall.EADDRINUSE) || len(changes) != 2 {
		t.Fatalf("Apply: %v, %v; want two changes, and an address in use that leaves it incomplete", changes, err)
	}
	if row(s, b) == nil {
		t.Error("the backends did not change")
	}
	if err := s.SetBackend(t.Context(), "pool", b, Settings{Mode: ptr(balancer.Drain)}); err != nil {
		t.Errorf("drain meanwhile: %v", err)
	}
	quicker.Close()
	apply(t, s, conf.config(t))
	if err := ask(s); err != nil {
		t.Error(err)
	}
}

// sharing listens where others listen that share, too (SO_REUSEPORT).
var sharing = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
	c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return err
}}
