package splicetest

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/limeload/limeload/splice"
)

var inheritedTests = []test{
	{"a client that came before the engine is served", suite.inherited},
	{"Close leaves the socket to its maker, with the clients in its queue", suite.inheritedClose},
	{"Suspend has clients refused, Resume has them served", suite.inheritedSuspend},
	{"Resume ends a Suspend that failed", suite.inheritedSuspendFails},
	{"Close ends Suspend", suite.inheritedSuspendClose},
	{"Close ends Suspend beside live sessions", suite.inheritedSuspendCloseLive},
	{"a socket whose last owner died while it was suspended is served", suite.inheritedSuspended},
	{"unix socket/is served, stays as a file, and is not suspended", suite.inheritedUnix},
}

// inherit is what a service manager does: it listens, and hands a copy of the socket
// over.
func inherit(t *testing.T, maker net.Listener) splice.Bind {
	t.Helper()
	file, err := maker.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	if maker.Addr().Network() == "unix" {
		return splice.Bind{Inherited: fd, Unix: maker.Addr().String()}
	}
	return splice.Bind{Inherited: fd, Addr: netip.MustParseAddrPort(maker.Addr().String())}
}

// several loops share the one socket.
var several = splice.Options{Threads: 3}

func (s suite) inherited(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	early := dialTCP(t, netip.MustParseAddrPort(maker.Addr().String()))
	send(t, early, "early")
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	server, session := r.connected()
	want(t, server, "early")
	finish(t, early, server, session)
	for range 20 {
		client, server, session := r.connect()
		roundTrip(t, client, server)
		finish(t, client, server, session)
	}
}

func (s suite) inheritedClose(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	client, server, session := r.connect()
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	late := dialTCP(t, r.listener.Addr())
	roundTrip(t, late, accept(t, maker))
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

func (s suite) inheritedSuspend(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	s.suspendResume(t, plan{options: several, bind: inherit(t, maker)})
}

// inheritedSuspendFails has somebody else take the socket out of the listening state.
func (s suite) inheritedSuspendFails(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	unlisten(t, maker)
	if err := r.listener.Suspend(); err == nil {
		t.Fatal("Suspend got nil; want an error")
	}
	if err := r.listener.Resume(); err != nil {
		t.Fatalf("Resume: %v", err)
	}
	client, server, session := r.connect()
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

func (s suite) inheritedSuspendClose(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{bind: inherit(t, maker)})
	if err := r.listener.Suspend(); err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	wantRefused(t, addrOf(r.listener))
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	roundTrip(t, dialTCP(t, r.listener.Addr()), accept(t, maker))
}

// inheritedSuspendCloseLive has the sessions of the socket hold its address as well.
func (s suite) inheritedSuspendCloseLive(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	client, server, session := r.connect()
	if err := r.listener.Suspend(); err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	roundTrip(t, dialTCP(t, r.listener.Addr()), accept(t, maker))
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

// inheritedSuspended finds the socket beside a connection that holds its address as well.
func (s suite) inheritedSuspended(t *testing.T) {
	maker := listenTCP(t, "127.0.0.1:0")
	dialTCP(t, netip.MustParseAddrPort(maker.Addr().String()))
	accept(t, maker)
	unlisten(t, maker)
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

func (s suite) inheritedUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	maker, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer maker.Close()
	r := s.rig(t, plan{options: several, bind: inherit(t, maker)})
	if err := r.listener.Suspend(); err != nil {
		t.Errorf("Suspend got %v; want nil", err)
	}
	client, server, session := r.connect()
	if !session.peer.Unix {
		t.Errorf("Open got %+v; want a unix peer", session.peer)
	}
	roundTrip(t, client, server)
	finish(t, client, server, session)
	if err := r.listener.Resume(); err != nil {
		t.Errorf("Resume got %v; want nil", err)
	}
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	late := dialUnix(t, path)
	roundTrip(t, late, accept(t, maker))
}
