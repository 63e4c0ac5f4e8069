package splice_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
)

// Traps 1, 2, 4, 5, 6 and 8: what pipes cost, hold and leak, and living without.

// TestTrap01IdleHoldsTwoDescriptors compares idle sessions, each of which has moved
// bytes before, with none.
func TestTrap01IdleHoldsTwoDescriptors(t *testing.T) {
	r := reactorRig(t)
	const sessions = 50
	sockets, pipes, goroutines := countDescriptors(t, "socket:"), countDescriptors(t, "pipe:"), runtime.NumGoroutine()
	for range sessions {
		client, server, _ := r.connect()
		transfer(t, client, server, 100)
		transfer(t, server, client, 100)
	}
	if got, want := countDescriptors(t, "socket:")-sockets, 4*sessions; got != want {
		t.Errorf("%d idle sessions and their peers hold %d sockets; want %d", sessions, got, want)
	}
	if got := countDescriptors(t, "pipe:") - pipes; got != 0 {
		t.Errorf("%d idle sessions hold %d ends of pipes; want none", sessions, got)
	}
	if got := runtime.NumGoroutine() - goroutines; got > 0 {
		t.Errorf("%d idle sessions have %d goroutines; want none", sessions, got)
	}

	client, server, _ := r.connect()
	r.warm(client, server)
	until(t, "a session that was in splice mode holds no pipe", func() bool { return r.stats().PipesInUse == 0 })
	if got, want := countDescriptors(t, "pipe:")-pipes, 2*int(r.stats().PipesPooled); got != want {
		t.Errorf("after bulk %d ends of pipes are open; want the %d of the pool", got, want)
	}
	r.wantRest(t)
}

// TestTrap02NoPipesLeft takes all the pipes that the system gives to an unprivileged
// user (pipe(7), pipe-user-pages-soft): a new one has two pages.
func TestTrap02NoPipesLeft(t *testing.T) {
	if os.Getenv(trapProcess) == "" {
		needRoot(t)
	}
	if !alone(t, false) {
		return
	}
	becomeNobody(t)
	r := reactorRig(t)
	client, server, _ := r.connect()
	r.warm(client, server) // with what an unprivileged user has at first
	giveBack := takePipes(t)

	starved := reactorRig(t)
	client, server, _ = starved.connect()
	pipes := countDescriptors(t, "pipe:")
	const n = 64 << 20
	began := time.Now()
	transfer(t, client, server, n)
	took := time.Since(began)
	transfer(t, server, client, n)
	starved.wantCopied(t, 2*n)
	if got := countDescriptors(t, "pipe:"); got != pipes {
		t.Errorf("%d ends of pipes are open; want the %d from before: none too small to be of use", got, pipes)
	}
	// The control never asks for a pipe.
	control := newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 1, MaxPipes: -1}, splice.Timeouts{})
	client2, server2, _ := control.connect()
	began = time.Now()
	transfer(t, client2, server2, n)
	if usual := time.Since(began); took > 10*usual {
		t.Errorf("%d bytes took %v; want about the %v of an engine that only copies", n, took, usual)
	}

	giveBack()
	until(t, "the engine splices again", func() bool {
		transfer(t, client, server, 1<<20)
		return starved.stats().SpliceBytes > 0
	})
}

// wantCopied checks that n bytes were moved, none of them through a pipe. They are
// counted a moment after they were sent.
func (r *trapRig) wantCopied(t *testing.T, n uint64) {
	t.Helper()
	until(t, "all bytes are counted", func() bool { s := r.stats(); return s.CopyBytes+s.SpliceBytes >= n })
	if s := r.stats(); s.CopyBytes != n || s.SpliceBytes != 0 || s.PipesInUse != 0 {
		t.Errorf("%d bytes were copied, %d spliced, %d pipes are in use; want all %d copied", s.CopyBytes, s.SpliceBytes, s.PipesInUse, n)
	}
}

// takePipes makes pipes until the system gives only tiny ones.
func takePipes(t *testing.T) (giveBack func()) {
	t.Helper()
	var taken []int
	for {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		taken = append(taken, p[0], p[1])
		unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<20)
		size, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			t.Fatal(err)
		}
		if size <= 2*os.Getpagesize() {
			break
		}
	}
	return func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}
}

// TestTrap04TinySegments fills the slots of a pipe with segments of a few bytes: it
// is full long before its capacity in bytes.
func TestTrap04TinySegments(t *testing.T) {
	for _, reader := range []struct {
		name    string
		connect func(*trapRig) (client, server *net.TCPConn, s *trapSession)
	}{
		{"fast reader", (*trapRig).connect},
		{"small reader", (*trapRig).connectSmall},
	} {
		t.Run(reader.name, func(t *testing.T) {
			r := reactorRig(t)
			client, server, _ := reader.connect(r)
			r.warm(server, client)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			sent, got, random := newTape(seed), newReceived(), rand.New(rand.NewPCG(seed, 0))
			wait := aside(t, "send", func() error {
				for range 50_000 {
					if err := sent.send(server, 1+random.Int64N(16), 16); err != nil {
						return err
					}
				}
				return server.CloseWrite()
			})
			if err := got.readAll(client); err != nil {
				t.Fatal(err)
			}
			wait()
			got.wantSame(t, sent)
			if n := r.stats().PipesInUse; n != 0 {
				t.Errorf("%d pipes are in use behind the end; want none", n)
			}
		})
	}
}

// TestTrap05EndBehindPipe has the sender end while a pipe holds what its reader has
// yet to take.
func TestTrap05EndBehindPipe(t *testing.T) {
	r := reactorRig(t)
	client, server, s := r.connectSmall()
	r.warm(server, client)
	sent := r.stick(server, 5)
	server.CloseWrite()
	acknowledged(t, server) // the engine's system has the FIN
	if n := r.stats().PipesInUse; n != 1 {
		t.Fatalf("%d pipes hold bytes behind the end; want 1", n)
	}
	r.wantRest(t)
	got := newReceived()
	if err := got.readAll(client); err != nil {
		t.Fatalf("read: %v; want all bytes, then the end", err)
	}
	got.wantSame(t, sent)
	client.Close()
	s.wantEnd(t, splice.ReasonBackendClosed)
}

// TestTrap06ResidueStaysPrivate ends sessions in all ways while their pipes hold
// bytes. None of those bytes may reach another session, and no pipe may be lost to
// the budget.
func TestTrap06ResidueStaysPrivate(t *testing.T) {
	const pipes = 2
	r := newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 1, MaxPipes: pipes}, splice.Timeouts{})
	for _, ending := range []struct {
		name string
		end  func(client, server *net.TCPConn)
	}{
		{"kill", func(_, _ *net.TCPConn) { r.engine.Kill(nil, splice.ReasonKilled) }},
		{"reader resets", func(client, _ *net.TCPConn) { rst(client) }},
		{"both reset", func(client, server *net.TCPConn) { rst(server); rst(client) }},
		{"reader closes", func(client, _ *net.TCPConn) { client.Close() }},
	} {
		t.Run(ending.name, func(t *testing.T) {
			r.t = t
			var clients, servers []*net.TCPConn
			var sessions []*trapSession
			for i := range pipes {
				client, server, s := r.connectSmall()
				r.warm(server, client)
				r.stickSecret(server, int64(i+1))
				clients, servers, sessions = append(clients, client), append(servers, server), append(sessions, s)
			}
			for i := range clients {
				ending.end(clients[i], servers[i])
			}
			for _, s := range sessions {
				s.ended(t)
			}
			for range 2 * pipes {
				client, server, s := r.connect()
				before := r.stats().SpliceBytes
				wantOnly(t, server, client, innocent, 4<<20)
				wantOnly(t, client, server, innocent, 4<<20)
				if r.stats().SpliceBytes == before {
					t.Errorf("nothing was spliced after sessions with full pipes had ended; want their place in the budget back")
				}
				client.Close()
				server.Close()
				s.ended(t)
			}
		})
	}
}

// What stuck sessions send and what others send.
const (
	secret   = 0xAA
	innocent = 0x55
)

// stickSecret is stick with a byte that can be told, until n pipes in all are full.
func (r *trapRig) stickSecret(from *net.TCPConn, n int64) {
	r.t.Helper()
	b := bytes.Repeat([]byte{secret}, 64<<10)
	for range 1 << 10 {
		if _, err := from.Write(b); err != nil {
			r.t.Fatal(err)
		}
		acknowledged(r.t, from)
		if r.holds(n) {
			return
		}
	}
	r.t.Fatalf("pipe %d did not fill", n)
}

// wantOnly sends n times one byte, and checks that it is all that arrives.
func wantOnly(t *testing.T, from io.Writer, to io.Reader, b byte, n int) {
	t.Helper()
	sent := aside(t, "send", func() error {
		_, err := from.Write(bytes.Repeat([]byte{b}, n))
		return err
	})
	got := make([]byte, n)
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	sent()
	if strange := n - bytes.Count(got, []byte{b}); strange > 0 {
		t.Fatalf("%d of %d bytes are of another session", strange, n)
	}
}

// TestTrap08SpliceRefused runs where the kernel, or a sandbox, refuses splice(2), or has no
// memory for it: that is no fault of a peer, whose connection goes on.
func TestTrap08SpliceRefused(t *testing.T) {
	for _, e := range []syscall.Errno{unix.ENOSYS, unix.EINVAL, unix.EPERM, unix.ENOMEM, unix.ENOBUFS} {
		t.Run(unix.ErrnoName(e), func(t *testing.T) {
			if !alone(t, false) {
				return
			}
			refuseSplice(t, e)
			r := reactorRig(t)
			client, server, session := r.connect()
			const n = 32 << 20
			transfer(t, client, server, n)
			transfer(t, server, client, n)
			r.wantCopied(t, 2*n)
			client.Close()
			wantEOF(t, server)
			server.Close()
			session.wantEnd(t, splice.ReasonClientClosed)
		})
	}
}

// TestTrap08BrokenPipe has a splice meet a socket that takes no more: that is EPIPE,
// and SIGPIPE for the thread, since splice(2) knows no MSG_NOSIGNAL.
func TestTrap08BrokenPipe(t *testing.T) {
	r := reactorRig(t)
	client, server, s := r.connectSmall()
	r.warm(server, client)
	r.stick(server, 8)
	// Behind the engine's back, or its socket would tell before it is written to.
	if err := unix.Shutdown(engineSocket(t, client), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	copyBytes(io.Discard, client)
	client.Close()
	if got := s.ended(t); got.Reason != splice.ReasonClientReset || !errors.Is(got.Err, unix.EPIPE) {
		t.Errorf("session ended with %v (%v); want %v with %v", got.Reason, got.Err, splice.ReasonClientReset, unix.EPIPE)
	}
	if _, err := copyBytes(io.Discard, server); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the sender's connection ended with %v; want %v", err, unix.ECONNRESET)
	}
}
