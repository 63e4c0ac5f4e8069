package splice_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
)

// Traps 3, 7, 9, 12 and 18: bytes arrive, in order and without delay, whatever mode
// they travel in and whatever the events tell.

// TestTrap03PingPongAfterSplice exchanges single bytes over a session in splice mode:
// a segment that is held back costs 40 ms (a delayed acknowledgement) or 200 ms (a
// cork). A flow leaves the mode after a few small splices, so only the first
// exchanges after bulk count.
func TestTrap03PingPongAfterSplice(t *testing.T) {
	r := reactorRig(t)
	client, server, _ := r.connect()
	direct, directServer := loopbackPair(t)
	go echo(directServer)
	control, err := roundTrips(direct, 200)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(control)

	var took []time.Duration
	for range 20 {
		r.warm(client, server)
		r.warm(server, client)
		const rounds = 5
		before := r.stats().SpliceBytes
		answered := aside(t, "echo", func() error {
			_, err := copyBytes(server, io.LimitReader(server, rounds))
			return err
		})
		round, err := roundTrips(client, rounds)
		if err != nil {
			t.Fatal(err)
		}
		answered()
		// The first exchanges were the spliced ones; each has two bytes.
		spliced := min((r.stats().SpliceBytes-before)/2, rounds)
		took = append(took, round[:spliced]...)
	}
	if len(took) < 10 {
		t.Fatalf("%d exchanges were spliced; want at least 10, or nothing was tested", len(took))
	}
	slices.Sort(took)
	if got, usual := quantile(took, 0.5), quantile(control, 0.5); got > 100*usual {
		t.Errorf("the median round trip in splice mode is %v; want it near the %v of a direct connection", got, usual)
	}
}

// loopbackPair is a connection without an engine.
func loopbackPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l := listenOn(t, "127.0.0.1:0")
	return dialAt(t, addrPortOf(l.Addr())), acceptOn(t, l)
}

// sendUrgent sends a byte out of band.
func sendUrgent(t *testing.T, c *net.TCPConn) {
	t.Helper()
	onSocket(t, c, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
}

// TestTrap07Urgent sends bytes out of band amid a stream. A splice stops at each of
// them, and answers what it answers at the end of the stream if that is near.
func TestTrap07Urgent(t *testing.T) {
	for _, mode := range []struct {
		name  string
		piece int64
		warm  bool
	}{
		{"copy", 1000, false},
		{"splice", 1 << 20, true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			r := reactorRig(t)
			client, server, s := r.connect()
			if mode.warm {
				r.warm(client, server)
			}
			sent, got := newTape(7), newReceived()
			wait := aside(t, "receive", func() error { return got.readAll(server) })
			before := s.counters.Up.Load()
			for range 10 {
				for part := range 2 {
					if err := sent.send(client, mode.piece, 64<<10); err != nil {
						t.Fatal(err)
					}
					if part == 0 {
						sendUrgent(t, client)
					}
				}
				// TCP has one urgent byte at a time: an older one that was not read past is an
				// ordinary one from then on.
				until(t, "all but the urgent byte arrives", func() bool {
					return s.counters.Up.Load()-before >= uint64(sent.n)
				})
			}
			r.wantRest(t)
			client.CloseWrite()
			wait()
			got.wantSame(t, sent)
		})
	}
}

// TestTrap07UrgentBehindEvent has the urgent byte, and the end, arrive between the
// event that makes the engine read and the read: a splice then answers 0 with bytes
// left to read.
func TestTrap07UrgentBehindEvent(t *testing.T) {
	r := reactorRig(t)
	client, server, _ := r.connect()
	r.grow(client, server, 256<<10)
	sent, got := newTape(77), newReceived()

	// Two full reads enter splice mode, and all of it is less than one turn.
	first, second := r.newStall(), r.newStall()
	first.begin()
	second.ask()
	if err := sent.send(client, 160<<10, 160<<10); err != nil {
		t.Fatal(err)
	}
	acknowledged(t, client)
	first.end()
	within(t, "the event of the bytes is taken, and waits its turn", second.entered)
	sendUrgent(t, client)
	if err := sent.send(client, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	client.CloseWrite()
	acknowledged(t, client)
	before := r.stats().SpliceBytes
	second.end()

	if err := got.readAll(server); err != nil {
		t.Fatal(err)
	}
	got.wantSame(t, sent)
	if r.stats().SpliceBytes == before {
		t.Error("nothing was spliced, so nothing was tested")
	}
}

// grow moves bulk until the engine's system takes n bytes from a sender that the
// engine does not read: it makes a receive buffer grow with what is read from it.
func (r *trapRig) grow(from, to *net.TCPConn, n int) {
	r.t.Helper()
	fd := engineSocket(r.t, from)
	for range 50 {
		transfer(r.t, from, to, 8<<20)
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			r.t.Fatal(err)
		}
		if size >= 4*n { // it counts the system's own overhead as well
			return
		}
	}
	r.t.Skipf("the system's buffers did not grow to hold %d bytes", n)
}

// TestTrap09ModeSwitches mixes bulk and trickle both ways at once, in random sizes,
// so that each flow changes its mode again and again.
func TestTrap09ModeSwitches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := reactorRig(t)
	client, server, _ := r.connect()
	type way struct {
		from, to *net.TCPConn
		sent     *tape
		got      *received
		wait     func()
	}
	var ways []*way
	for i, w := range []*way{{from: client, to: server}, {from: server, to: client}} {
		w.sent, w.got = newTape(seed+uint64(i)), newReceived()
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		w.wait = aside(t, "send", func() error { return mixed(random, w.sent, w.from) })
		ways = append(ways, w)
	}
	down := aside(t, "receive", func() error { return ways[1].got.readAll(client) })
	if err := ways[0].got.readAll(server); err != nil {
		t.Fatal(err)
	}
	down()
	for _, w := range ways {
		w.wait()
		w.got.wantSame(t, w.sent)
	}
	if s := r.stats(); s.SpliceBytes == 0 || s.CopyBytes == 0 {
		t.Errorf("%d bytes were spliced and %d copied; want both, or nothing was tested", s.SpliceBytes, s.CopyBytes)
	}
}

// TestTrap09RemainderGoesFirst has bulk arrive while a receiver that stands still has left
// bytes in the engine that it had copied: they go before the splices that the bulk brings
// about, and before the reads that lead to these.
func TestTrap09RemainderGoesFirst(t *testing.T) {
	r := reactorRig(t)
	client, server, s := r.way(true)
	sent, got := newTape(9), newReceived()
	for range 3 {
		s.trickle(t, sent, client)
		const bulk = 4 << 20
		all := sent.n + bulk
		burst := aside(t, "send", func() error { return sent.send(client, bulk, 256<<10) })
		until(t, "bulk waits behind them", func() bool { return receiveQueue(t, engineSocket(t, client)) > 64<<10 })
		if err := got.read(server, all-got.n); err != nil {
			t.Fatal(err)
		}
		burst()
	}
	got.wantSame(t, sent)
	if stats := r.stats(); stats.SpliceBytes == 0 || stats.CopyBytes == 0 {
		t.Errorf("%d bytes were spliced and %d copied; want both, or nothing was tested", stats.SpliceBytes, stats.CopyBytes)
	}
}

// trickle sends pieces that are too small for splice mode until the engine is left with
// bytes of one.
func (s *trapSession) trickle(t *testing.T, sent *tape, from *net.TCPConn) {
	t.Helper()
	passedOn := func() bool {
		for range 50 {
			if s.moved(true) >= sent.n {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	for sent.n < 256<<20 && passedOn() {
		if err := sent.send(from, 4<<10, 4<<10); err != nil {
			t.Fatal(err)
		}
	}
}

// mixed sends bursts of many sizes, with pauses in which the flow drains, and ends.
func mixed(random *rand.Rand, s *tape, c *net.TCPConn) error {
	for range 60 {
		n := random.Int64N(1 << (4 + random.IntN(18)))
		if err := s.send(c, 1+n, 1+random.IntN(256<<10)); err != nil {
			return err
		}
		if random.IntN(3) == 0 {
			time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
		}
	}
	return c.CloseWrite()
}

// modes are the ways to move bytes, by Options.MaxPipes.
var modes = []struct {
	name  string
	pipes int
}{
	{"splice", 0},
	{"copy", -1},
}

// modeRig is a reactorRig that has pipes or not.
func modeRig(t *testing.T, pipes int) *trapRig {
	t.Helper()
	return newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 1, MaxPipes: pipes}, splice.Timeouts{})
}

// TestTrap12EdgesAreNotLost gives the engine one event for all that it has to do:
// nothing that comes later helps it to go on.
func TestTrap12EdgesAreNotLost(t *testing.T) {
	for _, mode := range modes {
		for _, test := range []struct {
			name  string
			n     int64
			ended bool
		}{
			{"more than a turn", 3*turnBudget + 5, false},
			{"more than a turn, and the end", 3*turnBudget + 5, true},
			{"a short read, and the end", 100, true},
			{"one full read, and the end", 64 << 10, true},
			{"full reads that enter splice mode, and the end", 128 << 10, true},
			{"one whole turn, and the end", turnBudget, true},
			{"only the end", 0, true},
		} {
			t.Run(mode.name+"/"+test.name, func(t *testing.T) {
				r := modeRig(t, mode.pipes)
				client, server, s := r.connect()
				r.grow(client, server, int(test.n))
				stall := r.newStall()
				stall.begin()
				sent, got := newTape(12), newReceived()
				if err := sent.send(client, test.n, turnBudget); err != nil {
					t.Fatal(err)
				}
				if test.ended {
					client.CloseWrite()
				}
				acknowledged(t, client)
				if n := receiveQueue(t, engineSocket(t, client)); int64(n) < test.n {
					t.Fatalf("%d bytes wait for the engine; want all %d", n, test.n)
				}
				stall.end()
				if err := got.read(server, test.n); err != nil {
					t.Fatal(err)
				}
				got.wantSame(t, sent)
				if test.ended {
					wantEOF(t, server)
					server.Close()
					s.wantEnd(t, splice.ReasonClientClosed)
				}
			})
		}
	}
}

// TestTrap12PassedDescriptor has a client on a unix socket pass descriptors: each
// makes a read stop, with more bytes behind it and no event for them.
func TestTrap12PassedDescriptor(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		o.Threads = 1
		r := newTrapRig(t, o, splice.Timeouts{})
		path := t.TempDir() + "/s"
		r.listen(splice.Bind{Unix: path})
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client := conn.(*net.UnixConn)
		server, _ := r.accepted()

		// An exchange first, so that what follows is one event or few.
		transfer(t, client, server, 1)
		const pieces = 20
		rights := unix.UnixRights(0)
		for range pieces {
			if _, _, err := client.WriteMsgUnix([]byte("with"), rights, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, "without"); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, pieces*len("withwithout"))
		if n, err := io.ReadFull(server, got); err != nil {
			t.Fatalf("received %d of %d bytes: %v", n, len(got), err)
		}
	})
}

// TestTrap18LongSplice runs a transfer for several times the idle timeout. The byte
// counters advance meanwhile, and the timeout is counted from its end.
func TestTrap18LongSplice(t *testing.T) {
	const idle = 400 * time.Millisecond
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{Idle: idle})
		client, server, s := r.connect()
		stop := make(chan struct{})
		sent, got := newTape(18), newReceived()
		wait := aside(t, "send", func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := sent.send(server, 1<<20, 256<<10); err != nil {
					return err
				}
			}
		})
		received := aside(t, "receive", func() error {
			if err := got.readAll(client); !errors.Is(err, unix.ECONNRESET) {
				return fmt.Errorf("the connection ended with %v; want %v", err, unix.ECONNRESET)
			}
			return nil
		})
		lasted, longest := advances(s, 4*idle)
		close(stop)
		if lasted < 4*idle && longest > idle/2 {
			t.Skipf("the machine let %v pass without a byte", longest)
		}
		wait()
		result := s.ended(t)
		if result.Reason != splice.ReasonIdleTimeout || result.Duration < lasted+idle {
			t.Errorf("session ended with %v (%v) after %v; want %v, after at least %v", result.Reason, result.Err, result.Duration, splice.ReasonIdleTimeout, lasted+idle)
		}
		received()
		got.wantSame(t, sent)
		if result.Down != uint64(sent.n) {
			t.Errorf("result has %d bytes down; want %d", result.Down, sent.n)
		}
		if o.Type == splice.TypeSplice && r.stats().SpliceBytes == 0 {
			t.Error("nothing was spliced, so nothing was tested")
		}
	})
}

// advances watches a session's counter for a while, or until the session ends. It
// answers how long that was, and the longest time in which the counter stood still.
func advances(s *trapSession, while time.Duration) (lasted, longest time.Duration) {
	began := time.Now()
	last, since := uint64(0), began
	for lasted < while {
		select {
		case <-s.closed:
			return lasted, longest
		case <-time.After(time.Millisecond):
		}
		now := time.Now()
		lasted, longest = now.Sub(began), max(longest, now.Sub(since))
		if n := s.counters.Down.Load(); n != last {
			last, since = n, now
		}
	}
	return lasted, longest
}
