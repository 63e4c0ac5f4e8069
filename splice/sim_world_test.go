//go:build linux && simkernel

package splice

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// simLowPort is where the ports that the simulated system chooses begin.
const simLowPort = 32768

// world is one history: a machine with one loop, and all that surrounds it.
type world struct {
	*dice
	k   *sys.Kernel
	l   *loop
	ln  *listener
	s   *socket
	fd  int32 // that it listens on
	all []*Gate

	hosts    []*host
	clients  map[netip.AddrPort]*host
	sessions []*simSession // that live
	dialing  *simSession   // the one whose connect comes next
	opened   int
	dials    int

	// How this world is.
	unit     int  // the size that its numbers of bytes go around: the loop's buffer
	mayHold  int  // bytes that a flow may hold
	steps    int  // of its history
	crowd    int  // clients at most
	mortal   int  // how readily hosts end: with 1 they never do
	timeouts bool // sessions have some
	urgent   bool // urgent data is sent
	vanish   bool // hosts may go without a word
	noSplice bool // some sockets cannot be spliced
	poor     bool // calls fail for want of something
	busy     bool // the network goes on between calls

	bandwidth *Bandwidth // of most sessions; nil in most worlds
	measured  [2]measure // by flow

	calm      bool // nothing happens by itself any more
	suspended bool
	closed    bool // the listener is
	round     int

	seen   tally
	traced bool
	trace  []string
}

// violation is a broken rule.
type violation string

func (v violation) Error() string { return string(v) }

func (w *world) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

func (w *world) log(format string, args ...any) {
	if w.traced {
		w.trace = append(w.trace, fmt.Sprintf("%4d %8v  ", w.round, w.k.Now())+fmt.Sprintf(format, args...))
	}
}

func newWorld(d *dice, traced bool) *world {
	w := &world{dice: d, traced: traced, clients: map[netip.AddrPort]*host{}}
	w.unit = oneOf(d, 16, 100, 512, 4096)
	w.steps, w.crowd = 50+d.below(300), 1+d.below(6)
	if d.oneIn(20) {
		w.crowd = 2 * acceptBatch
	}
	w.mortal = oneOf(d, 4, 2, 3, 1)
	w.timeouts, w.urgent, w.vanish = d.oneIn(2), d.oneIn(4), d.oneIn(4)
	w.noSplice, w.poor, w.busy = d.oneIn(4), d.oneIn(2), d.oneIn(2)

	w.k = sys.Boot()
	w.k.Fault = func(what string) { w.fail("%s", what) }
	w.k.ReuseDescriptors = d.oneIn(2)
	w.k.RcvBuf, w.k.SndBuf = w.unit*(1+d.below(8)), max(2, w.unit*(1+d.below(32))/8)
	w.k.SlotSize = oneOf(d, 4096, 1+w.unit/4)
	pipeSize := oneOf(d, 4096, 16<<10, 64<<10)
	if d.oneIn(40) { // an elephant: what comes in at once is more than one turn's budget
		w.unit, w.steps, w.crowd = bufferSize, 30+d.below(50), 1+d.below(3)
		w.k.RcvBuf, w.k.SndBuf, w.k.SlotSize = 600<<10, 600<<10, bufferSize/2
		pipeSize = oneOf(d, 64<<10, 1<<20)
	}
	w.mayHold = max(w.unit, max(w.k.PipePages, pipeSize/4096)*max(4096, w.k.SlotSize))
	if d.oneIn(3) {
		w.bandwidth = new(Bandwidth)
		w.setBandwidth()
	}
	w.start(pipeSize)
	w.k.Between, w.k.Refuse, w.k.Dialed = w.between, w.refuse, w.dialed
	return w
}

// start makes the reactor, with one loop that no thread runs, and its listener.
func (w *world) start(pipeSize int) {
	r := &reactor{o: Options{SilentAfter: silentAfter}, lowPort: simLowPort, listeners: map[*listener]struct{}{}, drained: make(chan struct{}, 1)}
	r.o.PipeSize = pipeSize
	r.budget.max = int64(oneOf(w.dice, 64, 0, 1, 2))
	r.mostStuck = oneOf(w.dice, 32, 1, 0)
	w.l, _ = newLoop(r)
	w.l.buf = make([]byte, w.unit)
	w.l.events = make([]sys.Event, oneOf(w.dice, 8, 1, 2, 64))
	r.loops = []*loop{w.l}
	w.listen(r)
}

func (w *world) listen(r *reactor) {
	for range w.below(3) {
		w.all = append(w.all, NewGate(w.below(5)))
	}
	at := netip.MustParseAddrPort("10.0.0.1:5432")
	w.fd, _ = openListener(at, at.Port(), true)
	sys.Listen(w.fd, 100)
	w.ln = &listener{r: r, addr: at, fds: []int32{w.fd}, bind: Bind{Addr: at, Handler: w, Gates: w.all}}
	w.s, _ = w.l.serve(w.ln, w.fd)
	w.ln.sockets = []*socket{w.s}
}

// live plays the history to its end.
func (w *world) live() (broken error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			broken = v
		default:
			w.log("%s", debug.Stack())
			broken = violation(fmt.Sprint("panic: ", v))
		}
	}()
	for range w.steps {
		w.step()
		if w.over {
			break
		}
	}
	w.finish()
	w.count()
	return nil
}

func (w *world) count() {
	w.seen.relayed = [2]int{int(w.l.stats.copied.Load()), int(w.l.stats.spliced.Load())}
	w.seen.pauses = int(w.l.stats.pauses.Load())
}

// step is one throw.
func (w *world) step() {
	switch n := w.below(100); {
	case n < 55:
		w.someone()
	case n < 80:
		w.turn()
	case n < 86:
		w.connect()
		if w.crowd > acceptBatch && w.oneIn(4) {
			for range w.crowd {
				w.connect()
			}
		}
	case n < 92:
		w.settle()
	case n < 96:
		w.pass(time.Duration(oneOf(w.dice, 1, 10, 100, 1000, 10000)*(1+w.below(3))) * time.Millisecond)
	default:
		w.odd()
	}
}

// someone has a host do something.
func (w *world) someone() {
	if len(w.hosts) > 0 {
		// The latest are the most likely to live.
		last := min(len(w.hosts), 8)
		w.hosts[len(w.hosts)-1-w.below(last)].act()
	}
}

func (w *world) pass(d time.Duration) {
	w.log("%v pass", d)
	w.k.Advance(d)
}

// connect has one more client come.
func (w *world) connect() {
	n := len(w.clients)
	if n >= w.crowd {
		return
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(n >> 8), byte(n)}), 1000)
	if conn := w.k.Incoming(w.fd, from); conn != nil {
		h := w.newHost(fmt.Sprintf("client %d", n), conn)
		h.accepted = true
		w.clients[from] = h
		w.log("%s connects", h.name)
	}
}

// dialed makes the backend of an attempt.
func (w *world) dialed(conn *sys.Conn, _ netip.AddrPort) sys.Errno {
	s := w.dialing
	h := w.newHost(fmt.Sprintf("backend %d", w.dials), conn)
	h.s, s.attempt = s, h
	w.log("session %d dials %s", s.number, h.name)
	switch w.below(16) {
	default:
		return unix.EINPROGRESS
	case 13, 14:
		h.accepted = true
		return 0
	case 15:
		return oneOf(w.dice, unix.ECONNREFUSED, unix.ENETUNREACH, unix.EADDRNOTAVAIL)
	}
}

// odd is something that happens seldom.
func (w *world) odd() {
	switch w.below(9) {
	case 8:
		w.setBandwidth()
	case 0:
		w.kill()
	case 1:
		w.suspend(!w.suspended)
	case 2:
		if len(w.all) > 0 {
			w.log("a gate changes its limit")
			oneOf(w.dice, w.all...).SetLimit(w.below(4))
		}
	case 3:
		w.log("fork")
		w.k.Fork()
	case 4:
		w.log("exec")
		w.k.Exec()
	case 5:
		w.stale()
	case 6: // the user's share of pipe memory is used up, or free again
		w.k.PipePages = oneOf(w.dice, 16, 1, 2)
	case 7:
		w.rest()
	}
}

// kill ends a session as Engine.Kill does.
func (w *world) kill() {
	if len(w.sessions) == 0 || !w.oneIn(3) {
		return
	}
	victim := oneOf(w.dice, w.sessions...)
	w.log("session %d is to be killed", victim.number)
	w.l.post(func() {
		w.l.pairs.each(func(p *pair) {
			if p.session == victim {
				victim.killed = true
				w.l.close(p, ReasonKilled, 0, sys.Reset)
			}
		})
	})
}

func (w *world) suspend(yes bool) {
	w.log("suspended: %v", yes)
	w.suspended = yes
	if err := w.ln.suspend(yes); err != nil {
		w.fail("suspend %v: %v", yes, err)
	}
}

// stale hands the loop an event of a pair that is no more, as a descriptor does
// that a child still holds.
func (w *world) stale() {
	if len(w.l.pairs.chunks) == 0 {
		return
	}
	slot := uint32(w.below(8))
	gen := w.l.pairs.at(slot).gen - 1
	if gen == 0 {
		return
	}
	w.log("a stale event for slot %d", slot)
	w.l.handle(&sys.Event{Events: oneOf[uint32](w.dice, unix.EPOLLIN, unix.EPOLLOUT, unix.EPOLLHUP|unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLERR),
		Fd: int32(slot<<1 | uint32(w.below(2))), Pad: int32(gen)})
}

// between is the network between two calls.
func (w *world) between() {
	if w.busy && !w.calm && w.oneIn(12) {
		w.someone()
	}
}

// refuse has calls fail that may.
func (w *world) refuse(call string) sys.Errno {
	if !w.poor || w.calm || !w.oneIn(16) {
		return 0
	}
	var e sys.Errno
	switch call {
	case "accept4":
		e = oneOf(w.dice, unix.EMFILE, unix.ENOBUFS, unix.ENFILE, unix.ENOMEM)
	case "socket", "pipe2":
		e = unix.EMFILE
	case "epoll_ctl":
		e = unix.ENOSPC
		w.seen.refusedAdd = true
	case "fcntl":
		e = unix.EPERM
	case "bind":
		e = unix.EADDRNOTAVAIL
	default:
		return 0
	}
	w.log("%s fails: %v", call, e)
	return e
}

// turn has the loop do one round, and checks what holds after each.
func (w *world) turn() {
	w.round++
	if len(w.l.queue) > 0 {
		w.seen.turns++
	}
	w.l.round()
	w.sessions = slices.DeleteFunc(w.sessions, func(s *simSession) bool { return s.closed })
	for _, s := range w.sessions {
		s.note()
	}
	w.l.pairs.each(func(p *pair) {
		switch p.state {
		case stateResetting:
			w.seen.resets++
		case stateDelivering:
			w.seen.deliveries++
		}
	})
	w.checkTurn()
	w.checkTurnovers()
	w.checkBandwidth()
}

// checkTurn: pooled pipes are empty, and each session counts once.
func (w *world) checkTurn() {
	for _, p := range w.l.pipes.free {
		if n := w.k.PipeFill(p.r); n > 0 {
			w.fail("a pipe with %d bytes in it is pooled", n)
		}
	}
	if n := w.l.stats.sessions.Load(); int(n) != len(w.sessions) {
		w.fail("%d sessions are counted; want %d", n, len(w.sessions))
	}
	for _, g := range w.all {
		if g.Used() != len(w.sessions) {
			w.fail("%d permits are held by %d sessions", g.Used(), len(w.sessions))
		}
	}
}

// checkTurnovers: a flow that used up its turn has one place in the queue, and so no more
// turns than others.
func (w *world) checkTurnovers() {
	places := map[*flow]int{}
	for _, t := range w.l.queue {
		if t.p.gen == t.gen && t.p.lives() {
			places[&t.p.flows[t.d]]++
		}
	}
	w.l.pairs.each(func(p *pair) {
		for d := range p.flows {
			f, want := &p.flows[d], 0
			if f.queued {
				want = 1
			}
			if got := places[f]; got != want {
				w.fail("a flow has %d places in the queue; want %d", got, want)
			}
		}
	})
}

// settle lets the loop do all that there is to do while nothing else happens.
func (w *world) settle() {
	calm := w.calm
	w.calm = true
	for idle := 0; w.k.Ready(w.l.ep) || w.l.patience() == 0; {
		before := w.k.Effects()
		w.turn()
		if idle++; w.k.Effects() != before {
			idle = 0
		}
		if idle > 100+4*len(w.hosts) { // a round may take a single event
			w.fail("the loop spins")
		}
	}
	w.calm = calm
	w.log("at rest")
	for _, s := range w.sessions {
		s.checkRest()
	}
	w.checkQueue()
}

// checkQueue: no client waits in the kernel that could be accepted.
func (w *world) checkQueue() {
	if w.closed {
		return
	}
	full := slices.ContainsFunc(w.all, func(g *Gate) bool { return g.Limit() > 0 && g.Used() >= g.Limit() })
	paused := w.s.retryAt > int64(w.k.Now())
	if n := w.k.Waiting(w.fd); n > 0 && !full && !paused {
		w.fail("%d clients wait to be accepted, and nothing is in the way", n)
	}
}

// rest lets much time pass in which nobody does anything, in the loop's own steps.
func (w *world) rest() {
	w.settle()
	until := w.k.Now() + 100*time.Second
	for rounds := 0; w.k.Now() < until; rounds++ {
		ms := w.l.patience()
		if ms < 0 {
			break
		}
		w.pass(time.Duration(ms) * time.Millisecond)
		before := w.k.Effects()
		if w.settle(); w.k.Effects() != before {
			rounds = 0
		}
		if rounds > 1000 {
			w.fail("the loop wakes up all the time, and nothing happens")
		}
	}
}

// starve has one side of some sessions go without a word, and the other send on.
func (w *world) starve() {
	w.pass(keepaliveAfter + time.Second)
	w.settle()
	for _, s := range w.sessions {
		if s.backend == nil || w.oneIn(3) {
			continue
		}
		lost := oneOf(w.dice, s.client, s.backend)
		w.log("%s vanishes", lost.name)
		lost.conn.Vanish()
		for range w.below(3) {
			lost.peer.send(lost.peer.conn.Window())
		}
	}
	w.rest()
}

// finish leaves the sessions to themselves for a while, ends them in order, and
// looks for what is left.
func (w *world) finish() {
	w.calm = true
	w.k.Exec()
	w.settle()
	if w.vanish {
		w.starve()
	}
	if w.oneIn(3) {
		w.rest()
	}
	if w.oneIn(2) {
		w.drain()
		w.rest()
	}
	w.endAll()
	for _, h := range w.hosts {
		h.checkFate()
	}
	w.l.leave()
	if open := w.k.Descriptors(); len(open) > 0 {
		w.fail("descriptors are left: %v", open)
	}
}

// drain has every host take all that there is for it.
func (w *world) drain() {
	for before := -1; before != w.k.Effects(); {
		before = w.k.Effects()
		for _, h := range w.hosts {
			h.take(h.conn.Unsent())
		}
		w.settle()
	}
}

// endAll closes the listener, over a queue with clients in it, and has all sessions
// end in order.
func (w *world) endAll() {
	if w.suspended {
		w.suspend(false)
	}
	for _, g := range w.all {
		g.SetLimit(0)
	}
	w.settle()
	w.crowd = len(w.clients) + 2
	w.connect()
	w.connect()
	w.retire()
	for vain := 0; vain < 20; vain++ {
		before := w.k.Effects()
		if w.settle(); len(w.sessions) == 0 {
			return
		}
		w.endInOrder()
		if ms := w.l.patience(); ms > 0 {
			w.pass(time.Duration(ms) * time.Millisecond)
		}
		turns := func(s *simSession) bool { return s.turns(up) || s.turns(down) }
		if w.k.Effects() != before || slices.ContainsFunc(w.sessions, turns) {
			vain = 0
		}
	}
	w.sessions[0].fail("it does not end")
}

// retire closes the listener as Listener.Close does: those in its queue are served.
func (w *world) retire() {
	w.log("the listener is closed")
	w.l.post(func() {
		w.l.retire(w.s)
		if n := w.k.Waiting(w.fd); n > 0 {
			w.fail("%d clients were left in the queue of a closed listener", n)
		}
		sys.Close(w.fd)
		w.closed = true
	})
}

// endInOrder has every host take what there is, and end.
func (w *world) endInOrder() {
	for _, h := range w.hosts {
		switch {
		case h.conn.Dialing():
			h.accept()
		case h.conn.Vanished():
			h.breakOff(unix.ETIMEDOUT)
		default:
			h.take(h.conn.Unsent())
			h.end()
		}
	}
}
