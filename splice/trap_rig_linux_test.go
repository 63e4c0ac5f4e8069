package splice_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice"
)

// The tests in trap_*_linux_test.go are about what the kernel does to those who
// splice: each has the name of one trap, and looks at causes (counters, descriptors,
// queues of the kernel) rather than at time. Where only time can tell, it is
// compared with a control that was measured a moment before.
//
// Everything that is waited for has trapPatience, which passes only when something
// is broken.
const trapPatience = 40 * time.Second

// trapRig is an engine with a listener, and a TCP backend to which all clients go.
// It is the listener's Handler.
type trapRig struct {
	t        testing.TB
	engine   splice.Engine
	listener splice.Listener
	backend  *net.TCPListener
	endpoint splice.Endpoint

	sessions chan *trapSession // in the order in which they were opened

	mu   sync.Mutex
	open func() error                              // Open does it first, if not nil
	dial func(last error) (splice.Endpoint, error) // what Dial answers, if not nil
}

// trapSession is one client of a trapRig.
type trapSession struct {
	rig       *trapRig
	counters  splice.Counters
	connected chan struct{}
	closed    chan struct{}
	result    splice.Result // once closed
}

var trapLoopback = netip.MustParseAddrPort("127.0.0.1:0")

// newTrapRig makes a rig that is shut down, by force, when the test ends.
func newTrapRig(t testing.TB, o splice.Options, timeouts splice.Timeouts) *trapRig {
	t.Helper()
	r := &trapRig{t: t, sessions: make(chan *trapSession, 1<<16)}
	r.backend = listenOn(t, "127.0.0.1:0")
	r.endpoint = splice.Endpoint{Addr: addrPortOf(r.backend.Addr()), Timeouts: &timeouts}
	e, err := splice.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.engine = e
	t.Cleanup(r.shutdown)
	r.listener = r.listen(splice.Bind{Addr: trapLoopback})
	return r
}

// reactorRig is a rig over one loop of the reactor, without timeouts.
func reactorRig(t testing.TB) *trapRig {
	t.Helper()
	return newTrapRig(t, splice.Options{Type: splice.TypeSplice, Threads: 1}, splice.Timeouts{})
}

// overEngines runs a test over both engines.
func overEngines(t *testing.T, run func(t *testing.T, o splice.Options)) {
	for _, kind := range []string{splice.TypeSplice, splice.TypeCopy} {
		t.Run(kind, func(t *testing.T) { run(t, splice.Options{Type: kind, Threads: 2}) })
	}
}

func (r *trapRig) listen(b splice.Bind) splice.Listener {
	r.t.Helper()
	if b.Handler == nil {
		b.Handler = r
	}
	ln, err := r.engine.Listen(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return ln
}

// shutdown cuts what lives, and checks that everything came back.
func (r *trapRig) shutdown() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.engine.Shutdown(ctx)
	if s := r.stats(); s.Sessions != 0 || s.PipesInUse != 0 || s.PipesPooled != 0 {
		r.t.Errorf("after Shutdown: %d sessions, %d pipes in use, %d pooled; want none", s.Sessions, s.PipesInUse, s.PipesPooled)
	}
}

// onOpen and onDial say what Open and Dial do from now on.
func (r *trapRig) onOpen(open func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = open
}

func (r *trapRig) onDial(dial func(last error) (splice.Endpoint, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dial = dial
}

func (r *trapRig) Open(splice.Peer) (splice.Session, error) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open != nil {
		if err := open(); err != nil {
			return nil, err
		}
	}
	s := &trapSession{rig: r, connected: make(chan struct{}), closed: make(chan struct{})}
	r.sessions <- s
	return s, nil
}

func (s *trapSession) Dial(last error) (splice.Endpoint, error) {
	s.rig.mu.Lock()
	dial := s.rig.dial
	s.rig.mu.Unlock()
	ep, err := s.rig.endpoint, last
	if dial != nil {
		ep, err = dial(last)
	}
	if err != nil {
		return ep, err
	}
	ep.Counters = &s.counters
	return ep, nil
}

func (s *trapSession) Connected(time.Duration) { close(s.connected) }

func (s *trapSession) Close(r splice.Result) {
	s.result = r
	close(s.closed)
}

// ended waits for Close.
func (s *trapSession) ended(t testing.TB) splice.Result {
	t.Helper()
	within(t, "the session ends", s.closed)
	return s.result
}

func (s *trapSession) wantEnd(t testing.TB, want splice.Reason) {
	t.Helper()
	if got := s.ended(t); got.Reason != want {
		t.Errorf("session ended with %v (%v); want %v", got.Reason, got.Err, want)
	}
}

// stats is the sum over the loops.
func (r *trapRig) stats() (sum splice.LoopStats) {
	for _, s := range r.engine.Stats() {
		sum.Sessions += s.Sessions
		sum.Accepted += s.Accepted
		sum.Events += s.Events
		sum.Wakeups += s.Wakeups
		sum.CopyBytes += s.CopyBytes
		sum.SpliceBytes += s.SpliceBytes
		sum.PipesInUse += s.PipesInUse
		sum.PipesPooled += s.PipesPooled
		sum.AcceptPauses += s.AcceptPauses
	}
	return sum
}

// connect makes one session, with both its peers.
func (r *trapRig) connect() (client, server *net.TCPConn, s *trapSession) {
	r.t.Helper()
	client = dialAt(r.t, r.listener.Addr())
	server, s = r.accepted()
	return client, server, s
}

// connectSmall is connect with a client whose system takes only a few KiB that it
// has not read.
func (r *trapRig) connectSmall() (client, server *net.TCPConn, s *trapSession) {
	r.t.Helper()
	client = dialSmall(r.t, r.listener.Addr())
	server, s = r.accepted()
	return client, server, s
}

// accepted is the backend's end of the next session.
func (r *trapRig) accepted() (server *net.TCPConn, s *trapSession) {
	r.t.Helper()
	server = acceptOn(r.t, r.backend)
	select {
	case s = <-r.sessions:
	case <-time.After(trapPatience):
		r.t.Fatalf("no session was opened within %v", trapPatience)
	}
	within(r.t, "the session connects", s.connected)
	return server, s
}

// stall is a listener for whose one client Open does not return before end is
// called. On an engine with one loop nothing moves meanwhile.
type stall struct {
	t              testing.TB
	addr           netip.AddrPort
	entered, leave chan struct{}
	once           sync.Once
}

func (r *trapRig) newStall() *stall {
	r.t.Helper()
	s := &stall{t: r.t, entered: make(chan struct{}), leave: make(chan struct{})}
	s.addr = r.listen(splice.Bind{Addr: trapLoopback, Handler: s}).Addr()
	r.t.Cleanup(s.end) // or a test that fails would never end
	return s
}

func (s *stall) Open(splice.Peer) (splice.Session, error) {
	close(s.entered)
	<-s.leave
	return nil, errors.New("not admitted")
}

// ask connects the client: the stall begins as soon as the engine accepts it.
func (s *stall) ask() { dialAt(s.t, s.addr) }

// begin returns when the loop stands still.
func (s *stall) begin() {
	s.t.Helper()
	s.ask()
	within(s.t, "Open is called", s.entered)
}

func (s *stall) end() { s.once.Do(func() { close(s.leave) }) }

// within waits for a channel to be closed.
func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(trapPatience):
		t.Fatalf("within %v it did not come to be that %s", trapPatience, what)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(trapPatience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within %v it did not come to be that %s", trapPatience, what)
		}
	}
}

func listenOn(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func dialAt(t testing.TB, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	return dialWith(t, net.Dialer{}, addr)
}

// dialSmall connects with the smallest receive buffer, which has to be set before.
func dialSmall(t testing.TB, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	return dialWith(t, net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
		return err
	}}, addr)
}

func dialWith(t testing.TB, d net.Dialer, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	d.Timeout = trapPatience
	conn, err := d.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return bounded(t, conn.(*net.TCPConn))
}

func acceptOn(t testing.TB, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	l.SetDeadline(time.Now().Add(trapPatience))
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	return bounded(t, conn)
}

// bounded bounds all that a test does with a connection, and closes it at the end.
func bounded(t testing.TB, c *net.TCPConn) *net.TCPConn {
	c.SetDeadline(time.Now().Add(trapPatience))
	t.Cleanup(func() { c.Close() })
	return c
}

func addrPortOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// rst ends a connection with a RST; what its system has not yet delivered is lost.
func rst(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// onSocket calls f with the descriptor of a connection.
func onSocket(t testing.TB, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := errors.Join(raw.Control(func(fd uintptr) { inner = f(int(fd)) }), inner); err != nil {
		t.Fatal(err)
	}
}

// sendQueue and receiveQueue are the bytes that a socket's peer has not acknowledged
// and that its owner has not read (tcp(7), SIOCOUTQ and SIOCINQ).
func sendQueue(t testing.TB, c *net.TCPConn) (n int) {
	t.Helper()
	onSocket(t, c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n
}

func receiveQueue(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// acknowledged waits until the engine's system has all that c has sent, a FIN too.
func acknowledged(t testing.TB, c *net.TCPConn) {
	t.Helper()
	until(t, "all that was sent is acknowledged", func() bool { return sendQueue(t, c) == 0 })
}

// engineSocket is the engine's descriptor of the connection whose other end is peer:
// both are of this process.
func engineSocket(t testing.TB, peer *net.TCPConn) int {
	t.Helper()
	local, remote := addrPortOf(peer.RemoteAddr()), addrPortOf(peer.LocalAddr())
	for fd, what := range descriptors(t) {
		if !strings.HasPrefix(what, "socket:") {
			continue
		}
		at, err := unix.Getsockname(fd)
		if err != nil || inetAddr(at) != local {
			continue
		}
		if to, err := unix.Getpeername(fd); err == nil && inetAddr(to) == remote {
			return fd
		}
	}
	t.Fatalf("the engine has no socket that is connected to %v", remote)
	return -1
}

func inetAddr(sa unix.Sockaddr) netip.AddrPort {
	if sa, ok := sa.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// descriptors are those of this process, and what they are.
func descriptors(t testing.TB) map[int]string {
	t.Helper()
	dir := "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := make(map[int]string)
	for _, e := range entries {
		if what, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			fd, _ := strconv.Atoi(e.Name())
			open[fd] = what
		}
	}
	return open
}

// countDescriptors counts those of one kind: "socket:" or "pipe:".
func countDescriptors(t testing.TB, kind string) (n int) {
	t.Helper()
	for _, what := range descriptors(t) {
		if strings.HasPrefix(what, kind) {
			n++
		}
	}
	return n
}

// tape is an endless stream of bytes that its seed determines. What is read from it
// is hashed, so that two ends of a connection can be compared.
type tape struct {
	*rand.ChaCha8
	sum hash.Hash32
	n   int64
}

func newTape(seed uint64) *tape {
	var key [32]byte
	binary.NativeEndian.PutUint64(key[:], seed)
	return &tape{ChaCha8: rand.NewChaCha8(key), sum: crc32.New(castagnoli)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// send writes the next n bytes of the tape, in pieces of at most size bytes.
func (s *tape) send(w io.Writer, n int64, size int) error {
	b := make([]byte, min(int64(size), n))
	for n > 0 {
		b = b[:min(int64(len(b)), n)]
		s.Read(b)
		m, err := w.Write(b)
		s.sum.Write(b[:m])
		s.n += int64(m)
		n -= int64(m)
		if err != nil {
			return fmt.Errorf("send byte %d: %w", s.n, err)
		}
	}
	return nil
}

// received is the other end: a hash and a number of bytes.
type received struct {
	sum hash.Hash32
	n   int64
}

func newReceived() *received { return &received{sum: crc32.New(castagnoli)} }

// read takes n bytes.
func (r *received) read(c io.Reader, n int64) error {
	got, err := copyBytes(r.sum, io.LimitReader(c, n))
	r.n += got
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readAll takes what comes until the end, or an error.
func (r *received) readAll(c io.Reader) error {
	got, err := copyBytes(r.sum, c)
	r.n += got
	return err
}

// copyBytes is io.Copy without its shortcuts, through which a test's own socket
// would be spliced.
func copyBytes(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// wantSame checks that everything arrived, in order.
func (r *received) wantSame(t testing.TB, s *tape) {
	t.Helper()
	if r.n != s.n || r.sum.Sum32() != s.sum.Sum32() {
		t.Errorf("received %d bytes with hash %08x; want the %d that were sent, with %08x", r.n, r.sum.Sum32(), s.n, s.sum.Sum32())
	}
}

// aside runs f and answers a function that waits for it and fails the test with its
// error.
func aside(t testing.TB, what string, f func() error) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		case <-time.After(trapPatience):
			t.Fatalf("%s: not done within %v", what, trapPatience)
		}
	}
}

// transfer moves n random bytes from one peer to the other and checks them.
func transfer(t testing.TB, from io.Writer, to io.Reader, n int64) {
	t.Helper()
	sent, got := newTape(uint64(n)), newReceived()
	wait := aside(t, "send", func() error { return sent.send(from, n, 256<<10) })
	if err := got.read(to, n); err != nil {
		t.Fatalf("receive: %v", err)
	}
	wait()
	got.wantSame(t, sent)
}

// warm moves so much that the systems' buffers grow and the flow is in splice mode
// for most of it. An engine that has no pipe to spare fails the test.
func (r *trapRig) warm(from, to *net.TCPConn) {
	r.t.Helper()
	for before, tries := r.stats().SpliceBytes, 0; r.stats().SpliceBytes == before; tries++ {
		if tries == 10 {
			r.t.Fatal("ten transfers of 4 MiB did not enter splice mode")
		}
		transfer(r.t, from, to, 4<<20)
	}
}

// stick fills the way from one peer to another that does not read, and answers what
// it has sent. The flow is left with a pipe that holds bytes; the sender's system has
// nothing more to send.
func (r *trapRig) stick(from *net.TCPConn, seed uint64) *tape {
	r.t.Helper()
	sent := newTape(seed)
	inUse := r.stats().PipesInUse
	for sent.n < 64<<20 {
		if err := sent.send(from, 64<<10, 64<<10); err != nil {
			r.t.Fatal(err)
		}
		acknowledged(r.t, from)
		if r.holds(inUse + 1) {
			return sent
		}
	}
	r.t.Fatalf("%d bytes that nobody reads did not fill a pipe", sent.n)
	return nil
}

// holds reports whether n pipes hold bytes, and go on to.
func (r *trapRig) holds(n int64) bool {
	for range 10 {
		if r.stats().PipesInUse != n {
			return false
		}
		time.Sleep(time.Millisecond / 2)
	}
	return true
}

// echo sends back all that it gets, and ends when that ends.
func echo(c *net.TCPConn) {
	copyBytes(c, c)
	c.CloseWrite()
}

// roundTrips plays ping-pong with one byte, against an echo, and answers how long
// each round took.
func roundTrips(c io.ReadWriter, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	b := make([]byte, 1)
	for i := range took {
		began := time.Now()
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	return took, nil
}

// quantile of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// wantRest checks that the engine does next to nothing for a while, in which nothing
// happens.
func (r *trapRig) wantRest(t testing.TB) {
	t.Helper()
	const while = 300 * time.Millisecond
	before, used := r.stats(), processorTime(t)
	time.Sleep(while)
	after := r.stats()
	if wakeups := after.Wakeups - before.Wakeups; wakeups > 20 {
		t.Errorf("a loop with nothing to do woke up %d times in %v; want next to never", wakeups, while)
	}
	if used = processorTime(t) - used; used > while/2 {
		t.Errorf("a process with nothing to do used %v of processor time in %v; want next to none", used, while)
	}
}
