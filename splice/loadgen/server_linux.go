package loadgen

import (
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// Server is the other end of the load: it echoes, swallows or makes bytes. Each of
// its loops has a listening socket for every address, and all that it accepted.
type Server struct {
	options   ServerOptions
	addresses []netip.AddrPort
	loops     []*serverLoop
	stopping  atomic.Bool
	threads   sync.WaitGroup

	accepted, in, out, corrupt, exhausted atomic.Uint64
}

// Listen starts a server. Its errors wrap the system's errno.
func Listen(o ServerOptions) (*Server, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("no address to listen on")
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	s := &Server{options: o}
	for range o.Threads {
		l, err := newServerLoop(s)
		if err != nil {
			s.release()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	for _, a := range o.Addresses {
		if err := s.bind(a); err != nil {
			s.release()
			return nil, err
		}
	}
	takeProcessors(len(s.loops))
	for _, l := range s.loops {
		s.threads.Add(1)
		go l.run()
	}
	return s, nil
}

func (s *Server) bind(a netip.AddrPort) error {
	fds, at, err := openListeners(a, len(s.loops))
	if err != nil {
		return err
	}
	s.addresses = append(s.addresses, at)
	for i, l := range s.loops {
		l.listeners = append(l.listeners, fds[i])
		sys.EpollAdd(l.ep, fds[i], unix.EPOLLIN|unix.EPOLLET, uint32(len(l.listeners)), 0)
	}
	return nil
}

// release frees what loops that never ran hold.
func (s *Server) release() {
	for _, l := range s.loops {
		l.close()
	}
}

// Addresses are those of the options, with the ports that the system chose.
func (s *Server) Addresses() []netip.AddrPort { return s.addresses }

// Stats is what the server has done so far.
func (s *Server) Stats() ServerStats {
	open := 0
	for _, l := range s.loops {
		open += int(l.open.Load())
	}
	return ServerStats{
		Accepted: s.accepted.Load(), Open: open, BytesIn: s.in.Load(), BytesOut: s.out.Load(),
		Corrupt: s.corrupt.Load(), Exhausted: s.exhausted.Load(),
	}
}

// Close ends every connection and waits for the loops.
func (s *Server) Close() {
	if s.stopping.Swap(true) {
		return
	}
	for _, l := range s.loops {
		l.wake()
	}
	s.threads.Wait()
	returnProcessors(len(s.loops))
	for _, l := range s.loops {
		l.close()
	}
}

const (
	// acceptRetry is how long accepting pauses for want of a resource.
	acceptRetry = int64(100 * time.Millisecond)
	// turnCalls bounds the reads or writes of one connection in one turn of a loop.
	turnCalls = 8
	// echoSize is the most that one read of an echo takes, and so the most that a
	// client which does not read its echoes makes the server keep.
	echoSize = 64 << 10
)

// serverLoop is one thread of a server. Events of a listening socket carry its number
// from 1 and generation 0. Only the last group is touched by other threads.
type serverLoop struct {
	s *Server
	poller
	base      time.Time
	listeners []int32
	retryAt   int64 // when to accept again after a pause, or forever

	conns  []*served // by slot
	unused []uint32  // slots
	queue  []*served // used up their turn
	spare  []*served // the other buffer of queue
	buf    []byte
	table  []byte
	chunks [][]byte // for what an echo could not send at once

	open  atomic.Int32
	mu    sync.Mutex
	inbox []int32 // accepted for us by another loop
}

func newServerLoop(s *Server) (*serverLoop, error) {
	p, err := openPoller()
	if err != nil {
		return nil, err
	}
	return &serverLoop{s: s, poller: p, base: time.Now(), retryAt: forever,
		buf: make([]byte, chunkSize), table: pattern()}, nil
}

// close frees what the loop still holds. No other loop may run any more, since it
// might give.
func (l *serverLoop) close() {
	closeAll(l.inbox)
	closeAll(l.listeners)
	l.poller.close()
}

// run is the thread.
func (l *serverLoop) run() {
	defer l.s.threads.Done()
	for !l.s.stopping.Load() {
		for _, ev := range l.wait(l.patience()) {
			l.handle(ev)
		}
		l.goOn()
		now := int64(time.Since(l.base))
		l.slice.Renew(now)
		if l.retryAt <= now {
			l.acceptAgain()
		}
	}
	for _, c := range l.conns {
		if c.fd >= 0 {
			l.drop(c)
		}
	}
}

func (l *serverLoop) patience() int64 {
	switch {
	case len(l.queue) > 0:
		return 0
	case l.retryAt == forever:
		return forever
	}
	return max(l.retryAt-int64(time.Since(l.base)), 0)
}

func (l *serverLoop) handle(ev sys.Event) {
	slot, gen := uint32(ev.Fd), uint32(ev.Pad)
	switch {
	case gen != 0:
		if c := l.conns[slot]; c.gen == gen && c.fd >= 0 {
			l.stir(c, ev.Events)
		}
	case slot == 0:
		sys.ClearSignal(l.wakefd)
		l.adopt()
	default:
		l.accept(l.listeners[slot-1])
	}
}

// goOn continues what used up its turn.
func (l *serverLoop) goOn() {
	queue := l.queue
	l.queue = l.spare[:0]
	for _, c := range queue {
		c.queued = false
		if c.fd >= 0 {
			l.stir(c, unix.EPOLLIN|unix.EPOLLOUT)
		}
	}
	l.spare = queue
}

func (l *serverLoop) again(c *served) {
	if !c.queued {
		c.queued = true
		l.queue = append(l.queue, c)
	}
}

func (l *serverLoop) acceptAgain() {
	l.retryAt = forever
	for _, fd := range l.listeners {
		l.accept(fd)
	}
}

// accept takes every client off a queue. One that would make this loop's share too
// large goes to the loop that has the least: the kernel's spread by hash leaves a few
// connections on one loop as often as not, which no two runs would do alike.
func (l *serverLoop) accept(listener int32) {
	for {
		fd, _, e := sys.Accept(listener)
		switch e {
		case 0:
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.s.exhausted.Add(1)
			l.retryAt = int64(time.Since(l.base)) + acceptRetry
			return
		default:
			continue // the error of that one client, gone from the queue (accept(2))
		}
		l.s.accepted.Add(1)
		if to := l.least(); to != l {
			to.give(fd)
		} else {
			l.open.Add(1)
			l.begin(fd)
		}
	}
}

// least is the loop that should have the next connection: this one, unless another
// has clearly fewer.
func (l *serverLoop) least() *serverLoop {
	best, n := l, l.open.Load()
	limit := n - n/8
	for _, o := range l.s.loops {
		if m := o.open.Load(); m < limit && m < n {
			best, n = o, m
		}
	}
	return best
}

// give hands a client over, from another thread.
func (l *serverLoop) give(fd int32) {
	l.open.Add(1)
	l.mu.Lock()
	l.inbox = append(l.inbox, fd)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first {
		l.wake()
	}
}

func (l *serverLoop) adopt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fd := range l.inbox {
		l.begin(fd)
	}
	l.inbox = l.inbox[:0]
}

// begin makes an accepted client one of this loop's connections.
func (l *serverLoop) begin(fd int32) {
	if len(l.unused) == 0 {
		l.conns = append(l.conns, &served{fd: -1, slot: uint32(len(l.conns))})
		l.unused = append(l.unused, uint32(len(l.conns)-1))
	}
	last := len(l.unused) - 1
	c := l.conns[l.unused[last]]
	l.unused = l.unused[:last]
	*c = served{fd: fd, slot: c.slot, gen: max(c.gen+1, 1), queued: c.queued, role: l.s.options.Role}
	if e := sys.EpollAdd(l.ep, fd, connEvents, c.slot, c.gen); e != 0 {
		l.drop(c)
	}
}

// drop closes a connection, for whatever reason.
func (l *serverLoop) drop(c *served) {
	sys.Close(c.fd)
	c.fd = -1
	if c.chunk != nil {
		l.chunks = append(l.chunks, c.chunk)
		c.chunk, c.rest = nil, nil
	}
	l.unused = append(l.unused, c.slot)
	l.open.Add(-1)
}
