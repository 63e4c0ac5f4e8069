//go:build linux && simkernel

package splice

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

var (
	errNotAdmitted = errors.New("not admitted")
	errNoMore      = errors.New("no backend left")
)

// simSession is a session that holds the reactor to the contract of Session.
type simSession struct {
	w       *world
	number  int
	client  *host
	attempt *host // the backend that is or was dialed last
	backend *host // the one that it is connected to

	endpoint Endpoint
	pending  error // what the last Dial answered: a Wait, or nil
	dials    int
	asked    time.Duration // when Dial was called last
	born     time.Duration

	counters Counters
	timeouts Timeouts
	closed   bool
	killed   bool
	result   Result

	seen    string        // what there was to know after the last round,
	touched time.Duration // and since when
	moved   time.Duration // when a byte last moved
	bytes   int
	brokeAt time.Duration // since when one side has been gone with nothing left of it

	turned   bool       // a flow waited for its turn, as of the last round
	read     [2]int     // bytes of each flow's source, as of the last round
	measured [2]measure // by flow
}

// Open is the listener's Handler.
func (w *world) Open(p Peer) (Session, error) {
	h := w.clients[p.Remote]
	if h == nil {
		w.fail("Open for %v, which is no client", p.Remote)
	}
	if w.oneIn(30) {
		w.log("%s is not admitted", h.name)
		return nil, errNotAdmitted
	}
	w.opened++
	s := &simSession{w: w, number: w.opened, client: h, born: w.k.Now(), brokeAt: -1}
	h.s = s
	w.sessions = append(w.sessions, s)
	w.seen.sessions++
	s.measure()
	w.log("session %d for %s", s.number, h.name)
	if w.timeouts {
		s.timeouts = Timeouts{Idle: w.limit(4000), HalfClose: w.limit(2000), Stall: w.limit(4000), Lifetime: w.limit(60000)}
	}
	return s, nil
}

// limit is no timeout, or one of about ms milliseconds.
func (w *world) limit(ms int) time.Duration {
	return time.Duration(w.below(2)*w.size(ms)) * time.Millisecond
}

// Dial answers a backend, a Wait, or that there is none left.
func (s *simSession) Dial(last error) (Endpoint, error) {
	w := s.w
	s.checkDial(last)
	s.asked, s.pending = w.k.Now(), nil
	s.dials++
	if s.dials > 5 || w.oneIn(30) {
		return Endpoint{}, errNoMore
	}
	if w.oneIn(8) {
		wait := Wait(time.Duration(w.below(300)) * time.Millisecond)
		s.pending = wait
		w.log("session %d waits %v", s.number, wait)
		return Endpoint{}, wait
	}
	w.dials++
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(w.dials >> 8), byte(w.dials)}), simLowPort+1)
	w.dialing = s
	s.endpoint = Endpoint{Addr: to, Counters: &s.counters}
	if w.timeouts {
		s.endpoint.Timeouts = &s.timeouts
		s.endpoint.Timeout = w.limit(500)
	}
	if w.bandwidth != nil && !w.oneIn(4) {
		s.endpoint.Bandwidth = w.bandwidth
	}
	if w.oneIn(4) {
		s.endpoint.Source = netip.AddrFrom4([4]byte{10, 2, 0, 1})
	}
	s.attempt = nil // made when the connect comes
	return s.endpoint, nil
}

// checkDial: nil first, then the last attempt's error or the Wait; never after the
// session is connected or closed; and nothing is left of the last attempt.
func (s *simSession) checkDial(last error) {
	switch {
	case s.closed:
		s.fail("Dial after Close")
	case s.backend != nil:
		s.fail("Dial while it is connected")
	case (last == nil) != (s.dials == 0):
		s.fail("Dial number %d was called with %v", s.dials, last)
	case s.pending != nil && last != s.pending:
		s.fail("Dial was called with %v; want the Wait that it answered, %v", last, s.pending)
	case s.pending == nil && s.attempt != nil && !s.attempt.conn.Closed():
		s.fail("Dial while the last attempt's socket is open")
	}
	since := s.w.k.Now() - s.asked
	if wait, ok := last.(Wait); ok && since < time.Duration(wait) {
		s.fail("Dial after %v of a wait of %v", since, time.Duration(wait))
	}
	if last == ErrDialTimeout && (s.endpoint.Timeout == 0 || since < s.endpoint.Timeout) {
		s.fail("the dial timed out after %v; want %v", since, s.endpoint.Timeout)
	}
}

// Connected joins the two hosts.
func (s *simSession) Connected(time.Duration) {
	h := s.attempt
	if s.closed || s.backend != nil || h == nil || !h.accepted || h.conn.MetItself() {
		s.fail("Connected out of turn")
	}
	s.w.log("session %d is connected with %s", s.number, h.name)
	s.backend = h
	s.client.peer, h.peer = h, s.client
	s.moved, s.touched = s.w.k.Now(), s.w.k.Now()
}

// Close checks how the session ended.
func (s *simSession) Close(r Result) {
	s.w.log("session %d closes: %v %v up %d down %d", s.number, r.Reason, r.Err, r.Up, r.Down)
	if s.closed {
		s.fail("Close twice")
	}
	s.note()
	s.closed, s.result = true, r
	s.w.seen.reasons[r.Reason]++
	if !s.client.conn.Closed() || s.attempt != nil && !s.attempt.conn.Closed() {
		s.fail("Close before its sockets are closed")
	}
	if up, down := s.counters.Up.Load(), s.counters.Down.Load(); up != r.Up || down != r.Down {
		s.fail("Result has %d bytes up and %d down; want %d and %d as counted", r.Up, r.Down, up, down)
	}
	if s.backend != nil {
		s.checkBytes(r)
	}
	s.checkReason(r)
}

// checkBytes: the result counts what the two sockets took; an end in order leaves
// nothing behind; and what came before a break went on to the other side.
func (s *simSession) checkBytes(r Result) {
	c, b := s.client, s.backend
	if up, down := b.conn.Taken(), c.conn.Taken(); uint64(up) != r.Up || uint64(down) != r.Down {
		s.fail("Result has %d bytes up and %d down; the sockets took %d and %d", r.Up, r.Down, up, down)
	}
	if s.cut() || c.conn.Vanished() || b.conn.Vanished() {
		return
	}
	for _, to := range []*host{c, b} {
		if missing := to.peer.sent - to.conn.Taken(); missing > 0 && !to.broke {
			s.fail("it ended with %v, and %d bytes of %s were not passed on", r.Reason, missing, to.peer.name)
		}
	}
}

// cut reports an end that may lose bytes.
func (s *simSession) cut() bool {
	switch s.result.Reason {
	case ReasonClientClosed, ReasonBackendClosed, ReasonClientReset, ReasonBackendReset:
		return false
	}
	return true
}

// checkReason: the reason is true.
func (s *simSession) checkReason(r Result) {
	gone := func(h *host) bool { return h != nil && (h.broke || h.conn.Vanished()) }
	now, so := s.w.k.Now(), false
	idle := now - s.moved
	switch r.Reason {
	case ReasonClientClosed:
		so = s.client.ended
		if s.backend != nil {
			so = so && (s.backend.ended || gone(s.client))
		}
	case ReasonBackendClosed:
		so = s.backend != nil && s.backend.ended && (s.client.ended || gone(s.backend))
	case ReasonClientReset:
		so = gone(s.client)
	case ReasonBackendReset:
		so = gone(s.backend)
	case ReasonIdleTimeout:
		so = s.backend != nil && s.timeouts.Idle > 0 && idle >= s.timeouts.Idle
	case ReasonHalfCloseTimeout:
		half := s.backend != nil && (s.client.ended || s.backend.ended || gone(s.client) || gone(s.backend))
		so = half && s.timeouts.HalfClose > 0 && idle >= s.timeouts.HalfClose
	case ReasonLifetime:
		so = s.backend != nil && s.timeouts.Lifetime > 0 && now-s.born >= s.timeouts.Lifetime
	case ReasonStallTimeout:
		so = s.backend != nil && s.timeouts.Stall > 0 && (s.client.peer.sent > s.client.conn.Taken() || s.backend.peer.sent > s.backend.conn.Taken())
	case ReasonConnectFailed:
		so = s.backend == nil && r.Err != nil
	case ReasonKilled:
		so = s.killed
	case ReasonError:
		so = s.w.seen.refusedAdd && r.Err != nil
	}
	if !so {
		s.fail("it ended with %v (%v), which is not so; idle for %v", r.Reason, r.Err, idle)
	}
}

// note remembers when the session last changed, as far as one sees from without.
func (s *simSession) note() {
	if s.backend == nil || s.closed {
		return
	}
	c, b := s.client, s.backend
	now, bytes := s.w.k.Now(), c.conn.Taken()+b.conn.Taken()
	for _, h := range []*host{c, b} {
		if bytes != s.bytes || h.peer.sent == h.conn.Taken() {
			h.stuck = -1
		} else if h.stuck < 0 {
			h.stuck = now
		}
	}
	if bytes != s.bytes {
		s.bytes, s.moved = bytes, now
	}
	seen := fmt.Sprint(bytes, c.ended, b.ended, c.broke, b.broke, c.conn.Finished(), b.conn.Finished(), c.conn.Error(), b.conn.Error())
	turns := s.turns(up) || s.turns(down)
	if seen != s.seen || turns || s.turned {
		s.seen, s.touched = seen, now
	}
	s.turned = turns
}

// pace is where a flow of the session stands with its bandwidth; nil if it has none, or
// only its reset is to come.
func (s *simSession) pace(d side) (of *pace) {
	s.w.l.pairs.each(func(p *pair) {
		if p.session == s && p.paces != nil && p.state != stateResetting {
			of = &p.paces[d]
		}
	})
	return of
}

// turns reports whether a flow waits for its turn, which is not idleness.
func (s *simSession) turns(d side) bool {
	pc := s.pace(d)
	return pc != nil && pc.due > int64(s.w.k.Now())
}

// checkRest: with nothing ready and no timer due, all that could be done is done.
func (s *simSession) checkRest() {
	if s.backend == nil {
		s.checkDialing()
		return
	}
	s.checkPassed(s.client)
	s.checkPassed(s.backend)
	s.checkOver()
	s.checkTimeouts()
}

// slack is what a deadline may be late: waits are whole milliseconds.
const slack = 2 * time.Millisecond

func (s *simSession) checkDialing() {
	c, since := s.client, s.w.k.Now()-s.asked
	if c.broke || c.ended && c.sent == 0 {
		s.fail("its client is gone, and it goes on")
	}
	if wait, ok := s.pending.(Wait); ok {
		if since > max(time.Duration(wait), 1)+slack {
			s.fail("it waits for %v; want %v", since, time.Duration(wait))
		}
		return
	}
	if s.attempt == nil || !s.attempt.conn.Dialing() {
		s.fail("its connect is decided, and nobody heard of it")
	}
	if s.endpoint.Timeout > 0 && since > s.endpoint.Timeout+slack {
		s.fail("it has been dialing for %v; want %v at most", since, s.endpoint.Timeout)
	}
}

// checkPassed: what the host sent was passed on, or its peer takes nothing.
func (s *simSession) checkPassed(h *host) {
	if h.peer.broke {
		return
	}
	to := h.peer.conn
	left := h.sent - to.Taken()
	d := up
	if h == s.backend {
		d = down
	}
	turns := s.turns(d) // the end of a stream takes one, too
	if turns {
		s.checkTurn(d)
	} else if left > 0 && to.Writable() {
		s.fail("lost wake-up: %d bytes of %s wait, and %s is writable", left, h.name, h.peer.name)
	}
	if held := left - h.conn.Queued(); held > s.w.mayHold {
		s.fail("%d bytes of %s are held; want %d at most", held, h.name, s.w.mayHold)
	}
	if left == 0 && h.ended && !to.Finished() && !h.broke && !turns {
		s.fail("%s has ended, and %s was not told", h.name, h.peer.name)
	}
}

// checkTurn: a flow that waits for its turn waits no longer than that, or than bounds
// take that may have changed; and its turn is no further away than those of the others and
// its own take.
func (s *simSession) checkTurn(d side) {
	s.w.seen.held++
	if pc, lane := s.pace(d), &s.w.bandwidth.lanes[d]; pc.version == lane.version.Load() {
		longest := slack
		if rate := lane.shared.rate.Load(); rate > 0 {
			longest += time.Duration(s.w.opened) * time.Duration(cost(turn(rate), rate))
		}
		if rate := lane.each.Load(); rate > 0 {
			longest += time.Duration(cost(turn(rate), rate))
		}
		if wait := time.Duration(pc.due) - s.w.k.Now(); wait > longest {
			s.fail("its turn comes in %v; want %v at most", wait, longest)
		}
	}
	wait := time.Duration(min(s.pace(d).due-int64(s.w.k.Now()), int64(turnCheck)))
	if ms := s.w.l.patience(); ms < 0 || time.Duration(ms)*time.Millisecond > wait+slack {
		s.fail("its turn comes in %v, and the loop sleeps for %d ms", wait, ms)
	}
}

// checkOver: a session that is over is closed, at once if it ended in order, soon if
// one side broke and the other has yet to acknowledge what came before.
func (s *simSession) checkOver() {
	if s.turns(up) || s.turns(down) {
		s.brokeAt = -1
		return
	}
	c, b := s.client, s.backend
	passed := func(h *host) bool { return h.sent == h.peer.conn.Taken() }
	if c.ended && b.ended && passed(c) && passed(b) && !c.broke && !b.broke {
		s.fail("both sides have ended, and it goes on")
	}
	over := c.broke && (passed(c) || b.broke) || b.broke && (passed(b) || c.broke)
	now := s.w.k.Now()
	switch {
	case !over:
		s.brokeAt = -1
	case s.brokeAt < 0:
		s.brokeAt = now
	case now-s.brokeAt > 2*resetPatience+slack:
		s.checkDelivery()
	}
}

// checkDelivery: what keeps a session whose one side is gone is that the other one has
// yet to acknowledge bytes, or the end; and one that takes none at all is not waited for
// beyond the limits.
func (s *simSession) checkDelivery() {
	left, now := s.client, s.w.k.Now()
	if left.broke {
		left = s.backend
	}
	quiet := s.timeouts.quiet()
	switch {
	case left.broke || left.conn.Unsent() == 0 && left.sawEnd:
		s.fail("one side broke %v ago, and it goes on", now-s.brokeAt)
	// What it acknowledged before it vanished may be noticed at the first look only.
	case left.conn.Vanished() && min(left.conn.VanishedFor(), now-s.brokeAt) > 2*silentAfter+10*time.Second:
		s.fail("one side broke %v ago, and waits for a %s that vanished", now-s.brokeAt, left.name)
	}
	s.w.l.pairs.each(func(p *pair) {
		if waited := now - time.Duration(p.flows[p.gone].blocked); p.session == s && p.state == stateDelivering && quiet > 0 && waited > quiet+slack {
			s.fail("%s has taken nothing for %v; want %v at most", left.name, waited, quiet)
		}
	})
}

func (s *simSession) checkTimeouts() {
	if s.brokeAt >= 0 {
		return // resetting, or delivering
	}
	c, b := s.client, s.backend
	now := s.w.k.Now()
	quiet, t := now-s.touched, s.timeouts
	half := c.ended || b.ended || c.broke || b.broke
	switch {
	case t.Idle > 0 && quiet > t.Idle+slack:
		s.fail("it has been idle for %v; want %v at most", quiet, t.Idle)
	case t.HalfClose > 0 && half && quiet > t.HalfClose+slack:
		s.fail("it has been half closed and idle for %v; want %v at most", quiet, t.HalfClose)
	case t.Lifetime > 0 && now-s.born > t.Lifetime+slack:
		s.fail("it has lived for %v; want %v at most", now-s.born, t.Lifetime)
	}
	for _, h := range []*host{c, b} {
		if h.stuck < 0 || h.broke || !h.conn.Vanished() {
			continue
		}
		if lost := min(now-h.stuck, h.conn.VanishedFor()); lost > silentAfter+10*time.Second {
			s.fail("%s has been gone for %v, with bytes that wait for it", h.name, lost)
		}
	}
}

func (s *simSession) fail(format string, args ...any) {
	s.w.log("%v", s.client)
	if s.backend != nil {
		s.w.log("%v", s.backend)
	}
	s.w.l.pairs.each(func(p *pair) {
		if p.session == s {
			s.w.log("state %d, deadline %v, ends %+v, flows %+v", p.state, time.Duration(s.w.l.nextDeadline(p)), p.ends, p.flows)
		}
	})
	s.w.fail("session %d: %s", s.number, fmt.Sprintf(format, args...))
}

// each calls f for every pair that lives.
func (t *pairTable) each(f func(*pair)) {
	for slot := range t.slots() {
		if p := t.at(slot); p.lives() {
			f(p)
		}
	}
}
