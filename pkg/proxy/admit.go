package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/pkg/access"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// Admission is what a listener asks before it lets a client in, in this order:
//
//	access list -> memory -> connections -> source (connections, rate) -> rate
//
// A client that any of them refuses has taken nothing from the others. It is part of
// a Conf and immutable; what was taken is counted in the listener.
type Admission struct {
	Access       *access.List // nil: everybody may come in
	AccessDryRun bool

	Memory *limit.Ceiling // nil: none

	All    Quota
	Each   Quota // of one source
	Table  *limit.Sources
	Prefix [2]int // leading bits that make a source, IPv4 and IPv6

	Hold Hold
}

// Quota is what all clients together, or one source, may take. Its zero value is no
// limit.
type Quota struct {
	limit.Quota
	DelayConnections, DelayRate bool // beyond it a client is held; else it is reset
	DryRun                      bool // only count
}

func (q *Quota) isZero() bool { return q.Connections == 0 && q.Rate.IsZero() }

// Hold bounds the clients that are held, unread, until they fit.
type Hold struct {
	Longest time.Duration
	Most    int // at one time
}

// ledger is what the clients of a listener have taken. It outlives configurations.
type ledger struct {
	inside atomic.Int64 // sessions that count for Admission.All
	queue  queue        // of clients that are held at the door
	rate   limit.Bucket
	scope  uint32 // of its sources

	refused
}

// pass is what a session has taken.
type pass struct {
	slot    limit.Slot // of its source; 0: it does not count there
	counted bool       // in ledger.inside
}

// obstacle is what is in a client's way. The zero value is nothing.
type obstacle struct {
	refusal Refusal
	real    bool // there is one
	delay   bool // the client is held instead

	// Then this is where, and who is in its way.
	line     line
	ahead    int           // clients that are held in it, and came before
	wait     time.Duration // until there is a token
	interval time.Duration // between two; 0 of a place
}

// block is an obstacle at which the client is held if delay is set.
func block(at line, ahead int, delay bool) obstacle {
	return obstacle{refusal: at.limit, real: true, delay: delay, line: at, ahead: ahead}
}

// source is where a client comes from; not ok for one without an address.
func (l *Listener) source(a *Admission, client netip.Addr) (s limit.Source, ok bool) {
	if !client.IsValid() || l.table.Load() == nil {
		return s, false
	}
	return limit.NewSource(l.scope, client.Unmap(), a.Prefix[0], a.Prefix[1]), true
}

// admit takes what a session of client needs, or says what is in its way; held is
// where it stands, the zero value for one that has just come. What is in a dry run is
// counted, by a client's first try, and else left out: such a session takes nothing
// there, as if it had been refused.
func (l *Listener) admit(a *Admission, client netip.Addr, held spot) (pass, obstacle) {
	var p pass
	if a.Access != nil && a.Access.Denies(client) && !l.pretend(a.AccessDryRun, AccessDenied, client, held) {
		return p, obstacle{refusal: AccessDenied, real: true}
	}
	if a.Memory.Near() {
		return p, obstacle{refusal: LimitMemory, real: true}
	}
	if n := a.All.Connections; n > 0 {
		at := line{limit: LimitConnections}
		ahead := l.ahead(a.All.DelayConnections, at, held)
		if p.counted = l.enter(int64(n - ahead)); !p.counted && !l.pretend(a.All.DryRun, LimitConnections, client, held) {
			return p, block(at, ahead, a.All.DelayConnections)
		}
	}
	var now int64
	if !a.Each.Rate.IsZero() || !a.All.Rate.IsZero() {
		now = limit.Now()
	}
	if o := l.takeSource(a, client, &p, now, held); o.real {
		l.leave(p)
		return pass{}, o
	}
	if o := l.takeToken(a, client, now, held); o.real {
		if p.slot != 0 {
			l.table.Load().Return(p.slot, a.Each.Rate)
			p.slot = 0
		}
		l.leave(p)
		return pass{}, o
	}
	return p, obstacle{}
}

// ahead is how many are held before a client at a limit that holds clients.
func (l *Listener) ahead(delays bool, at line, held spot) int {
	if !delays {
		return 0
	}
	return l.queue.ahead(at, held)
}

// takeToken takes one of the rate of all clients together.
func (l *Listener) takeToken(a *Admission, client netip.Addr, now int64, held spot) obstacle {
	if a.All.Rate.IsZero() {
		return obstacle{}
	}
	at, interval := line{limit: LimitRate}, a.All.Rate.Interval()
	ahead := l.ahead(a.All.DelayRate, at, held)
	if !early(ahead, interval) && l.rate.Take(a.All.Rate, now) || l.pretend(a.All.DryRun, LimitRate, client, held) {
		return obstacle{}
	}
	o := block(at, ahead, a.All.DelayRate)
	o.wait, o.interval = l.rate.Wait(a.All.Rate, now), interval
	return o
}

// pretend counts what a dry run would have refused.
func (l *Listener) pretend(dryRun bool, r Refusal, client netip.Addr, held spot) bool {
	if dryRun && held.ticket == 0 {
		l.wouldRefuse(r, client)
	}
	return dryRun
}

// takeSource takes what the client's source has to give.
func (l *Listener) takeSource(a *Admission, client netip.Addr, p *pass, now int64, held spot) obstacle {
	if a.Each.isZero() {
		return obstacle{}
	}
	src, ok := l.source(a, client)
	if !ok {
		return obstacle{}
	}
	o, outcome := l.takeBehind(&a.Each, src, p, now, held)
	if outcome == limit.Taken || l.pretend(a.Each.DryRun, o.refusal, client, held) {
		return obstacle{}
	}
	if outcome == limit.TooFast && o.delay {
		_, _, o.wait = l.table.Load().Look(src, a.Each.Quota, now)
		o.interval = a.Each.Rate.Interval()
	}
	return o
}

// takeBehind takes it if there is enough for those of the source that are held, too.
func (l *Listener) takeBehind(q *Quota, src limit.Source, p *pass, now int64, held spot) (obstacle, limit.Outcome) {
	places, tokens := line{LimitSourceConnections, src}, line{LimitSourceRate, src}
	fewer := q.Quota
	ahead := l.ahead(q.DelayConnections, places, held)
	tooMany := block(places, ahead, q.DelayConnections)
	if fewer.Connections -= ahead; q.Connections > 0 && fewer.Connections <= 0 {
		return tooMany, limit.TooMany
	}
	ahead = l.ahead(q.DelayRate, tokens, held)
	tooFast := block(tokens, ahead, q.DelayRate)
	if early(ahead, q.Rate.Interval()) {
		return tooFast, limit.TooFast
	}
	var outcome limit.Outcome
	switch p.slot, outcome = l.table.Load().Take(src, fewer, now); outcome {
	case limit.TooMany:
		return tooMany, outcome
	case limit.TooFast:
		return tooFast, outcome
	case limit.NoRoom:
		return obstacle{refusal: LimitSourceTable, real: true}, outcome
	}
	return obstacle{}, outcome
}

// enter counts one more session, if there are fewer than n.
func (l *Listener) enter(n int64) bool {
	for {
		open := l.inside.Load()
		if open >= n {
			return false
		}
		if l.inside.CompareAndSwap(open, open+1) {
			return true
		}
	}
}

// leave gives back what was taken, but for tokens.
func (l *Listener) leave(p pass) {
	if p.counted {
		l.inside.Add(-1)
	}
	if p.slot != 0 {
		l.table.Load().Release(p.slot)
	}
}

// openWithin is Open where there is something to ask.
func (l *Listener) openWithin(conf *Conf, peer splice.Peer) (splice.Session, error) {
	a, client := conf.Admission, peer.Remote.Addr()
	p, o := l.admit(a, client, spot{})
	if o.real && !o.delay {
		l.refuse(o.refusal, client)
		return nil, o.refusal
	}
	if !o.real {
		s := l.begin(conf, peer)
		s.slot, s.counted = p.slot, p.counted
		return s, nil
	}
	at, ok := l.queue.join(o.line, a.Hold.Most)
	if !ok {
		l.refuse(LimitDelay, client)
		return nil, LimitDelay
	}
	s := l.begin(conf, peer)
	s.holdAt(&l.queue, at, a.Hold)
	return s, nil
}

// knock is Dial for a session that is held at the door: a Wait, the Refusal, or nil
// when it is let in.
func (s *session) knock() error {
	l := s.listener
	a := l.conf.Load().Admission
	if a == nil {
		s.letGo()
		return nil
	}
	p, o := l.admit(a, s.client.Addr(), s.trouble.spot)
	if !o.real {
		s.letGo()
		s.slot, s.counted = p.slot, p.counted
		return nil
	}
	if !o.delay {
		l.refuse(o.refusal, s.client.Addr())
		return o.refusal
	}
	return s.hold(&o)
}

// hold answers for how long to wait, or that it was long enough.
func (s *session) hold(o *obstacle) error {
	left := time.Duration(s.trouble.until - limit.Now())
	if left <= 0 {
		s.listener.refuse(LimitDelay, s.client.Addr())
		return LimitDelay
	}
	s.trouble.queue.move(&s.trouble.spot, o.line)
	return min(turn(o.ahead, o.wait, o.interval), splice.Wait(left))
}

// held reports whether the session waits for a limit.
func (s *session) held() bool { return s.trouble != nil && s.trouble.queue != nil }

// atDoor reports whether it waits to be let in, and not for a backend.
func (s *session) atDoor() bool { return s.held() && s.trouble.queue == &s.listener.queue }

// holdAt begins to hold the session at a spot of a queue.
func (s *session) holdAt(q *queue, at spot, h Hold) {
	if s.trouble == nil {
		s.trouble = &trouble{}
	}
	s.trouble.queue, s.trouble.spot, s.trouble.until = q, at, limit.Now()+int64(h.Longest)
	s.listener.Delayed[at.limit].Add(1)
}

// letGo ends the holding.
func (s *session) letGo() {
	if s.held() {
		s.trouble.queue.leave(s.trouble.spot)
		s.trouble.queue, s.trouble.spot = nil, spot{}
	}
}

// Held is how many clients are held at the door.
func (l *Listener) Held() int { return l.queue.Len() }

// Recount makes a live session count for the limits that its listener has now, which
// may have been set after it was let in. It is called on the session's own thread, as
// splice.Engine.Kill's match is.
func Recount(of splice.Session) {
	s := of.(*session)
	l := s.listener
	a := l.conf.Load().Admission
	if s.atDoor() {
		return
	}
	p := pass{}
	if a != nil && a.All.Connections > 0 {
		p.counted = true
		l.inside.Add(1)
	}
	if a != nil && !a.Each.isZero() {
		if src, ok := l.source(a, s.client.Addr()); ok {
			p.slot = l.table.Load().Count(src)
		}
	}
	l.leave(pass{s.slot, s.counted})
	s.slot, s.counted = p.slot, p.counted
}
