package splicetest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/limeload/limeload/splice"
)

var listenerTests = []test{
	{"Addr has the port that the system chose", suite.listenerAddr},
	{"Open hears the client's address and its own", suite.listenerPeer},
	{"Close frees the address and leaves live sessions", suite.listenerClose},
	{"Close serves what was queued", suite.listenerCloseServes},
	{"a closed listener says so", suite.listenerClosed},
	{"Suspend has clients refused, Resume has them served", suite.suspend},
	{"Suspend keeps an address that was asked for", suite.suspendExplicit},
	{"Suspend resets the clients that were queued", suite.suspendQueued},
	{"Close ends Suspend", suite.suspendClose},
	{"an address in use is an error that names it", suite.inUse},
	{"an address shared by another process's sockets is in use", suite.inUseShared},
	{"IPv6", suite.ipv6},
	{"an address without a host is both IPv4 and IPv6", suite.dualStack},
	{"unix socket/as a listener", suite.unixListener},
	{"unix socket/as a backend", suite.unixBackend},
	{"unix socket/a stale file is replaced", suite.unixStale},
	{"unix socket/a live one is in use", suite.unixInUse},
	{"unix socket/a file that is none is left alone", suite.unixNotSocket},
	{"unix socket/Suspend and Resume", suite.unixSuspend},
	{"unix socket/Close leaves the file of another that took the path", suite.unixCloseTaken},
	{"unix socket/a Resume that failed can be tried again", suite.unixResumeAgain},
	{"unix socket/Close after a Resume that failed touches nothing of others", suite.unixResumeClose},
}

// addrOf is a listener's address as the net package has it.
func addrOf(l splice.Listener) net.Addr { return net.TCPAddrFromAddrPort(l.Addr()) }

// isFree reports whether nobody listens on an address, without connecting to it.
func isFree(addr net.Addr) bool {
	l, err := net.Listen(addr.Network(), addr.String())
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (s suite) listenerAddr(t *testing.T) {
	r := s.rig(t, plan{})
	if got := r.listener.Addr(); got.Addr() != loopback.Addr() || got.Port() == 0 {
		t.Errorf("Addr got %v; want %v and a port", got, loopback.Addr())
	}
}

func (s suite) listenerPeer(t *testing.T) {
	r := s.rig(t, plan{})
	client, _, session := r.connect()
	want := splice.Peer{
		Remote: netip.MustParseAddrPort(client.LocalAddr().String()),
		Local:  r.listener.Addr(),
	}
	if session.peer != want {
		t.Errorf("Open got %+v; want %+v", session.peer, want)
	}
}

func (s suite) listenerClose(t *testing.T) {
	r := s.rig(t, plan{options: splice.Options{Threads: 3}})
	client, server, session := r.connect()
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	wantRefused(t, addrOf(r.listener))
	listenTCP(t, r.listener.Addr().String())
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

func (s suite) listenerClosed(t *testing.T) {
	r := s.rig(t, plan{})
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	for call, err := range map[string]error{
		"Suspend":      r.listener.Suspend(),
		"Resume":       r.listener.Resume(),
		"SetKeepalive": r.listener.SetKeepalive(splice.Keepalive{}),
		"Close":        r.listener.Close(),
	} {
		if err != splice.ErrClosed {
			t.Errorf("%s after Close got %v; want %v", call, err, splice.ErrClosed)
		}
	}
}

// listenerCloseServes queues clients at a full gate, which it opens as it closes.
func (s suite) listenerCloseServes(t *testing.T) {
	gate := splice.NewGate(1)
	r := s.rig(t, plan{bind: splice.Bind{Gates: []*splice.Gate{gate}}})
	r.connect()
	const n = 30
	var queued []stream
	for range n {
		client := r.client()
		send(t, client, "queued")
		queued = append(queued, client)
	}
	gate.SetLimit(0)
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	for range n {
		server := r.server()
		want(t, server, "queued")
		send(t, server, "served")
	}
	for _, client := range queued {
		want(t, client, "served")
	}
}

func (s suite) suspend(t *testing.T) {
	s.suspendResume(t, plan{options: splice.Options{Threads: 3}})
}

func (s suite) suspendExplicit(t *testing.T) {
	s.suspendResume(t, plan{bind: splice.Bind{Addr: freePort(t), Backlog: 16}})
}

// freePort is an address that can be listened on. Its port is below those that a
// system gives to clients (RFC 6056, 3.2; Linux begins at 32768), so that no other
// test gets it by chance.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		addr := netip.AddrPortFrom(loopback.Addr(), uint16(10_000+rand.IntN(20_000)))
		if isFree(net.TCPAddrFromAddrPort(addr)) {
			return addr
		}
	}
	t.Fatal("no port is free")
	return netip.AddrPort{}
}

func (s suite) suspendResume(t *testing.T, p plan) {
	r := s.rig(t, p)
	client, server, session := r.connect()
	addr := addrOf(r.listener)
	for range 3 {
		if err := r.listener.Suspend(); err != nil {
			t.Fatalf("Suspend: %v", err)
		}
		wantRefused(t, addr)
		other, err := s.engine(t, splice.Options{}).Listen(splice.Bind{Addr: r.listener.Addr(), Handler: r})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("Listen on a suspended address got %v, %v; want %v", other, err, syscall.EADDRINUSE)
		}
		roundTrip(t, client, server)
		if err := r.listener.Resume(); err != nil {
			t.Fatalf("Resume: %v", err)
		}
		next, nextServer, nextSession := r.connect()
		roundTrip(t, next, nextServer)
		finish(t, next, nextServer, nextSession)
	}
	if got := addrOf(r.listener).String(); got != addr.String() {
		t.Errorf("Addr got %v after Resume; want %v", got, addr)
	}
	finish(t, client, server, session)
}

// suspendQueued looks at the last of several clients: an engine may have taken the
// first ones out of the kernel's queue.
func (s suite) suspendQueued(t *testing.T) {
	gate := splice.NewGate(1)
	r := s.rig(t, plan{options: splice.Options{Threads: 1}, bind: splice.Bind{Gates: []*splice.Gate{gate}}})
	client, server, _ := r.connect()
	var last stream
	for range 3 {
		last = r.client()
	}
	if err := r.listener.Suspend(); err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	wantReset(t, last)
	roundTrip(t, client, server)
}

func (s suite) suspendClose(t *testing.T) {
	r := s.rig(t, plan{})
	if err := r.listener.Suspend(); err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	listenTCP(t, r.listener.Addr().String())
}

// wantInUse checks the error of a Listen on an address that someone has.
func wantInUse(t *testing.T, err error, address string) {
	t.Helper()
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) {
		t.Errorf("Listen got %v; want %v, naming %s", err, syscall.EADDRINUSE, address)
	}
}

func (s suite) inUse(t *testing.T) {
	r := s.rig(t, plan{})
	taken := listenTCP(t, "127.0.0.1:0").Addr().(*net.TCPAddr).AddrPort()
	for _, addr := range []netip.AddrPort{taken, r.listener.Addr()} {
		_, err := r.engine.Listen(splice.Bind{Addr: addr, Handler: r})
		wantInUse(t, err, addr.String())
	}
}

func (s suite) ipv6(t *testing.T) {
	needIPv6(t)
	backend := listenTCP(t, "[::1]:0")
	r := s.rig(t, plan{backend: backend, bind: splice.Bind{Addr: netip.MustParseAddrPort("[::1]:0")}})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	if got := session.peer.Remote.Addr(); got != netip.IPv6Loopback() {
		t.Errorf("Open got client %v; want %v", got, netip.IPv6Loopback())
	}
	finish(t, client, server, session)
}

func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	l.Close()
}

func (s suite) dualStack(t *testing.T) {
	needIPv6(t)
	r := s.rig(t, plan{})
	both, err := r.engine.Listen(splice.Bind{Handler: r})
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	port := both.Addr().Port()
	for _, host := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		client := dialTCP(t, netip.AddrPortFrom(host, port))
		server, session := r.connected()
		roundTrip(t, client, server)
		if remote, local := session.peer.Remote.Addr(), session.peer.Local.Addr(); remote != host || local != host {
			t.Errorf("Open got client %v at %v; want %v at the same", remote, local, host)
		}
	}
}

// socketPath is a path for a unix socket.
func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "sock") }

func (s suite) unixListener(t *testing.T) {
	path := socketPath(t)
	r := s.rig(t, plan{bind: splice.Bind{Unix: path}})
	client, server, session := r.connect()
	if want := (splice.Peer{Unix: true}); session.peer != want {
		t.Errorf("Open got %+v; want %+v", session.peer, want)
	}
	roundTrip(t, client, server)
	s.halfClose(t, client, server)
	session.wantEnd(t, splice.ReasonClientClosed)
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the socket's file got %v; want %v", err, os.ErrNotExist)
	}
}

func (s suite) unixBackend(t *testing.T) {
	r := s.rig(t, plan{backend: listenUnix(t, socketPath(t))})
	for _, firstIsClient := range []bool{true, false} {
		client, server, session := r.connect()
		roundTrip(t, client, server)
		if firstIsClient {
			s.halfClose(t, client, server)
			session.wantEnd(t, splice.ReasonClientClosed)
		} else {
			s.halfClose(t, server, client)
			session.wantEnd(t, splice.ReasonBackendClosed)
		}
	}
}

func (s suite) unixStale(t *testing.T) {
	r := s.rig(t, plan{bind: splice.Bind{Unix: staleSocket(t)}})
	client, server, _ := r.connect()
	roundTrip(t, client, server)
}

func (s suite) unixInUse(t *testing.T) {
	path := socketPath(t)
	other := listenUnix(t, path)
	_, err := s.engine(t, splice.Options{}).Listen(splice.Bind{Unix: path, Handler: bareHandler{}})
	wantInUse(t, err, path)
	// The engine may have looked whether someone answers.
	client := dialUnix(t, path)
	send(t, client, "still served")
	eventually(t, "the other listener serves its clients", func() bool {
		got, _ := io.ReadAll(io.LimitReader(accept(t, other), 12))
		return string(got) == "still served"
	})
}

func (s suite) unixNotSocket(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.engine(t, splice.Options{}).Listen(splice.Bind{Unix: path, Handler: bareHandler{}})
	wantInUse(t, err, path)
	if !strings.HasSuffix(err.Error(), ": what is there is no socket") {
		t.Errorf("got %v; want an error that says what is there", err)
	}
	if got, err := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the file has %q, %v; want it untouched", got, err)
	}
}

func (s suite) unixSuspend(t *testing.T) {
	path := socketPath(t)
	r := s.rig(t, plan{bind: splice.Bind{Unix: path}})
	client, server, _ := r.connect()
	for range 2 {
		if err := r.listener.Suspend(); err != nil {
			t.Fatalf("Suspend: %v", err)
		}
		wantRefused(t, &net.UnixAddr{Name: path, Net: "unix"})
		roundTrip(t, client, server)
		if err := r.listener.Resume(); err != nil {
			t.Fatalf("Resume: %v", err)
		}
		next, nextServer, nextSession := r.connect()
		roundTrip(t, next, nextServer)
		finish(t, next, nextServer, nextSession)
	}
}

func (s suite) unixCloseTaken(t *testing.T) {
	path := socketPath(t)
	r := s.rig(t, plan{bind: splice.Bind{Unix: path}})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listenUnix(t, path)
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	roundTrip(t, dialUnix(t, path), accept(t, other))
}

// resumeTaken suspends a unix listener, and has Resume fail because another one took
// its path meanwhile.
func (s suite) resumeTaken(t *testing.T) (r *rig, other net.Listener) {
	t.Helper()
	path := socketPath(t)
	r = s.rig(t, plan{options: splice.Options{Threads: 2}, bind: splice.Bind{Unix: path}})
	if err := r.listener.Suspend(); err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other = listenUnix(t, path)
	if err := r.listener.Resume(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("Resume got %v; want %v", err, syscall.EADDRINUSE)
	}
	accept(t, other).Close() // the engine has looked whether someone answers
	return r, other
}

func (s suite) unixResumeAgain(t *testing.T) {
	r, other := s.resumeTaken(t)
	other.Close()
	if err := r.listener.Resume(); err != nil {
		t.Fatalf("Resume got %v; want nil", err)
	}
	client, server, session := r.connect()
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

// unixResumeClose makes new descriptors, which get the numbers that the suspended
// listener had, and closes it.
func (s suite) unixResumeClose(t *testing.T) {
	r, other := s.resumeTaken(t)
	var others []stream
	for range 16 {
		others = append(others, dialUnix(t, other.Addr().String()), accept(t, other))
	}
	if err := r.listener.Close(); err != nil {
		t.Errorf("Close got %v; want nil", err)
	}
	for i := 0; i < len(others); i += 2 {
		roundTrip(t, others[i], others[i+1])
	}
	dialUnix(t, other.Addr().String()) // the other's file is still there
}
