package splicetest

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
	"golang.org/x/sys/unix"
)

// The addresses of the two namespaces that a test's process has: the engine lives in
// the near one, a peer in the far one.
const (
	nearAddr = "10.98.0.1"
	farAddr  = "10.98.0.2"
)

// far is a network namespace behind a cable of its own. Its thread does what it is
// asked to.
type far struct {
	t     *testing.T
	tasks chan func()
}

// withFar runs a test once more in a process with a namespace of its own, and a far
// one. It reports whether this is it.
func withFar(t *testing.T) (*far, bool) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		skipOutsideCI(t, err.Error())
	}
	if !inSubprocess(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}) {
		return nil, false
	}
	ip(t, "link set lo up")
	f := &far{t: t, tasks: make(chan func())}
	ready := make(chan int)
	go f.run(ready)
	t.Cleanup(func() { close(f.tasks) })
	ip(t, "link add near type veth peer name far")
	ip(t, fmt.Sprintf("link set far netns %d", <-ready))
	ip(t, "addr add "+nearAddr+"/24 dev near")
	ip(t, "link set near up")
	f.do(func() {
		ip(t, "addr add "+farAddr+"/24 dev far")
		ip(t, "link set far up")
	})
	return f, true
}

// run is the namespace's thread, which ends with it. Sockets keep the namespace in
// which they were made, wherever they are used.
func (f *far) run(ready chan<- int) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		f.t.Error(err)
	}
	ready <- unix.Gettid()
	for task := range f.tasks {
		task()
	}
}

func (f *far) do(task func()) {
	done := make(chan struct{})
	f.tasks <- func() {
		defer close(done)
		task()
	}
	<-done
}

// cut has nothing of the far side arrive any more: what it sends is dropped there.
func (f *far) cut() {
	f.do(func() { ip(f.t, "route replace blackhole "+nearAddr+"/32") })
}

func ip(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// dial connects from the far side.
func (f *far) dial(addr netip.AddrPort) (s stream) {
	f.t.Helper()
	f.do(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
		}
		if err != nil {
			f.t.Errorf("connect from the far side: %v", err)
			return
		}
		s = connOf(f.t, fd)
	})
	if s == nil {
		f.t.FailNow()
	}
	return s
}

// connOf makes a connection of a descriptor.
func connOf(t *testing.T, fd int) stream {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	return ours(t, conn.(stream))
}

// listen listens on the far side.
func (f *far) listen() (l net.Listener) {
	f.t.Helper()
	f.do(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(farAddr).As4()})
		}
		if err == nil {
			err = unix.Listen(fd, 16)
		}
		if err == nil {
			file := os.NewFile(uintptr(fd), "socket")
			defer file.Close()
			l, err = net.FileListener(file)
		}
		if err != nil {
			f.t.Errorf("listen on the far side: %v", err)
		}
	})
	if l == nil {
		f.t.FailNow()
	}
	f.t.Cleanup(func() { l.Close() })
	return l
}

// soon is the shortest keepalive that there is: dead after three seconds.
var soon = splice.Keepalive{Idle: time.Second, Interval: time.Second, Count: 2}

// farClient is a session whose client is on the far side.
func (s suite) farClient(t *testing.T, f *far, p plan) (client, server stream, session *recorder) {
	t.Helper()
	p.bind.Addr = netip.MustParseAddrPort(nearAddr + ":0")
	r := s.rig(t, p)
	client = f.dial(r.listener.Addr())
	server, session = r.connected()
	roundTrip(t, client, server)
	return client, server, session
}

// farBackend is a session whose backend is on the far side.
func (s suite) farBackend(t *testing.T, f *far, p plan) (client, server stream, session *recorder) {
	t.Helper()
	p.backend = f.listen()
	r := s.rig(t, p)
	client, server, session = r.connect()
	roundTrip(t, client, server)
	return client, server, session
}

func (s suite) keepaliveClient(t *testing.T) {
	if f, ok := withFar(t); ok {
		_, server, session := s.farClient(t, f, plan{bind: splice.Bind{Keepalive: soon}})
		f.cut()
		session.wantEnd(t, splice.ReasonClientReset)
		wantReset(t, server)
	}
}

func (s suite) keepaliveBackend(t *testing.T) {
	if f, ok := withFar(t); ok {
		client, _, session := s.farBackend(t, f, plan{timeouts: splice.Timeouts{Keepalive: soon}})
		f.cut()
		session.wantEnd(t, splice.ReasonBackendReset)
		wantReset(t, client)
	}
}

// keepaliveLive is silent for longer than keepalive gives a peer that is gone, as the
// idle timeout tells.
func (s suite) keepaliveLive(t *testing.T) {
	if f, ok := withFar(t); ok {
		const idle = 5 * time.Second
		_, _, session := s.farClient(t, f, plan{
			bind: splice.Bind{Keepalive: soon}, timeouts: splice.Timeouts{Keepalive: soon, Idle: idle},
		})
		session.wantEnd(t, splice.ReasonIdleTimeout)
	}
}

// dead is for engines that find a dead peer quickly.
var dead = splice.Options{Threads: 1, SilentAfter: time.Second}

func (s suite) silentClient(t *testing.T) {
	if f, ok := withFar(t); ok {
		_, server, session := s.farClient(t, f, plan{options: dead})
		f.cut()
		fillUntilCut(t, server)
		wantTimedOut(t, session, splice.ReasonClientReset)
	}
}

func (s suite) silentBackend(t *testing.T) {
	if f, ok := withFar(t); ok {
		client, _, session := s.farBackend(t, f, plan{options: dead})
		f.cut()
		fillUntilCut(t, client)
		wantTimedOut(t, session, splice.ReasonBackendReset)
	}
}

func wantTimedOut(t *testing.T, session *recorder, reason splice.Reason) {
	t.Helper()
	if r := session.wantEnd(t, reason); r.Err != syscall.ETIMEDOUT {
		t.Errorf("session ended with error %v; want %v", r.Err, syscall.ETIMEDOUT)
	}
}

// silentIsNotSlow ends by the stall timeout, long after a dead peer would have been
// found.
func (s suite) silentIsNotSlow(t *testing.T) {
	if f, ok := withFar(t); ok {
		const stall = 4 * time.Second
		_, server, session := s.farClient(t, f, plan{options: dead, timeouts: splice.Timeouts{Stall: stall}})
		fillUntilCut(t, server)
		session.wantEnd(t, splice.ReasonStallTimeout)
	}
}

func (s suite) userTimeoutClient(t *testing.T) {
	if f, ok := withFar(t); ok {
		_, server, session := s.farClient(t, f, plan{bind: splice.Bind{Keepalive: splice.Keepalive{UserTimeout: time.Second}}})
		f.cut()
		send(t, server, "lost")
		session.wantEnd(t, splice.ReasonClientReset)
		wantReset(t, server)
	}
}

func (s suite) userTimeoutBackend(t *testing.T) {
	if f, ok := withFar(t); ok {
		client, _, session := s.farBackend(t, f, plan{timeouts: splice.Timeouts{Keepalive: splice.Keepalive{UserTimeout: time.Second}}})
		f.cut()
		send(t, client, "lost")
		session.wantEnd(t, splice.ReasonBackendReset)
		wantReset(t, client)
	}
}

// keepaliveOptions looks at the engine's own sockets, as socketOptions does.
func (s suite) keepaliveOptions(t *testing.T) {
	k := splice.Keepalive{Idle: time.Second, Interval: 3 * time.Second, Count: 7, UserTimeout: 12345 * time.Millisecond}
	r := s.rig(t, plan{bind: splice.Bind{Keepalive: k}, timeouts: splice.Timeouts{Keepalive: k}})
	client, server, _ := r.connect()
	for name, peer := range map[string]net.Conn{"client": client, "backend": server} {
		fd := descriptorOf(t, peer.RemoteAddr(), peer.LocalAddr())
		name = "the " + name + "'s connection"
		eventually(t, name+" has its keepalive", func() bool {
			n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
			return err == nil && n == 7
		})
		wantOption(t, fd, name, "TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1)
		wantOption(t, fd, name, "TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 3)
		wantOption(t, fd, name, "TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12345)
	}
}

// userTimeoutEternal asks for more milliseconds than an int has.
func (s suite) userTimeoutEternal(t *testing.T) {
	k := splice.Keepalive{UserTimeout: 1200 * time.Hour}
	r := s.rig(t, plan{bind: splice.Bind{Keepalive: k}, timeouts: splice.Timeouts{Keepalive: k}})
	client, server, _ := r.connect()
	for name, peer := range map[string]net.Conn{"client": client, "backend": server} {
		fd := descriptorOf(t, peer.RemoteAddr(), peer.LocalAddr())
		wantOption(t, fd, "the "+name+"'s connection", "TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, math.MaxInt32)
	}
}

func (s suite) keepaliveChanged(t *testing.T) {
	r := s.rig(t, plan{})
	wantIdle := func(want int) {
		t.Helper()
		client, _, _ := r.connect()
		wantOption(t, descriptorOf(t, client.RemoteAddr(), client.LocalAddr()), "the client's connection", "TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, want)
	}
	wantIdle(60)
	if err := r.listener.SetKeepalive(splice.Keepalive{Idle: 7 * time.Second}); err != nil {
		t.Fatal(err)
	}
	wantIdle(7)
}
