package loadgen

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// state is where a connection is:
//
//	unused -> dialing -> working <-> still
//	   ^         |          |
//	   +-failed<-+----------+        when the window is over: -> closing -> gone
type state uint8

const (
	unused  state = iota // closed; waits for its turn to dial or for an operation
	dialing              // the connect is under way
	working              // an operation or a stream is under way
	still                // open, with nothing to do
	closing              // our direction has ended; waits for the other's end
	failed               // closed, until retryAt
	gone                 // closed for good
)

// unscheduled is when a connection's opening and its first message are due, where they
// are no operation of their own: they are not measured.
const unscheduled = -1

// conn is one connection of a run. Offsets count from where the stream begins, after
// the header if there is one.
type conn struct {
	fd      int32 // -1: none
	slot    uint32
	gen     uint32 // of the socket, so that a stale event is recognised
	state   state
	queued  bool // for the next turn
	counted bool // in the thread's number of dials under way
	tried   bool // opened or failed once
	open    bool // counted as open
	ended   bool // the end of the server's stream was announced: read until it comes

	job      *job
	target   netip.AddrPort
	phase    uint32
	sent     uint64 // offset
	got      uint64 // offset
	goal     uint64 // where sent and got are when the message is done
	due      int64  // when the operation was due
	progress int64  // when a byte last moved, or an operation began
	retryAt  int64

	receipt  [receiptSize]byte
	receipts int // bytes of it that have come
}

// dial opens c, for the operation that it is to begin with.
func (t *thread) dial(c *conn) {
	target, source := t.route()
	fd, e := dial(target, source)
	c.fd, c.gen, c.state, c.target, c.progress = fd, max(c.gen+1, 1), dialing, target, t.now
	c.sent, c.got, c.goal, c.receipts, c.ended = 0, 0, 0, 0, false
	if e != 0 && e != unix.EINPROGRESS {
		t.fail(c, dialKind(e), "connect", e)
		return
	}
	if e := sys.EpollAdd(t.ep, fd, connEvents, c.slot, c.gen); e != 0 {
		t.fail(c, Local, "watch", e)
		return
	}
	t.needWatch()
}

// route is where the next connection goes and comes from: all pairs in turn, taken
// over the threads.
func (t *thread) route() (target netip.AddrPort, source netip.Addr) {
	o := &t.r.options
	n := t.dials
	t.dials += o.Threads
	target = o.Targets[n%len(o.Targets)]
	if len(o.Sources) > 0 {
		source = o.Sources[n/len(o.Targets)%len(o.Sources)]
	}
	return target, source
}

// stir handles an event.
func (t *thread) stir(c *conn, events uint32) {
	c.ended = c.ended || events&endEvents != 0
	switch {
	case c.state == dialing:
		t.connected(c, events)
	case c.job.Mode == Upload:
		t.upload(c, events)
	case c.job.Mode == Download:
		t.download(c, events)
	default:
		t.exchange(c, events)
	}
}

// connected handles the outcome of a connect.
func (t *thread) connected(c *conn, events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if e := sys.SocketError(c.fd); e != 0 {
			t.fail(c, dialKind(e), "connect", e)
			return
		}
	} else if events&unix.EPOLLOUT == 0 {
		return
	}
	if c.target.Addr().IsLoopback() {
		// A closed port in the ephemeral range may be given to the very socket that dials
		// it, which would then echo perfectly.
		if local, _ := sys.LocalAddr(c.fd); local == c.target {
			t.fail(c, Refused, "connect", unix.ECONNREFUSED)
			return
		}
	}
	t.uncount(c)
	c.state = working
	switch c.job.Mode {
	case Upload, Download:
		t.beginStream(c)
	default:
		t.beginMessage(c)
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 && c.state == working {
		t.again(c) // the server spoke, or ended, before we noticed the connect: it is not told twice
	}
}

func (t *thread) uncount(c *conn) {
	if c.counted {
		c.counted = false
		t.dialing--
	}
}

// settle notes that c works all the way to the server.
func (t *thread) settle(c *conn) {
	if c.open {
		return
	}
	c.open = true
	c.job.live.open.Add(1)
	if !c.tried {
		c.job.live.opened.Add(1)
		t.tried(c)
	}
}

func (t *thread) tried(c *conn) {
	if !c.tried {
		c.tried = true
		t.r.trying.Done()
	}
}

// shut closes c's socket, if it has one; what comes next is for the caller.
func (t *thread) shut(c *conn, reset bool) {
	t.uncount(c)
	if c.open {
		c.open = false
		c.job.live.open.Add(-1)
	}
	if c.fd < 0 {
		return
	}
	if reset {
		sys.Reset(c.fd)
	} else {
		sys.Close(c.fd)
	}
	c.fd = -1
}

// fail ends c because of an error, for a moment or, when the run ends, for good.
func (t *thread) fail(c *conn, k ErrorKind, verb string, err error) {
	c.job.note(k, fmt.Errorf("%s %s: %w", verb, c.target, err))
	if k == TimedOut && !t.ending {
		t.measureWait(c, t.now)
	}
	t.shut(c, k == TimedOut || k == Corrupt)
	t.tried(c)
	if c.state == still {
		c.job.free = slices.DeleteFunc(c.job.free, func(f *conn) bool { return f == c })
	}
	if t.ending {
		t.depart(c)
		return
	}
	c.state, c.retryAt = failed, t.now+retryAfter
	t.needWatch()
}

// revive lets a connection that failed begin again.
func (t *thread) revive(c *conn) {
	c.state = unused
	if c.job.Mode == Connect && c.job.pace.interval > 0 {
		c.job.free = append(c.job.free, c)
		return
	}
	t.pending = append(t.pending, c)
}

// depart takes c out of the run.
func (t *thread) depart(c *conn) {
	t.shut(c, false)
	t.tried(c)
	c.state = gone
	t.alive--
}

func dialKind(e sys.Errno) ErrorKind {
	switch e {
	case unix.ECONNREFUSED:
		return Refused
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EACCES, unix.EPERM:
		return Local
	}
	return openKind(e, Unreachable)
}

func openKind(e sys.Errno, other ErrorKind) ErrorKind {
	switch e {
	case unix.ECONNRESET, unix.EPIPE:
		return Reset
	case unix.ETIMEDOUT:
		return TimedOut
	}
	return other
}
