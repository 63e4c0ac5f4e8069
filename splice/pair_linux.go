package splice

import (
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// The life of a pair:
//
//	           connect refused: Dial again
//	              +--------+
//	              v        |
//	accept --> dialing ----+--> relaying ----------------> closed --> free
//	              ^  |             |                         ^    end of the
//	              |  |             v one side broke          |    event batch
//	            waiting         resetting -------------------+
//	            (Dial said Wait)   |  its last bytes are acknowledged
//	                               v a second later          |
//	                            delivering ------------------+
//	                               has a FIN behind them
//
// Every way to closed goes through loop.close.
type pairState uint8

const (
	stateFree pairState = iota
	stateDialing
	stateWaiting
	stateRelaying
	stateResetting
	stateDelivering
	stateClosed
)

// side names an end of a pair, and the flow that reads from it: flow up reads the
// client and writes the backend.
type side uint8

const (
	client  side = 0
	backend side = 1
	up           = client
	down         = backend
	nobody  side = 2
)

const (
	silentAgain = 5 * time.Second // between two looks at a peer that was found alive

	// How long a RST waits for the bytes before it to be acknowledged, and the
	// first of the doubling intervals at which that is looked up. After that they get
	// a FIN behind them, in deliver.
	resetPatience = time.Second
	resetPoll     = time.Millisecond

	// What is dropped of a side before its socket closes with bytes to deliver: more
	// than a receive buffer holds (tcp_rmem, tcp(7)), and an end for one that never stops.
	lastDrop = 64 << 20

	// The backend's keepalive is set when the session is this old: four calls that short
	// sessions do not need.
	keepaliveAfter = 10 * time.Second

	// A flow enters splice mode after this many large reads in a row, and leaves it after
	// this many splices in a row that moved less than half of that: below, the second call
	// and the one that finds the socket empty cost more than copying.
	largeReads   = 2
	smallSplices = 3
	largeRead    = 16 << 10
)

// pair is one client and its backend. It belongs to one loop and is touched by no
// other thread. Idle, it holds two descriptors and nothing else.
type pair struct {
	slot uint32 // place in the loop's table
	gen  uint32 // tells a stale event; never 0

	state       pairState
	first       side // who ended its direction first
	gone        side // who broke, while resetting or delivering
	clientEnded bool // the client sent all it will while we were dialing
	keepalive   bool // the backend's socket has its keepalive
	ownPort     bool // the dial might meet itself
	unix        [2]bool

	ends  [2]end
	flows [2]flow

	session  Session
	failed   error // of the last attempt, while there is no backend
	counters *Counters
	timeouts *Timeouts
	limits   *Bandwidth
	paces    *[2]pace  // by flow; nil until limits bound one of them
	from     *listener // whose gates it passed

	born   int64  // accepted
	since  int64  // see its uses
	alarm  int64  // when to act, for all states but relaying; 0 = never
	errno  uint32 // of the end that broke
	answer uint32 // microseconds until the backend's first byte; 0 = none came
}

// What pair.since is:
//
//	dialing    when the attempt began
//	waiting    no time, but the Wait that Dial said
//	relaying   when the backend could begin to answer: it was connected, or got the
//	           client's first byte
//	resetting  when that began
//	delivering no time, but the bytes that were not acknowledged at the last look

// end is one socket of a pair. The flags are what the last events and calls told;
// registration is edge-triggered, so they are all there is to know.
type end struct {
	fd       int32
	readable bool // a read may find something
	writable bool // a write may take something
	hup      bool // the peer ended or broke: read on to the end, whatever a short read says
	urgent   bool // urgent data was seen: reads stop at its mark, splices do not pass it
	dead     bool // the system says that there is no connection any more (TCP only)
	broken   bool // reset, or dead
}

// flow moves bytes from ends[d] to ends[1-d].
//
// What was read and could not be written waits in rest (copy mode) or in the pipe
// (splice mode), never both; nothing is read while something waits, which is the
// back-pressure. So a pipe is empty whenever a splice into it begins, and EAGAIN
// from that can only mean that the socket is not readable.
type flow struct {
	rest    *chunk
	pipe    *pipe
	inPipe  int
	bytes   uint64
	last    int64 // when a byte last moved; when it ended, once it is done
	blocked int64 // since when the sink takes nothing; 0 = it does

	splicing bool
	noSplice bool // the kernel cannot splice this socket
	streak   uint8
	eof      bool // the source has ended
	done     bool // and so has the sink's direction
	queued   bool // in the loop's list of flows to go on with
	stuck    bool // counted in the loop's stuck: keeps a pipe for a sink that takes nothing
}

// pump moves bytes in direction d until the source has no more, the sink takes no
// more, the source ends, or the turn's budget is used up.
func (l *loop) pump(p *pair, d side) {
	f, src := &p.flows[d], &p.ends[d]
	for budget := turnBudget; !f.done; {
		if (f.rest != nil || f.pipe != nil) && !l.flush(p, d) {
			return
		}
		if f.eof {
			l.finish(p, d)
			return
		}
		if !src.readable {
			return
		}
		if budget <= 0 || f.splicing && (l.late || l.left <= 0) {
			l.again(p, d)
			return
		}
		if p.limits != nil && p.limits.lanes[d].bounded.Load() {
			n, ok := l.pumpPaced(p, d, budget)
			if !ok {
				return
			}
			budget -= n
			continue
		}
		budget -= l.move(p, d, len(l.buf), pipeOverfill*l.r.o.PipeSize)
	}
}

// move reads once, at most as many bytes as the mode's bound says, and answers how
// many it were.
func (l *loop) move(p *pair, d side, copied, spliced int) int {
	if p.flows[d].splicing {
		return l.spliceIn(p, d, spliced)
	}
	return l.copyThrough(p, d, copied)
}

// copyThrough reads once into the loop's buffer, at most so many bytes, and writes
// them out at once. It answers the bytes read.
func (l *loop) copyThrough(p *pair, d side, most int) int {
	f, src, dst := &p.flows[d], &p.ends[d], &p.ends[1-d]
	n, e := sys.Recv(src.fd, l.buf[:most])
	if e != 0 || n == 0 {
		l.sourceStopped(p, d, e)
		return 0
	}
	if n < min(largeRead, len(l.buf)) {
		f.streak = 0
	} else if f.streak++; f.streak >= largeReads && !src.urgent && !f.noSplice {
		f.splicing, f.streak = true, 0
	}
	if n < most {
		// A short read drained the socket: what comes later makes a new event. But one
		// of a unix socket may have stopped behind a passed descriptor (unix(7)).
		src.readable = src.hup || src.urgent || p.unix[d]
	}
	m, e := sys.Send(dst.fd, l.buf[:n])
	l.moved(p, d, m, &l.stats.copied)
	switch {
	case m == n:
	case e == 0 || e == unix.EAGAIN:
		f.rest = l.chunks.keep(l.buf[m:n])
		l.sinkFull(p, d)
	default:
		l.sinkBroke(p, d, e)
	}
	return n
}

// spliceIn fills an empty pipe from the source with at most so many bytes; flush
// empties it. It answers the bytes that went in.
func (l *loop) spliceIn(p *pair, d side, most int) int {
	f, src := &p.flows[d], &p.ends[d]
	pi := l.pipes.take(l.now)
	if pi == nil || src.urgent {
		if pi != nil {
			l.pipes.put(pi)
		}
		f.splicing = false
		return 0
	}
	most = min(most, l.fill(pi.size))
	n, e := sys.Splice(src.fd, pi.w, most)
	if n > 0 {
		l.left -= n
		f.pipe, f.inPipe = pi, n
		if n >= min(largeRead, len(l.buf))/2 {
			f.streak = 0
		} else if f.streak++; f.streak >= smallSplices {
			f.splicing, f.streak = false, 0
		}
		return n
	}
	l.pipes.put(pi)
	switch e {
	case 0: // the end, or urgent data in front of it: a read tells them apart
		f.splicing = false
	case unix.EINVAL, unix.ENOSYS, unix.EPERM, unix.EOPNOTSUPP: // a filter may say EPERM
		f.splicing, f.noSplice = false, true
	case unix.EAGAIN:
		src.readable = false
	case unix.ENOMEM, unix.ENOBUFS: // this machine's trouble, not the source's: a read takes less of it
		f.splicing = false
	default: // told before what is behind urgent data, and once: a read finds the rest
		src.broken, p.errno = true, uint32(e)
		f.splicing = false
	}
	return 0
}

// flush writes what waits, and reports whether nothing waits any more.
func (l *loop) flush(p *pair, d side) bool {
	f, dst := &p.flows[d], &p.ends[1-d]
	if !dst.writable {
		return false
	}
	for f.inPipe > 0 {
		n, e := sys.Splice(f.pipe.r, dst.fd, f.inPipe)
		if n == 0 {
			return l.sinkStopped(p, d, e)
		}
		f.inPipe -= n
		l.moved(p, d, n, &l.stats.spliced)
	}
	if f.pipe != nil {
		l.pipes.put(f.pipe)
		f.pipe = nil
		l.unstuck(f)
	}
	if f.rest != nil {
		n, e := sys.Send(dst.fd, f.rest.bytes())
		l.moved(p, d, n, &l.stats.copied)
		if n < f.rest.len() {
			f.rest.skip(n)
			return l.sinkStopped(p, d, e)
		}
		l.chunks.drop(f.rest)
		f.rest = nil
	}
	f.blocked = 0
	return true
}

// moved accounts n bytes that the sink has taken.
func (l *loop) moved(p *pair, d side, n int, how *atomic.Uint64) {
	if n == 0 {
		return
	}
	f := &p.flows[d]
	if f.bytes == 0 {
		l.begun(p, d)
	}
	f.bytes += uint64(n)
	f.last = l.now
	if f.blocked != 0 {
		f.blocked = l.now
	}
	if p.counters != nil {
		if d == up {
			p.counters.Up.Add(uint64(n))
		} else {
			p.counters.Down.Add(uint64(n))
		}
	}
	how.Add(uint64(n))
}

// begun notes how long the backend took to its first byte: from the client's first
// one on, or if it speaks first from the connect. Both times are the loop's, as of its
// last wait.
func (l *loop) begun(p *pair, d side) {
	if d == up && p.flows[down].bytes == 0 {
		p.since = l.now
	} else if d == down {
		took := max(l.now-p.since, 1) + int64(time.Microsecond) - 1
		p.answer = uint32(min(took/int64(time.Microsecond), math.MaxUint32))
	}
}

// sourceStopped handles a read that gave nothing: drained, ended, or broken.
func (l *loop) sourceStopped(p *pair, d side, e sys.Errno) {
	src := &p.ends[d]
	if e == unix.EAGAIN {
		src.readable = false
		return
	}
	if e != 0 {
		src.broken = true
		p.errno = uint32(e)
	}
	p.flows[d].eof = true
}

// sinkStopped handles a write that did not take all: full, or broken. It answers
// false, for flush.
func (l *loop) sinkStopped(p *pair, d side, e sys.Errno) bool {
	if e == 0 || e == unix.EAGAIN {
		l.sinkFull(p, d)
	} else {
		l.sinkBroke(p, d, e)
	}
	return false
}

func (l *loop) sinkFull(p *pair, d side) {
	p.ends[1-d].writable = false
	if f := &p.flows[d]; f.blocked == 0 {
		f.blocked = l.now
		l.arm(p)
	}
}

// sinkBroke ends flow d because its sink is gone. What the sink had sent before
// may still be read, and is delivered before the source hears of it.
func (l *loop) sinkBroke(p *pair, d side, e sys.Errno) {
	f, gone := &p.flows[d], 1-d
	if !p.ends[gone].broken {
		p.ends[gone].broken = true
		p.errno = uint32(e)
	}
	l.discard(f)
	f.done, f.last, f.blocked = true, l.now, 0
	if p.flows[gone].done {
		l.breakOff(p, gone)
		return
	}
	l.arm(p)
	p.ends[gone].readable = true
	l.pump(p, gone)
}

// finish ends flow d: its source has ended and all its bytes are written.
func (l *loop) finish(p *pair, d side) {
	if p.ends[d].broken {
		l.breakOff(p, d)
		return
	}
	f := &p.flows[d]
	f.done, f.last = true, l.now
	if p.first == nobody {
		p.first = d
	}
	if p.flows[1-d].done {
		l.close(p, closedBy(p.first), 0, sys.Close)
		return
	}
	sys.ShutdownWrite(p.ends[1-d].fd)
	if p.ends[d].dead {
		l.brokeAfterEnd(p, d)
		return
	}
	l.arm(p)
}

// brokeAfterEnd ends the flow to a side that was reset after it had ended in order:
// a read tells only of the end.
func (l *loop) brokeAfterEnd(p *pair, s side) {
	l.sinkBroke(p, 1-s, sys.SocketError(p.ends[s].fd))
}

// breakOff tells the other side that gone broke: with a RST as soon as it has
// acknowledged all that we sent, since a RST discards what is still queued. All
// that gone had sent was written before.
func (l *loop) breakOff(p *pair, gone side) {
	p.state, p.since, p.gone = stateResetting, l.now, gone
	l.tryReset(p)
}

// tryReset ends a pair that is resetting, or puts that off while the other side
// still has bytes to acknowledge: at last it gets a FIN behind them.
func (l *loop) tryReset(p *pair) {
	other, waited := &p.ends[1-p.gone], l.now-p.since
	l.drop(other, turnBudget)
	unsent, _ := sys.Unsent(other.fd)
	switch {
	case other.broken || p.unix[1-p.gone] || unsent == 0:
		l.closeBroken(p, sys.Reset)
	case waited >= int64(resetPatience):
		l.beginDelivery(p)
	default:
		p.alarm = l.now + max(int64(resetPoll), waited)
		l.arm(p)
	}
}

// closeBroken ends a pair of which one side is gone.
func (l *loop) closeBroken(p *pair, how func(fd int32)) {
	reason := resetBy(p.gone)
	if p.first == p.gone {
		reason = closedBy(p.gone) // it had ended in order, and then refused our bytes
	}
	l.close(p, reason, sys.Errno(p.errno), how)
}

// drop reads and forgets about budget bytes that e sends to a peer that is gone:
// closed over unread bytes, a socket resets at once and loses what it has yet to
// deliver.
func (l *loop) drop(e *end, budget int) {
	for e.readable && budget > 0 {
		n, errno := sys.Recv(e.fd, l.buf)
		budget -= n
		if n == 0 {
			e.readable = false
			e.broken = e.broken || errno != 0 && errno != unix.EAGAIN
		}
	}
}

func closedBy(s side) Reason {
	if s == client {
		return ReasonClientClosed
	}
	return ReasonBackendClosed
}

func resetBy(s side) Reason {
	if s == client {
		return ReasonClientReset
	}
	return ReasonBackendReset
}

// dial asks the session where to connect until a connect is under way. spoke is whether
// the client's first bytes are here.
func (l *loop) dial(p *pair, last error, spoke bool) {
	for {
		ep, err := p.session.Dial(last)
		if w, ok := err.(Wait); ok {
			p.state, p.since, p.alarm = stateWaiting, int64(w), after(l.now, max(w, 1))
			l.arm(p)
			return
		}
		if err != nil {
			l.closeFailed(p, err)
			return
		}
		if last = l.connect(p, &ep, spoke); last == nil {
			return
		}
		if p.failed = last; p.clientEnded {
			l.closeFailed(p, last)
			return
		}
	}
}

// connect begins one attempt. An error means that nothing of it is left.
func (l *loop) connect(p *pair, ep *Endpoint, spoke bool) error {
	p.state, p.since, p.alarm = stateDialing, l.clock(), 0
	p.counters, p.timeouts, p.limits = ep.Counters, ep.Timeouts, ep.Bandwidth
	p.unix[backend] = ep.Unix != ""
	p.ownPort = !p.unix[backend] && ep.Addr.Port() >= l.r.lowPort
	fd, e := openBackend(ep, spoke)
	if e != 0 && e != unix.EINPROGRESS {
		if fd >= 0 {
			sys.Close(fd)
		}
		return os.NewSyscallError("connect", e)
	}
	p.ends[backend] = end{fd: fd}
	if add := sys.EpollAdd(l.ep, fd, pairEvents, p.slot<<1|uint32(backend), p.gen); add != 0 {
		l.dropBackend(p)
		return os.NewSyscallError("epoll_ctl", add)
	}
	if e == 0 {
		return l.established(p)
	}
	if ep.Timeout > 0 {
		p.alarm = after(p.since, ep.Timeout)
		l.arm(p)
	}
	return nil
}

// connected handles the first event of the backend's socket.
func (l *loop) connected(p *pair) {
	var e sys.Errno
	if p.ends[backend].hup {
		e = sys.SocketError(p.ends[backend].fd)
	}
	var err error
	if e != 0 {
		err = os.NewSyscallError("connect", e)
		l.dropBackend(p)
	} else {
		err = l.established(p)
	}
	if err != nil {
		l.dialFailed(p, err)
	}
}

// established begins to relay. It answers ErrSelfConnect, with the backend's
// socket closed, if there is nobody but ourselves at the other end.
func (l *loop) established(p *pair) error {
	if p.ownPort && selfConnected(p.ends[backend].fd) {
		l.dropBackend(p)
		return ErrSelfConnect
	}
	p.state, p.alarm, p.failed = stateRelaying, 0, nil
	now := l.clock()
	p.flows[up].last, p.flows[down].last = now, now
	p.ends[backend].writable = true
	if c, ok := p.session.(Connected); ok {
		c.Connected(time.Duration(now - p.since))
	}
	p.since = now
	l.arm(p)
	l.pump(p, up)
	if p.state == stateRelaying {
		l.pump(p, down)
	}
	return nil
}

func selfConnected(fd int32) bool {
	local, _ := sys.LocalAddr(fd)
	remote, e := sys.RemoteAddr(fd)
	return e == 0 && local == remote
}

// dialFailed goes on with the next attempt, unless the client has ended: its bytes
// were for that one attempt.
func (l *loop) dialFailed(p *pair, err error) {
	if p.failed = err; p.clientEnded {
		l.closeFailed(p, err)
		return
	}
	l.dial(p, err, false)
}

// dropBackend takes the socket out of the epoll first: while a child process is
// between fork and exec, a close alone would not, and the next attempt of the pair
// has the same generation. It resets, since one that met itself would else keep the
// backend's port in TIME-WAIT.
func (l *loop) dropBackend(p *pair) {
	sys.EpollDel(l.ep, p.ends[backend].fd)
	sys.Reset(p.ends[backend].fd)
	p.ends[backend] = end{fd: -1}
}

// clientStirred handles an event of the client while there is no backend yet: a
// client that resets, or ends with nothing sent, is gone. One that ends behind bytes
// in the pause after a failed attempt has had its attempt.
func (l *loop) clientStirred(p *pair) {
	c := &p.ends[client]
	if !c.hup {
		return
	}
	if e := sys.SocketError(c.fd); e != 0 {
		l.close(p, ReasonClientReset, e, sys.Reset)
		return
	}
	switch n, e := sys.Peek(c.fd, l.buf[:1]); {
	case n > 0:
		if p.clientEnded = true; p.state == stateWaiting && p.failed != nil {
			l.closeFailed(p, p.failed)
		}
	case e == 0:
		l.close(p, ReasonClientClosed, 0, sys.Close) // the backend may have accepted by now
	case e != unix.EAGAIN:
		l.close(p, ReasonClientReset, e, sys.Reset)
	}
}

// nextDeadline is the earliest time at which p must be looked at; 0 is never.
func (l *loop) nextDeadline(p *pair) int64 {
	switch p.state {
	case stateRelaying:
	case stateDelivering:
		return l.nextDelivery(p)
	default:
		return p.alarm
	}
	var next int64
	earlier := func(t int64) {
		if next == 0 || t < next {
			next = t
		}
	}
	for d := range p.flows {
		if b := p.flows[d].blocked; b != 0 {
			earlier(l.nextLook(b))
			if f := &p.flows[d]; f.pipe != nil && !f.stuck {
				earlier(b + int64(stuckAfter))
			}
		}
		if p.paces != nil && p.paces[d].due > 0 && !p.flows[d].queued {
			earlier(min(p.paces[d].due, after(l.now, turnCheck)))
		}
	}
	if !p.keepalive && !p.unix[backend] {
		earlier(p.keepaliveDue())
	}
	if t := p.timeouts; t != nil {
		if idle := p.idleLimit(); idle > 0 {
			earlier(after(l.idleSince(p), idle))
		}
		if since := p.stalledSince(); t.Stall > 0 && since != 0 {
			earlier(after(since, t.Stall))
		}
		if t.Lifetime > 0 {
			earlier(after(p.born, p.lifetime()))
		}
	}
	return next
}

// nextLook is when to look whether a sink is dead that takes nothing since blocked:
// when it may be the first time, then again and again.
func (l *loop) nextLook(blocked int64) int64 {
	first := blocked + int64(l.r.o.SilentAfter)
	if l.now < first {
		return first
	}
	return l.now + int64(silentAgain)
}

// keepaliveDue is when the backend's socket gets its intervals.
func (p *pair) keepaliveDue() int64 {
	return p.born + int64(min(keepaliveAfter, p.alive().idle()))
}

func (p *pair) alive() Keepalive {
	if p.timeouts == nil {
		return Keepalive{}
	}
	return p.timeouts.Keepalive
}

// idleLimit is the shortest of the limits of a time without a byte; 0 = none.
func (p *pair) idleLimit() time.Duration {
	idle, half := p.timeouts.Idle, p.timeouts.HalfClose
	if half > 0 && p.halfClosed() && (idle == 0 || half < idle) {
		return half
	}
	return idle
}

// lifetime is that of this session: born tells it from all others.
func (p *pair) lifetime() time.Duration { return p.timeouts.lifetime(uint64(p.born)) }

// stalledSince is since when a sink has taken nothing; 0 = none is stalled.
func (p *pair) stalledSince() (since int64) {
	for d := range p.flows {
		if b := p.flows[d].blocked; b != 0 && (since == 0 || b < since) {
			since = b
		}
	}
	return since
}

// after is the time d after t, or the end of time.
func after[D ~int64](t int64, d D) int64 {
	if int64(d) > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + int64(d)
}

// halfClosed reports whether one side has ended, in order or not. One that hung up has,
// although bytes of it may still wait for a sink that takes nothing.
func (p *pair) halfClosed() bool {
	return p.flows[up].done || p.flows[down].done || p.ends[client].hup || p.ends[backend].hup
}

// idleSince is the last sign of life of either direction; the end of one counts. One
// that waits for its turn is not idle.
func (l *loop) idleSince(p *pair) int64 {
	if p.flows[up].queued || p.flows[down].queued || p.paces != nil && (p.paces[up].due > l.now || p.paces[down].due > l.now) {
		return l.now
	}
	return max(p.flows[up].last, p.flows[down].last)
}

// arm makes the loop look at p at its next deadline.
func (l *loop) arm(p *pair) {
	if next := l.nextDeadline(p); next != 0 {
		l.timers.set(p.slot, next)
	}
}

// expire acts on a deadline of p, if it has not moved.
func (l *loop) expire(p *pair) {
	switch p.state {
	case stateRelaying:
		l.expireRelay(p)
		return
	case stateDelivering:
		l.deliver(p)
		return
	}
	if p.alarm == 0 || p.alarm > l.heard.until {
		l.arm(p)
		return
	}
	switch p.state {
	case stateDialing:
		l.dropBackend(p)
		l.dialFailed(p, ErrDialTimeout)
	case stateWaiting:
		l.dial(p, Wait(p.since), false)
	case stateResetting:
		l.tryReset(p)
	}
}

// expireRelay looks at everything that may be due of a pair that is relaying, since
// bytes move deadlines without a word.
func (l *loop) expireRelay(p *pair) {
	if !p.keepalive && !p.unix[backend] && l.now >= p.keepaliveDue() {
		p.keepalive = true
		setKeepalive(p.ends[backend].fd, p.alive())
	}
	l.takeTurns(p) // first: the wait for one, which is over now, was not idleness
	if p.state != stateRelaying {
		return
	}
	reason, due := l.timedOut(p)
	if due {
		l.noteTaken(p)
		reason, due = l.timedOut(p)
	}
	if due {
		l.close(p, reason, 0, sys.Reset)
		return
	}
	for d := range p.flows {
		if l.silent(p, side(d)) {
			l.close(p, resetBy(1-side(d)), unix.ETIMEDOUT, sys.Reset)
			return
		}
	}
	l.unstick(p)
	l.arm(p)
}

// timedOut tells which of its timeouts, if any, ends p, by what was heard of it.
func (l *loop) timedOut(p *pair) (reason Reason, due bool) {
	t := p.timeouts
	if t == nil {
		return 0, false
	}
	over := func(since int64, limit time.Duration) bool { return limit > 0 && l.heard.until-since >= int64(limit) }
	idle, stalled := l.idleSince(p), p.stalledSince()
	switch {
	case over(p.born, p.lifetime()):
		return ReasonLifetime, true
	case p.halfClosed() && over(idle, t.HalfClose):
		return ReasonHalfCloseTimeout, true
	case over(idle, t.Idle):
		return ReasonIdleTimeout, true
	case stalled != 0 && over(stalled, t.Stall):
		return ReasonStallTimeout, true
	}
	return 0, false
}

// noteTaken notes what the sinks of p have taken of the kernel's queues since the last
// byte moved here: a byte that a peer takes is a sign of life wherever it waited.
func (l *loop) noteTaken(p *pair) {
	for d := range p.flows {
		if p.unix[1-d] {
			continue // its bytes wait where the peer reads
		}
		ms, queued := sys.Taken(p.ends[1-d].fd)
		if !queued {
			continue
		}
		f, at := &p.flows[d], l.now-int64(ms)*int64(time.Millisecond)
		f.last = max(f.last, at)
		if f.blocked != 0 {
			f.blocked = max(f.blocked, at)
		}
	}
}

// silent reports whether flow d's sink, which takes nothing, is dead.
func (l *loop) silent(p *pair, d side) bool {
	f, limit := &p.flows[d], l.r.o.SilentAfter
	if f.blocked == 0 || l.now-f.blocked < int64(limit) {
		return false
	}
	ms, unanswered, e := sys.Silence(p.ends[1-d].fd)
	return e == 0 && time.Duration(ms)*time.Millisecond >= limit && unanswered >= silentProbes
}

// closeFailed ends a session that found no backend: its client is reset.
func (l *loop) closeFailed(p *pair, err error) {
	l.end(p, Result{Reason: ReasonConnectFailed, Err: err}, sys.Reset)
}

// close ends p, each socket by how.
func (l *loop) close(p *pair, r Reason, e sys.Errno, how func(fd int32)) {
	res := Result{Reason: r}
	if e != 0 {
		res.Err = e
	}
	l.end(p, res, how)
}

// end is the one exit of every session. Sockets close before the session hears of
// it, so that whoever takes its permit or its place on the backend comes after.
func (l *loop) end(p *pair, res Result, how func(fd int32)) {
	now := l.clock()
	if p.state >= stateRelaying {
		res.Path = l.path(p, now)
	}
	p.state = stateClosed
	l.timers.clear(p.slot)
	for d := range p.flows {
		l.discard(&p.flows[d])
	}
	how(p.ends[client].fd)
	if p.ends[backend].fd >= 0 {
		how(p.ends[backend].fd)
	}
	res.Up, res.Down = p.flows[up].bytes, p.flows[down].bytes
	res.FirstByte = time.Duration(p.answer) * time.Microsecond
	res.Duration = time.Duration(now - p.born)
	res.ClientEnded = p.clientEnded || p.first == client
	p.session.Close(res)
	releaseAll(p.from.bind.Gates)
	l.dead = append(l.dead, p)
}

// discard drops what waits in f. A pipe with residue is destroyed.
func (l *loop) discard(f *flow) {
	if f.pipe != nil {
		l.pipes.destroy(f.pipe)
		f.pipe, f.inPipe = nil, 0
		l.unstuck(f)
	}
	if f.rest != nil {
		l.chunks.drop(f.rest)
		f.rest = nil
	}
}
