package splice_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
)

// Traps 19 to 21: ports, loops and descriptors that run out.

// The scale of the port tests: the system may choose among so many ports, where it
// usually has 28 000.
const (
	firstPort = 20_000
	ports     = 300
)

// fewPorts makes the ports of a network scarce. Clients come over a unix socket, so
// that the engine alone uses them.
func (r *trapRig) fewPorts(t *testing.T) (dial func() net.Conn) {
	t.Helper()
	setSysctl(t, "net.ipv4.ip_local_port_range", strconv.Itoa(firstPort)+" "+strconv.Itoa(firstPort+ports-1))
	path := t.TempDir() + "/s"
	r.listen(splice.Bind{Unix: path})
	return func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(trapPatience))
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// TestTrap19ManySources connects more often to one backend than there are ports: each
// source address has all of them, and each address of the backend as well. Where none
// is left, that is not the backend's fault.
func TestTrap19ManySources(t *testing.T) {
	if !alone(t, true) {
		return
	}
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{})
		dial := r.fewPorts(t)
		backends := []netip.AddrPort{addrPortOf(r.backend.Addr()), addrPortOf(r.echoListener(t).Addr())}
		go echoAll(r.backend)
		sources := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4")}

		// The session in turn takes one source after the other, as each runs out.
		var source, backend, localErrors, others atomic.Int64
		r.onDial(func(last error) (splice.Endpoint, error) {
			if last != nil {
				if !splice.LocalError(last) || !errors.Is(last, unix.EADDRNOTAVAIL) {
					others.Add(1)
				}
				localErrors.Add(1)
				if source.Add(1) >= int64(len(sources)) {
					return splice.Endpoint{}, last
				}
			}
			ep := r.endpoint
			ep.Addr, ep.Source = backends[backend.Load()], sources[source.Load()]
			return ep, nil
		})
		served := 0
		for source.Load() < int64(len(sources)) {
			c := dial()
			s := <-r.sessions
			if !connects(t, s) {
				break
			}
			if served%50 == 0 {
				wantEcho(t, c)
			}
			served++
		}
		if want := len(sources) * ports; served < want*9/10 {
			t.Errorf("%d sessions were connected; want nearly %d: %d ports of %d sources", served, want, ports, len(sources))
		}
		if others.Load() != 0 || localErrors.Load() < int64(len(sources)) {
			t.Errorf("%d failed dials were local errors and %d were not; want one for each of %d sources", localErrors.Load(), others.Load(), len(sources))
		}

		// Another address of the backend has the same ports anew.
		source.Store(0)
		backend.Store(1)
		for range ports / 2 {
			c := dial()
			if !connects(t, <-r.sessions) {
				t.Fatal("no port is left for another address of the backend; want all of them")
			}
			wantEcho(t, c)
		}
	})
}

// echoListener is one more backend.
func (r *trapRig) echoListener(t *testing.T) *net.TCPListener {
	l := listenOn(t, "127.0.0.1:0")
	go echoAll(l)
	return l
}

// connects waits until a session is connected, or over.
func connects(t *testing.T, s *trapSession) bool {
	t.Helper()
	select {
	case <-s.connected:
		return true
	case <-s.closed:
		return false
	case <-time.After(trapPatience):
		t.Fatal("a session neither connected nor ended")
		return false
	}
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	b := make([]byte, 4)
	_, err1 := io.WriteString(c, "ping")
	_, err2 := io.ReadFull(c, b)
	if err := errors.Join(err1, err2); err != nil || string(b) != "ping" {
		t.Fatalf("echo got %q, %v; want %q", b, err, "ping")
	}
}

// TestTrap19TimeWait makes more short sessions, which the client ends, than there are
// ports: each leaves one in TIME_WAIT. Those that find none wait for one, and are
// served.
func TestTrap19TimeWait(t *testing.T) {
	if !alone(t, true) {
		return
	}
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{})
		dial := r.fewPorts(t)
		go echoAll(r.backend)
		var waits, others atomic.Int64
		r.onDial(func(last error) (splice.Endpoint, error) {
			ep := r.endpoint
			ep.Source = netip.MustParseAddr("127.0.0.2")
			switch last.(type) {
			case nil, splice.Wait:
				return ep, nil
			}
			if !splice.LocalError(last) {
				others.Add(1)
			}
			waits.Add(1)
			return ep, splice.Wait(20 * time.Millisecond)
		})
		// The kernel lends a port again after a second: nearly all are given back at
		// one time. The last few may not be found by a connect, see TestTrap19ManySources.
		var clients []net.Conn
		var sessions []*trapSession
		for range ports * 8 / 10 {
			c := dial()
			wantEcho(t, c)
			clients, sessions = append(clients, c), append(sessions, <-r.sessions)
		}
		for _, c := range clients {
			c.Close()
		}
		for _, s := range sessions {
			s.wantEnd(t, splice.ReasonClientClosed)
		}
		for range ports {
			c := dial()
			wantEcho(t, c)
			c.Close()
			(<-r.sessions).wantEnd(t, splice.ReasonClientClosed)
		}
		if others.Load() != 0 {
			t.Errorf("%d failed dials were blamed on the backend; want none", others.Load())
		}
		if waits.Load() == 0 {
			t.Error("no dial found the ports taken, so nothing was tested")
		}
	})
}

// TestTrap20StalledLoop stalls one of two loops. The other serves its clients
// meanwhile, old and new, and those of the stalled one are served afterwards.
func TestTrap20StalledLoop(t *testing.T) {
	r := newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 2}, splice.Timeouts{})
	go echoAll(r.backend)
	stall := r.newStall()
	before := r.engine.Stats()
	stall.begin()
	stalled := 0
	if r.engine.Stats()[1].Accepted > before[1].Accepted {
		stalled = 1
	}
	accepted := r.engine.Stats()[stalled].Accepted

	const clients = 40
	done := make(chan error, clients)
	for range clients {
		c := dialAt(t, r.listener.Addr())
		go func() {
			_, err := roundTrips(c, 5)
			done <- err
		}()
	}
	first := <-done // there is one, but for a chance of 2^-40
	if first != nil {
		t.Fatal(first)
	}
	if got := r.engine.Stats()[stalled].Accepted; got != accepted {
		t.Errorf("the stalled loop accepted %d clients; want none, or nothing was tested", got-accepted)
	}
	stall.end()
	for range clients - 1 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrap20SkewedAccept has clients of two loops share few permits. The kernel
// spreads clients by their ports, not by how busy a loop is: whichever loop has the
// clients must get the permits, and never more than there are.
func TestTrap20SkewedAccept(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		const limit, clients = 3, 60
		r := newTrapRig(t, o, splice.Timeouts{})
		go echoAll(r.backend)
		// Each of the two gates is full at times. The wide one is shared with a listener
		// that has no other.
		narrow, wide := splice.NewGate(limit), splice.NewGate(limit+1)
		gated := r.listen(splice.Bind{Addr: trapLoopback, Gates: []*splice.Gate{wide, narrow}})
		other := r.listen(splice.Bind{Addr: trapLoopback, Gates: []*splice.Gate{wide}})
		var live, most atomic.Int64
		done := make(chan error, clients)
		for i := range clients {
			addr := gated.Addr()
			if i%3 == 0 {
				addr = other.Addr()
			}
			c := dialAt(t, addr)
			go func() {
				defer c.Close()
				_, err := roundTrips(c, 1)
				for n := live.Add(1); n > most.Load(); {
					most.CompareAndSwap(most.Load(), n)
				}
				if err == nil {
					_, err = roundTrips(c, 20)
				}
				live.Add(-1)
				done <- err
			}()
		}
		for range clients {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if n := most.Load(); n > limit+1 {
			t.Errorf("%d sessions lived at once; want at most %d", n, limit+1)
		}
		until(t, "all permits are back", func() bool { return narrow.Used() == 0 && wide.Used() == 0 })
	})
}

// TestTrap20RemovedListener closes a listener while clients wait in the kernel's
// queues of its loops.
func TestTrap20RemovedListener(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{})
		go echoAll(r.backend)
		hold := make(chan struct{})
		var opens atomic.Int64
		r.onOpen(func() error {
			opens.Add(1)
			<-hold
			return nil
		})
		// One client stalls each loop that has any; the rest is queued.
		const queued = 30
		var clients []*net.TCPConn
		for range queued {
			clients = append(clients, dialAt(t, r.listener.Addr()))
		}
		until(t, "a loop stands still", func() bool { return opens.Load() > 0 })
		closed := aside(t, "close", r.listener.Close)
		close(hold)
		closed()
		for _, c := range clients {
			wantEcho(t, c)
		}
		if c, err := net.Dial("tcp", r.listener.Addr().String()); !errors.Is(err, unix.ECONNREFUSED) {
			if err == nil {
				c.Close()
			}
			t.Errorf("connect after Close got %v; want %v", err, unix.ECONNREFUSED)
		}
	})
}

// TestTrap21NoDescriptors leaves a process none, while a session lives and clients
// come. It must not spin, must not end the session, and must go on once there are
// some.
func TestTrap21NoDescriptors(t *testing.T) {
	for _, kind := range []string{splice.TypeSplice, splice.TypeCopy} {
		t.Run(kind, func(t *testing.T) {
			if !alone(t, false) {
				return
			}
			var pauses atomic.Int64
			r := newTrapRig(t, splice.Options{Type: kind, Threads: 1, OnAcceptPause: func(err error) {
				if !errors.Is(err, unix.EMFILE) {
					t.Errorf("OnAcceptPause got %v; want %v", err, unix.EMFILE)
				}
				pauses.Add(1)
			}}, splice.Timeouts{})
			client, server, _ := r.connect()
			clients := bareSockets(t, 20)
			giveBack := takeDescriptors(t, 0)
			connectAll(t, clients, r.listener.Addr())
			until(t, "accepting pauses", func() bool { return r.stats().AcceptPauses > 0 })
			r.wantRest(t)
			transfer(t, client, server, 1000)
			transfer(t, server, client, 1<<20)
			giveBack()
			for range clients {
				r.accepted()
			}
			if got, want := r.stats().AcceptPauses, uint64(pauses.Load()); got != want {
				t.Errorf("%d pauses were counted and %d told; want the same", got, want)
			}
		})
	}
}

// TestTrap21NoneToDial leaves a process one descriptor: it is enough to accept a
// client, and not to dial for it. That is not the backend's fault.
func TestTrap21NoneToDial(t *testing.T) {
	for _, kind := range []string{splice.TypeSplice, splice.TypeCopy} {
		t.Run(kind, func(t *testing.T) {
			if !alone(t, false) {
				return
			}
			r := newTrapRig(t, splice.Options{Type: kind, Threads: 1}, splice.Timeouts{})
			r.connect()
			clients := bareSockets(t, 5)
			giveBack := takeDescriptors(t, 1)
			connectAll(t, clients, r.listener.Addr())
			for range clients {
				s := <-r.sessions
				s.wantEnd(t, splice.ReasonConnectFailed)
				if !errors.Is(s.result.Err, unix.EMFILE) || !splice.LocalError(s.result.Err) {
					t.Errorf("session ended with %v; want %v, a local error", s.result.Err, unix.EMFILE)
				}
			}
			giveBack()
			client, server, _ := r.connect()
			transfer(t, client, server, 1000)
		})
	}
}

// connectAll connects blocking sockets. Some may hear of a RST as early as that.
func connectAll(t *testing.T, fds []int, addr netip.AddrPort) {
	t.Helper()
	for _, fd := range fds {
		err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
		if err != nil && err != unix.ECONNRESET {
			t.Fatal(err)
		}
	}
}

// bareSockets are made before there are no descriptors left.
func bareSockets(t *testing.T, n int) (fds []int) {
	t.Helper()
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds = append(fds, fd)
	}
	return fds
}

// takeDescriptors leaves the process n to open.
func takeDescriptors(t *testing.T, n int) (giveBack func()) {
	t.Helper()
	highest := 0
	for fd := range descriptors(t) {
		highest = max(highest, fd)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(highest + 1 + n), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for range n {
		last := len(taken) - 1
		unix.Close(taken[last])
		taken = taken[:last]
	}
	return func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
}
