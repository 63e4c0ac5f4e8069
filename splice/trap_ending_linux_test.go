package splice_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
	"github.com/limeload/limeload/splice/internal/sys"
)

// Traps 14 to 17: how one side's end becomes the other's, and what ends a session
// in which neither does.

// directions are the two ways through a session, by who sends.
var directions = []struct {
	name          string
	fromClient    bool
	closed, reset splice.Reason
}{
	{"client to backend", true, splice.ReasonClientClosed, splice.ReasonClientReset},
	{"backend to client", false, splice.ReasonBackendClosed, splice.ReasonBackendReset},
}

// way makes a session and answers the side that sends and the side that receives,
// whose system takes only a few KiB that it has not read.
func (r *trapRig) way(fromClient bool) (from, to *net.TCPConn, s *trapSession) {
	r.t.Helper()
	onSocket(r.t, r.backend, func(fd int) error { // its clients inherit that
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
	})
	client, server, s := r.connectSmall()
	if fromClient {
		return client, server, s
	}
	return server, client, s
}

// moved is what the engine has handed on in one direction.
func (s *trapSession) moved(fromClient bool) int64 {
	if fromClient {
		return int64(s.counters.Up.Load())
	}
	return int64(s.counters.Down.Load())
}

// overfill sends until the engine is left with bytes that its receiver, who does not
// read, has no room for. The engine's system has acknowledged all of it.
func (s *trapSession) overfill(t *testing.T, sent *tape, from *net.TCPConn, fromClient bool) {
	t.Helper()
	behind := func() bool {
		for range 20 {
			if s.moved(fromClient) >= sent.n {
				return false
			}
			time.Sleep(time.Millisecond)
		}
		return true
	}
	for sent.n < 64<<20 {
		if err := sent.send(from, 16<<10, 16<<10); err != nil {
			t.Fatal(err)
		}
		acknowledged(t, from)
		if s.moved(fromClient) < sent.n && behind() {
			return
		}
	}
	t.Fatalf("%d bytes that nobody reads found room", sent.n)
}

// TestTrap14HalfClose ends one direction, streams the other for several times the
// half-close timeout, and then goes silent.
func TestTrap14HalfClose(t *testing.T) {
	const timeout = 400 * time.Millisecond
	overEngines(t, func(t *testing.T, o splice.Options) {
		for _, d := range directions {
			t.Run(d.name+" ends first", func(t *testing.T) {
				t.Parallel()
				r := newTrapRig(t, o, splice.Timeouts{HalfClose: timeout})
				first, second, s := r.way(d.fromClient)
				first.CloseWrite()
				wantEOF(t, second)
				began, longest := time.Now(), time.Duration(0)
				b := make([]byte, 1)
				for last := began; time.Since(began) < 3*timeout; last = time.Now() {
					_, err1 := second.Write(b)
					_, err2 := io.ReadFull(first, b)
					if longest = max(longest, time.Since(last)); longest > timeout/2 {
						t.Skipf("the machine let %v pass between two bytes", longest)
					}
					if err := errors.Join(err1, err2); err != nil {
						t.Fatalf("after %v: %v; want the reverse direction to go on", time.Since(began), err)
					}
					time.Sleep(timeout / 20)
				}
				lasted := time.Since(began)
				s.wantEnd(t, splice.ReasonHalfCloseTimeout)
				if s.result.Duration < lasted {
					t.Errorf("session ended after %v; want more than the %v in which bytes flowed", s.result.Duration, lasted)
				}
				wantECONNRESET(t, first)
				wantBrokenWrite(t, second)
			})
		}
	})
}

func wantEOF(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read got %d bytes, %v; want the end", n, err)
	}
}

func wantECONNRESET(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if n, err := copyBytes(io.Discard, c); n != 0 || !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("read got %d bytes, %v; want %v", n, err, unix.ECONNRESET)
	}
}

// wantBrokenWrite writes until that fails: behind an end no read tells of a reset.
func wantBrokenWrite(t *testing.T, c *net.TCPConn) {
	t.Helper()
	until(t, "a write fails", func() bool {
		_, err := c.Write([]byte("x"))
		return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
	})
}

// TestTrap15Reset resets each side, with and without an end before it. The other
// side must hear the same, in the same order, without having to write first.
func TestTrap15Reset(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		for _, d := range directions {
			t.Run(d.name, func(t *testing.T) {
				t.Run("reset", func(t *testing.T) {
					from, to, s := newTrapRig(t, o, splice.Timeouts{}).way(d.fromClient)
					rst(from)
					wantECONNRESET(t, to)
					s.wantEnd(t, d.reset)
				})
				t.Run("bytes, reset", func(t *testing.T) {
					from, to, s := newTrapRig(t, o, splice.Timeouts{}).way(d.fromClient)
					sent, got := newTape(15), newReceived()
					if err := sent.send(from, 3000, 3000); err != nil {
						t.Fatal(err)
					}
					acknowledged(t, from)
					rst(from)
					if err := got.read(to, sent.n); err != nil {
						t.Fatal(err)
					}
					got.wantSame(t, sent)
					wantECONNRESET(t, to)
					s.wantEnd(t, d.reset)
				})
				t.Run("end, reset", func(t *testing.T) {
					from, to, s := newTrapRig(t, o, splice.Timeouts{}).way(d.fromClient)
					from.CloseWrite()
					wantEOF(t, to)
					rst(from)
					s.wantEnd(t, d.closed)
					wantBrokenWrite(t, to)
				})
				t.Run("end, reset, both before the bytes are read", func(t *testing.T) {
					r := newTrapRig(t, o, splice.Timeouts{})
					from, to, s := r.way(d.fromClient)
					sent, got := newTape(151), newReceived()
					s.overfill(t, sent, from, d.fromClient)
					from.CloseWrite()
					acknowledged(t, from)
					rst(from)
					if err := got.readAll(to); err != nil && !errors.Is(err, unix.ECONNRESET) {
						t.Fatal(err)
					}
					got.wantSame(t, sent)
					if o.Type == splice.TypeCopy { // it may hear of the reset before it reads the end
						s.ended(t)
						return
					}
					s.wantEnd(t, d.closed)
				})
			})
		}
	})
}

// ending is how a sender leaves.
type ending struct {
	name string
	end  func(*net.TCPConn)
	// resets is whether its system sends a RST, so that the session is over before the
	// receiver has ended as well.
	resets func(unread bool) bool
}

var endings = []ending{
	{"ends", func(c *net.TCPConn) { c.CloseWrite() }, func(bool) bool { return false }},
	{"closes", func(c *net.TCPConn) { c.Close() }, func(unread bool) bool { return unread }},
	{"resets", rst, func(bool) bool { return true }},
	{"ends and resets", func(c *net.TCPConn) { c.CloseWrite(); rst(c) }, func(bool) bool { return true }},
}

// stream is one direction of a session.
type stream struct {
	from, to   *net.TCPConn
	fromClient bool
	session    *trapSession
	sent       *tape
	got        *received
}

// reader is how a receiver reads: it has bytes sent, and answers what is to be done
// once their sender has left.
type reader struct {
	name string
	over bool // it begins when the session is over
	send func(t *testing.T, s *stream) (read func())
}

var readers = []reader{
	{"a reader who reads on", false, func(t *testing.T, s *stream) func() {
		received := aside(t, "receive", func() error { return s.readRest() })
		if err := s.sent.send(s.from, 2<<20, 64<<10); err != nil {
			t.Fatal(err)
		}
		acknowledged(t, s.from)
		return received
	}},
	{"a reader who does not read before", false, func(t *testing.T, s *stream) func() {
		s.session.overfill(t, s.sent, s.from, s.fromClient)
		return func() { fatal(t, s.readRest()) }
	}},
	{"a reader who begins when the session is over", true, func(t *testing.T, s *stream) func() {
		if err := s.sent.send(s.from, 24<<10, 24<<10); err != nil {
			t.Fatal(err)
		}
		acknowledged(t, s.from)
		return func() {
			s.session.ended(t)
			fatal(t, s.readRest())
		}
	}},
}

// readRest reads until the end or the reset.
func (s *stream) readRest() error {
	if err := s.got.readAll(s.to); !errors.Is(err, unix.ECONNRESET) {
		return err
	}
	return nil
}

// TestTrap16NothingIsTruncated ends the sender's connection in every way while its
// bytes are on their way. What its system has seen acknowledged must arrive, even if
// the receiver sends as well, which nobody reads any more.
func TestTrap16NothingIsTruncated(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		for _, d := range directions {
			for _, reader := range readers {
				t.Run(d.name+"/"+reader.name, func(t *testing.T) {
					t.Parallel()
					var timeouts splice.Timeouts
					if reader.over { // who takes nothing is waited for
						timeouts.HalfClose = 2 * time.Second
					}
					neverTruncates(t, newTrapRig(t, o, timeouts), d.fromClient, reader)
				})
			}
		}
	})
}

// neverTruncates has a session for each ending. They go side by side, since some take
// the engine's patience with a reader.
func neverTruncates(t *testing.T, r *trapRig, fromClient bool, reader reader) {
	reads := make(map[string]func(*testing.T))
	var ends []func()
	for _, ending := range endings {
		for talk, unread := range map[string]bool{"": false, ", and talks": true} {
			if reader.over && !ending.resets(unread) {
				continue
			}
			s := &stream{fromClient: fromClient, sent: newTape(16), got: newReceived()}
			s.from, s.to, s.session = r.way(fromClient)
			if unread {
				s.leaveUnread(t)
			}
			read := reader.send(t, s)
			ends = append(ends, func() {
				ending.end(s.from)
				if unread {
					s.to.Write([]byte("more")) // may meet the end
				}
			})
			reads["sender "+ending.name+talk] = func(t *testing.T) {
				read()
				s.got.wantSame(t, s.sent)
			}
		}
	}
	for _, end := range ends {
		end()
	}
	for name, read := range reads {
		t.Run(name, read)
	}
}

// leaveUnread has the receiver send what the sender will not read.
func (s *stream) leaveUnread(t *testing.T) {
	t.Helper()
	talk := make([]byte, 2000)
	if _, err := s.to.Write(talk); err != nil {
		t.Fatal(err)
	}
	until(t, "it waits to be read", func() bool { return unreadBytes(t, s.from) == len(talk) })
}

func unreadBytes(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	onSocket(t, c, func(fd int) error {
		n = receiveQueue(t, fd)
		return nil
	})
	return n
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrap17SilentPeer has a client vanish from the network while the engine is
// blocked writing to it. Every timeout ends the session, and the sender hears of it.
func TestTrap17SilentPeer(t *testing.T) {
	if !alone(t, true) {
		return
	}
	const short = 300 * time.Millisecond
	vanishing := byte(1)
	overEngines(t, func(t *testing.T, o splice.Options) {
		for _, timeout := range []struct {
			timeouts splice.Timeouts
			halfway  bool
			reason   splice.Reason
		}{
			{splice.Timeouts{Idle: short}, false, splice.ReasonIdleTimeout},
			{splice.Timeouts{HalfClose: short}, true, splice.ReasonHalfCloseTimeout},
			{splice.Timeouts{Lifetime: short}, false, splice.ReasonLifetime},
		} {
			t.Run(timeout.reason.String(), func(t *testing.T) {
				r := newTrapRig(t, o, timeout.timeouts)
				vanishing++
				client, server, s := r.connectFrom(netip.AddrFrom4([4]byte{127, 0, 0, vanishing}))
				if timeout.halfway {
					client.CloseWrite()
					wantEOF(t, server)
				}
				vanish(t, client)
				if err := endlessly(server); err != nil {
					t.Fatal(err)
				}
				s.wantEnd(t, timeout.reason)
				if s.result.Duration > 20*short {
					t.Errorf("session ended after %v; want it nearer the timeout of %v", s.result.Duration, short)
				}
			})
		}
	})
}

// connectFrom is connect for a client with an address of its own.
func (r *trapRig) connectFrom(addr netip.Addr) (client, server *net.TCPConn, s *trapSession) {
	r.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))}
	client = dialWith(r.t, d, r.listener.Addr())
	server, s = r.accepted()
	return client, server, s
}

// vanish loses all that is sent to a connection's address from now on.
func vanish(t *testing.T, c *net.TCPConn) {
	t.Helper()
	runCommand(t, "ip", "route", "add", "blackhole", addrPortOf(c.LocalAddr()).Addr().String(), "table", "local")
}

// TestTrap17SilentIsNotSlow compares a client that has vanished with one that lives
// and does not read, as the engine can: only the first leaves probes unanswered.
func TestTrap17SilentIsNotSlow(t *testing.T) {
	if !alone(t, true) {
		return
	}
	r := reactorRig(t)
	slow, slowServer, slowSession := r.connectSmall()
	gone, goneServer, goneSession := r.connectFrom(netip.MustParseAddr("127.0.0.2"))
	vanish(t, gone)
	fillUntilBlocked(t, slowServer)
	fillUntilBlocked(t, goneServer)
	unanswered := func(c *net.TCPConn) int {
		_, n, e := sys.Silence(int32(engineSocket(t, c)))
		if e != 0 {
			t.Fatal(e)
		}
		return n
	}
	until(t, "the client that is gone leaves probes unanswered", func() bool {
		if n := unanswered(slow); n >= 2 {
			t.Fatalf("a client that merely does not read left %d probes unanswered; want fewer than 2", n)
		}
		return unanswered(gone) >= 2
	})
	for _, s := range []*trapSession{slowSession, goneSession} {
		select {
		case <-s.closed:
			t.Errorf("session ended with %v; want it to live, without timeouts", s.result.Reason)
		default:
		}
	}
}

// TestTrap17SilentBackend dials hosts that do not answer, and none.
func TestTrap17SilentBackend(t *testing.T) {
	if !alone(t, true) {
		return
	}
	// What is sent to 10.9.0.2 arrives at the other end of a cable where nobody is.
	runCommand(t, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
	runCommand(t, "ip", "link", "set", "near", "up")
	runCommand(t, "ip", "link", "set", "far", "up")
	runCommand(t, "ip", "address", "add", "10.9.0.1/24", "dev", "near")
	runCommand(t, "ip", "neighbour", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "near", "nud", "permanent")
	runCommand(t, "ip", "route", "add", "unreachable", "10.9.1.0/24")
	overEngines(t, func(t *testing.T, o splice.Options) {
		for _, test := range []struct {
			addr string
			want error
		}{
			{"10.9.0.2:5432", splice.ErrDialTimeout},
			{"10.9.1.2:5432", unix.EHOSTUNREACH},
		} {
			t.Run(test.addr, func(t *testing.T) {
				r := newTrapRig(t, o, splice.Timeouts{})
				attempts := make(chan error, 2)
				r.onDial(func(last error) (splice.Endpoint, error) {
					attempts <- last
					return splice.Endpoint{Addr: netip.MustParseAddrPort(test.addr), Timeout: 100 * time.Millisecond}, last
				})
				if conn, err := net.Dial("tcp", r.listener.Addr().String()); err == nil {
					wantECONNRESET(t, bounded(t, conn.(*net.TCPConn)))
				} else if !errors.Is(err, unix.ECONNRESET) {
					t.Fatal(err)
				}
				s := <-r.sessions
				s.wantEnd(t, splice.ReasonConnectFailed)
				<-attempts
				if err := <-attempts; !errors.Is(err, test.want) || splice.LocalError(err) {
					t.Errorf("the second Dial got %v; want %v, the backend's fault", err, test.want)
				}
			})
		}
	})
}
