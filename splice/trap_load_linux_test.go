package splice_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
)

// Traps 10, 11, 13, 22 and 23: stalled receivers, elephants among mice, churn, and
// the garbage collector.

// TestTrap10StalledReceiver has several receivers stop to read. Their senders have to
// stop, and the engine to rest, with no more memory than what it may keep for each.
func TestTrap10StalledReceiver(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			const stalled = 4
			r := modeRig(t, mode.pipes)
			resident := residentSet(t)
			var senders []*net.TCPConn
			for range stalled {
				client, server, _ := r.connectSmall()
				transfer(t, server, client, 4<<20)
				fillUntilBlocked(t, server)
				senders = append(senders, server)
			}
			r.wantRest(t)

			for _, server := range senders {
				if rwndLimited(t, server) == 0 {
					t.Error("a sender was not stopped by its window; want that to be closed")
				}
				// The engine's system holds what its receive buffer may grow to and no more.
				if n := receiveQueue(t, engineSocket(t, server)); n > maxReceiveBuffer(t) {
					t.Errorf("%d bytes wait for the engine; want at most the receive buffer of %d", n, maxReceiveBuffer(t))
				}
			}
			const each = 1 << 20
			if grown := residentSet(t) - resident; grown > stalled*each+(16<<20) {
				t.Errorf("the process has grown by %d bytes for %d stalled sessions; want at most %d for each", grown, stalled, each)
			}
			if n := r.stats().PipesInUse; n > stalled {
				t.Errorf("%d pipes hold bytes; want at most one for each of %d flows", n, stalled)
			}
		})
	}
}

// fillUntilBlocked writes until the system takes nothing more for a while.
func fillUntilBlocked(t *testing.T, c *net.TCPConn) {
	t.Helper()
	b := make([]byte, 256<<10)
	for total := 0; total < 256<<20; {
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Write(b)
		if total += n; err != nil && n == 0 {
			return
		}
	}
	t.Fatal("a sender was not stopped after 256 MiB that nobody reads")
}

// rwndLimited is the time in microseconds for which the peer's window stopped c.
func rwndLimited(t *testing.T, c *net.TCPConn) (us uint64) {
	t.Helper()
	onSocket(t, c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			us = info.Rwnd_limited
		}
		return err
	})
	return us
}

// maxReceiveBuffer is what the system lets one receive buffer grow to (tcp(7)).
func maxReceiveBuffer(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(b)
	if n, err = strconv.Atoi(string(fields[len(fields)-1])); err != nil {
		t.Fatal(err)
	}
	return n
}

// residentSet is what this process has in memory.
func residentSet(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// What one turn of a loop takes of a flow: when that is used up it stops. The last
// read, or splice, begins before and may take all that fits the buffer or the pipe.
const (
	turnBudget = 256 << 10
	bufferSize = 64 << 10
	pipeSize   = 1 << 20
)

// TestTrap11TurnBudget looks at an elephant when the loop comes to the next event: it
// has moved its budget and no more, although it has more to move.
func TestTrap11TurnBudget(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			turn := int64(turnBudget + bufferSize)
			if mode.pipes == 0 {
				turn = turnBudget + pipeSize
			}
			r := modeRig(t, mode.pipes)
			client, server, s := r.connect()
			r.grow(server, client, int(turn)+turnBudget)
			first, second := r.newStall(), r.newStall()
			sent, got := newTape(11), newReceived()
			first.begin()
			before := s.moved(false)
			wait := aside(t, "send", func() error { return sent.send(server, 2*turn, turnBudget) })
			until(t, "more than a turn waits for the engine", func() bool {
				return int64(receiveQueue(t, engineSocket(t, server))) > turn
			})
			second.ask()
			first.end()
			within(t, "the loop comes to the next event", second.entered)
			if moved := s.moved(false) - before; moved == 0 || moved > turn {
				t.Errorf("%d bytes moved before the next event; want at most %d, and some", moved, turn)
			}
			second.end()
			if err := got.read(client, 2*turn); err != nil {
				t.Fatal(err)
			}
			wait()
			got.wantSame(t, sent)
		})
	}
}

// TestTrap11NewBytesGiveNoTurn has more bytes arrive for an elephant that has used up
// its turn. Their event must not add a turn to the one that it has in any case.
func TestTrap11NewBytesGiveNoTurn(t *testing.T) {
	const turn, more = turnBudget + bufferSize, 1000
	r := modeRig(t, -1)
	client, server, s := r.connect()
	r.grow(server, client, 4*turn)
	first, second, third := r.newStall(), r.newStall(), r.newStall()
	sent, got := newTape(111), newReceived()
	first.begin()
	before := s.moved(false)
	if err := sent.send(server, 3*turn, turn); err != nil {
		t.Fatal(err)
	}
	acknowledged(t, server)
	second.ask()
	first.end()
	within(t, "the elephant has had a turn", second.entered)
	if err := sent.send(server, more, more); err != nil {
		t.Fatal(err)
	}
	acknowledged(t, server)
	third.ask()
	second.end()
	within(t, "the loop has handled the new bytes' event", third.entered)
	if moved := s.moved(false) - before; moved == 0 || moved > 2*turn {
		t.Errorf("%d bytes moved in two turns; want at most %d, and some", moved, 2*turn)
	}
	third.end()
	if err := got.read(client, 3*turn+more); err != nil {
		t.Fatal(err)
	}
	got.wantSame(t, sent)
}

// TestTrap11ElephantAndMice runs a bulk transfer and many small exchanges over one
// loop.
func TestTrap11ElephantAndMice(t *testing.T) {
	const mice, rounds = 20, 50
	r := reactorRig(t)
	var holes []*net.TCPConn
	for range mice {
		client, server, _ := r.connect()
		go echo(server)
		holes = append(holes, client)
	}
	solo := miceRun(t, holes, rounds)

	client, server, s := r.connect()
	elephant := aside(t, "elephant", func() error { return endlessly(server) })
	go copyBytes(io.Discard, client)
	until(t, "the elephant runs", func() bool { return s.moved(false) > 64<<20 })
	before := r.stats().SpliceBytes
	among := miceRun(t, holes, rounds)
	if r.stats().SpliceBytes == before {
		t.Error("nothing was spliced, so nothing was tested")
	}
	rst(client)
	elephant()
	if usual, got := quantile(solo, 0.99), quantile(among, 0.99); got > 200*usual {
		t.Errorf("99 %% of the mice's round trips took less than %v; want it near the %v without an elephant", got, usual)
	}
}

// endlessly writes until the peer resets.
func endlessly(w io.Writer) error {
	for b := make([]byte, 256<<10); ; {
		if _, err := w.Write(b); err != nil {
			return nil
		}
	}
}

// miceRun has all connections play ping-pong at once, and answers how long the
// rounds took, shortest first.
func miceRun(t *testing.T, holes []*net.TCPConn, rounds int) (all []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range holes {
		wg.Go(func() {
			took, err := roundTrips(c, rounds)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	slices.Sort(all)
	return all
}

// TestTrap13Churn has sessions begin and end in every way at once, so that the
// numbers of descriptors are used again and again. Each session sends what only it
// sends: an event that met the wrong session would bring it somewhere else, or end a
// session early.
func TestTrap13Churn(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := reactorRig(t)
	go echoAll(r.backend)
	n := 150
	if testing.Short() {
		n = 40
	}
	var wg sync.WaitGroup
	for worker := range 16 {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		wg.Go(func() {
			for i := range n {
				if err := exchange(random, r.listener.Addr().String(), fmt.Sprintf("worker %d, session %d", worker, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	until(t, "all sessions are gone", func() bool { return r.stats().Sessions == 0 })
	for len(r.sessions) > 0 {
		if got := (<-r.sessions).ended(t); got.Reason != splice.ReasonClientClosed && got.Reason != splice.ReasonClientReset {
			t.Errorf("session ended with %v (%v); want what its client did", got.Reason, got.Err)
		}
	}
}

// echoAll serves until the listener is closed.
func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			echo(c.(*net.TCPConn))
		}()
	}
}

// exchange is one session that wants its own words back, and ends as chance has it.
func exchange(random *rand.Rand, addr, words string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(trapPatience))
	b := bytes.Repeat([]byte(words), 1+random.IntN(200))
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("%s: %w", words, err)
	}
	got := make([]byte, len(b))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("%s: %w", words, err)
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("%s received other bytes than it sent", words)
	}
	switch random.IntN(3) {
	case 0:
		c.SetLinger(0)
	case 1:
		c.CloseWrite()
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			return fmt.Errorf("%s: %d bytes too many, %v; want the end", words, len(rest), err)
		}
	}
	return nil
}

// TestTrap22ForcedGC collects garbage without pause while mice play. A loop that
// waits without telling the scheduler delays each collection, and each collection
// the loops.
func TestTrap22ForcedGC(t *testing.T) {
	const mice, rounds = 16, 200
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{})
		var holes []*net.TCPConn
		for range mice {
			client, server, _ := r.connect()
			go echo(server)
			holes = append(holes, client)
		}
		calm := miceRun(t, holes, rounds)
		stop, collected := make(chan struct{}), 0
		collect := aside(t, "collect", func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
					runtime.GC()
					collected++
				}
			}
		})
		forced := miceRun(t, holes, rounds)
		close(stop)
		collect()
		if collected == 0 {
			t.Error("not one collection ended while the mice played")
		}
		if usual, got := quantile(calm, 0.999), quantile(forced, 0.999); got > 100*usual {
			t.Errorf("99.9 %% of round trips took less than %v; want it near the %v without collections", got, usual)
		}
	})
}

// TestTrap22AnswersUnderLoad asks an engine whose loops have all that they can do.
func TestTrap22AnswersUnderLoad(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		r := newTrapRig(t, o, splice.Timeouts{})
		var waits []func()
		var clients []*net.TCPConn
		for range 4 {
			client, server, _ := r.connect()
			waits = append(waits, aside(t, "elephant", func() error { return endlessly(server) }))
			go copyBytes(io.Discard, client)
			clients = append(clients, client)
		}
		before := r.moved()
		for range 20 {
			now := r.moved()
			until(t, "bytes move", func() bool { return r.moved() > now })
			if n := r.engine.Kill(func(splice.Session) bool { return false }, splice.ReasonKilled); n != 0 {
				t.Errorf("Kill ended %d sessions; want none", n)
			}
			r.listen(splice.Bind{Addr: trapLoopback}).Close()
		}
		if r.moved() == before {
			t.Error("no byte moved meanwhile")
		}
		if n := r.engine.Kill(nil, splice.ReasonKilled); n != len(clients) {
			t.Errorf("Kill ended %d sessions; want %d", n, len(clients))
		}
		for _, wait := range waits {
			wait()
		}
	})
}

// moved is the number of bytes that the engine has moved.
func (r *trapRig) moved() uint64 { s := r.stats(); return s.CopyBytes + s.SpliceBytes }

// TestTrap23Churn makes and ends thousands of sessions, a few with bulk, and looks
// at what is left: as much as after the first tenth of them.
func TestTrap23Churn(t *testing.T) {
	overEngines(t, func(t *testing.T, o splice.Options) {
		n := 10_000
		if testing.Short() {
			n = 500
		}
		r := newTrapRig(t, o, splice.Timeouts{})
		go echoAll(r.backend)
		r.churn(t, n/10)
		before := leftovers(t)
		r.churn(t, n)
		if s := r.stats(); s.PipesInUse != 0 {
			t.Errorf("%d pipes are in use; want none", s.PipesInUse)
		}
		until(t, "sockets and goroutines are as many as before", func() bool {
			now := leftovers(t)
			return now.sockets <= before.sockets && now.goroutines <= before.goroutines
		})
		if got, want := countDescriptors(t, "pipe:")-before.pipes, 2*int(r.stats().PipesPooled); got > want {
			t.Errorf("%d more ends of pipes are open; want at most the %d of the pool", got, want)
		}
		const slack = 1 << 20 // half of what it is if each session leaves its pair behind
		if now := leftovers(t); now.heap > before.heap+slack {
			t.Errorf("the heap has grown from %d to %d bytes over %d sessions; want it as it was", before.heap, now.heap, n)
		}
	})
}

// churn makes n sessions, eight at a time, and waits until all are gone.
func (r *trapRig) churn(t *testing.T, n int) {
	t.Helper()
	words := map[bool]string{true: string(bytes.Repeat([]byte("bulk"), 64<<10)), false: "hello"}
	var wg sync.WaitGroup
	for worker := range 8 {
		random := rand.New(rand.NewPCG(23, uint64(worker)))
		wg.Go(func() {
			for i := range n / 8 {
				if err := chat(random, r.listener.Addr().String(), words[i%200 == 0]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	until(t, "all sessions are gone", func() bool { return r.stats().Sessions == 0 })
	for len(r.sessions) > 0 {
		<-r.sessions
	}
}

// chat has words echoed, and ends in order or by a RST.
func chat(random *rand.Rand, addr, words string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(trapPatience))
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, words)
		sent <- err
	}()
	if _, err := copyBytes(io.Discard, io.LimitReader(c, int64(len(words)))); err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		c.SetLinger(0)
	}
	return <-sent
}

type leftover struct {
	sockets, pipes, goroutines int
	heap                       uint64
}

func leftovers(t *testing.T) leftover {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return leftover{countDescriptors(t, "socket:"), countDescriptors(t, "pipe:"), runtime.NumGoroutine(), m.HeapAlloc}
}

// TestTrap10StalledCrowd has more receivers stop to read than there are pipes. Others
// still have pipes then.
func TestTrap10StalledCrowd(t *testing.T) {
	const pipes, stalled = 4, 12
	r := newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 1, MaxPipes: pipes}, splice.Timeouts{})
	for range stalled {
		client, server, _ := r.connectSmall()
		transfer(t, server, client, 4<<20)
		fillUntilBlocked(t, server)
	}
	until(t, "half of the pipes are free", func() bool { return r.stats().PipesInUse <= pipes/2 })
	before := r.stats().SpliceBytes
	client, server, _ := r.connect()
	const n = 32 << 20
	transfer(t, server, client, n)
	if spliced := r.stats().SpliceBytes - before; spliced < n/2 {
		t.Errorf("%d of %d bytes were spliced beside a stalled crowd; want most", spliced, n)
	}
}
