package proxy

import (
	"fmt"
	"math/rand/v2"
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
	held   atomic.Int64
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
	real    bool          // there is one
	delay   bool          // the client is held instead
	wait    time.Duration // then it may fit after this time
}

// source is where a client comes from; not ok for one without an address.
func (l *Listener) source(a *Admission, client netip.Addr) (s limit.Source, ok bool) {
	if !client.IsValid() || l.table.Load() == nil {
		return s, false
	}
	return limit.NewSource(l.scope, client.Unmap(), a.Prefix[0], a.Prefix[1]), true
}

// admit takes what a session of client needs, or says what is in its way; first is
// false for one that was held. What is in a dry run is counted, by a client's first
// try, and else left out: such a session takes nothing there, as if it had been
// refused.
func (l *Listener) admit(a *Admission, client netip.Addr, first bool) (pass, obstacle) {
	var p pass
	if a.Access != nil && a.Access.Denies(client) && !l.pretend(a.AccessDryRun, AccessDenied, client, first) {
		return p, obstacle{refusal: AccessDenied, real: true}
	}
	if a.Memory.Near() {
		return p, obstacle{refusal: LimitMemory, real: true}
	}
	if n := a.All.Connections; n > 0 {
		if p.counted = l.enter(int64(n)); !p.counted && !l.pretend(a.All.DryRun, LimitConnections, client, first) {
			return p, obstacle{LimitConnections, true, a.All.DelayConnections, 0}
		}
	}
	var now int64
	if !a.Each.Rate.IsZero() || !a.All.Rate.IsZero() {
		now = limit.Now()
	}
	if o := l.takeSource(a, client, &p, now, first); o.real {
		l.leave(p)
		return pass{}, o
	}
	if !l.rate.Take(a.All.Rate, now) && !l.pretend(a.All.DryRun, LimitRate, client, first) {
		if p.slot != 0 {
			l.table.Load().Return(p.slot, a.Each.Rate)
			p.slot = 0
		}
		l.leave(p)
		return pass{}, obstacle{LimitRate, true, a.All.DelayRate, l.rate.Wait(a.All.Rate, now)}
	}
	return p, obstacle{}
}

// pretend counts what a dry run would have refused.
func (l *Listener) pretend(dryRun bool, r Refusal, client netip.Addr, first bool) bool {
	if dryRun && first {
		l.wouldRefuse(r, client)
	}
	return dryRun
}

// takeSource takes what the client's source has to give.
func (l *Listener) takeSource(a *Admission, client netip.Addr, p *pass, now int64, first bool) obstacle {
	if a.Each.isZero() {
		return obstacle{}
	}
	src, ok := l.source(a, client)
	if !ok {
		return obstacle{}
	}
	var outcome limit.Outcome
	if p.slot, outcome = l.table.Load().Take(src, a.Each.Quota, now); outcome == limit.Taken {
		return obstacle{}
	}
	o := a.Each.obstacle(outcome)
	if l.pretend(a.Each.DryRun, o.refusal, client, first) {
		return obstacle{}
	}
	if o.delay && outcome == limit.TooFast {
		_, _, o.wait = l.table.Load().Look(src, a.Each.Quota, now)
	}
	return o
}

// obstacle is what an outcome means to a source.
func (q *Quota) obstacle(o limit.Outcome) obstacle {
	switch o {
	case limit.TooMany:
		return obstacle{LimitSourceConnections, true, q.DelayConnections, 0}
	case limit.TooFast:
		return obstacle{LimitSourceRate, true, q.DelayRate, 0}
	case limit.NoRoom:
		return obstacle{LimitSourceTable, true, false, 0}
	}
	return obstacle{}
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

// pollLeast and pollMost bound how often a held client is looked at.
const (
	pollLeast = 10 * time.Millisecond
	pollMost  = 250 * time.Millisecond
)

// openWithin is Open where there is something to ask.
func (l *Listener) openWithin(conf *Conf, peer splice.Peer) (splice.Session, error) {
	a, client := conf.Admission, peer.Remote.Addr()
	p, o := l.admit(a, client, true)
	switch {
	case o.real && !o.delay:
		l.refuse(o.refusal, client)
		return nil, o.refusal
	case o.real && !a.Hold.room(&l.held):
		l.refuse(LimitDelay, client)
		return nil, LimitDelay
	}
	s := l.begin(conf, peer)
	s.slot, s.counted = p.slot, p.counted
	if o.real {
		s.holdAt(&l.held, a.Hold, o.refusal)
	}
	return s, nil
}

// poll is when a held client tries again: when the next token comes, and, since all
// that are held would come then, some time later, so that about four of them try for
// each token. A place that gets free is found by polling.
func poll(until, interval time.Duration, held int64) splice.Wait {
	spread := max(interval*time.Duration(held)/4, pollLeast)
	d := until + rand.N(min(spread, pollMost))
	return splice.Wait(min(max(d, pollLeast), max(pollMost, until)))
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
	p, o := l.admit(a, s.client.Addr(), false)
	if !o.real {
		s.letGo()
		s.slot, s.counted = p.slot, p.counted
		return nil
	}
	if !o.delay {
		l.refuse(o.refusal, s.client.Addr())
		return o.refusal
	}
	rate := a.All.Rate
	if o.refusal == LimitSourceRate {
		rate = a.Each.Rate
	}
	return s.hold(o, rate.Interval())
}

// hold answers for how long to wait, or that it was long enough.
func (s *session) hold(o obstacle, interval time.Duration) error {
	left := time.Duration(s.trouble.until - limit.Now())
	if left <= 0 {
		s.listener.refuse(LimitDelay, s.client.Addr())
		return LimitDelay
	}
	return min(poll(o.wait, interval, s.trouble.place.Load()), splice.Wait(left))
}

// held reports whether the session waits for a limit.
func (s *session) held() bool { return s.trouble != nil && s.trouble.place != nil }

// atDoor reports whether it waits to be let in, and not for a backend.
func (s *session) atDoor() bool { return s.held() && s.trouble.place == &s.listener.held }

// room counts one more client that is held at a place, if there is room.
func (h Hold) room(place *atomic.Int64) bool {
	if place.Add(1) > int64(h.Most) {
		place.Add(-1)
		return false
	}
	return true
}

// holdAt begins to hold the session at a place where it was counted.
func (s *session) holdAt(place *atomic.Int64, h Hold, r Refusal) {
	if s.trouble == nil {
		s.trouble = &trouble{}
	}
	s.trouble.place, s.trouble.until = place, limit.Now()+int64(h.Longest)
	s.listener.Delayed[r].Add(1)
}

// letGo ends the holding.
func (s *session) letGo() {
	if s.held() {
		s.trouble.place.Add(-1)
		s.trouble.place = nil
	}
}

// Held is how many clients are held at the door.
func (l *Listener) Held() int { return int(l.held.Load()) }

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

// Refusal says what would be in the way of a client now: no name for nothing, else the
// name and the rule or limit in words. Nothing is counted or taken.
func (l *Listener) Refusal(client netip.Addr) (name, rule string) {
	a := l.conf.Load().Admission
	if a == nil {
		return "", ""
	}
	now := limit.Now()
	if a.Access != nil && a.Access.Denies(client) && !a.AccessDryRun {
		return AccessDenied.String(), a.Access.Rule(client)
	}
	if a.Memory.Near() {
		return LimitMemory.String(), fmt.Sprintf("the process is near its limit of %d bytes", a.Memory.Limit())
	}
	if n := int64(a.All.Connections); n > 0 && l.inside.Load() >= n && !a.All.DryRun {
		return LimitConnections.String(), fmt.Sprintf("%d of %d sessions", l.inside.Load(), n)
	}
	if src, ok := l.source(a, client); ok && !a.Each.isZero() && !a.Each.DryRun {
		outcome, live, wait := l.table.Load().Look(src, a.Each.Quota, now)
		switch outcome {
		case limit.TooMany:
			return LimitSourceConnections.String(), fmt.Sprintf("%s has %d of %d sessions", src.Prefix(), live, a.Each.Connections)
		case limit.TooFast:
			return LimitSourceRate.String(), fmt.Sprintf("%s may have its next session in %v", src.Prefix(), wait.Round(time.Millisecond))
		case limit.NoRoom:
			return LimitSourceTable.String(), fmt.Sprintf("%s is new, and all %d sources that can be known have sessions", src.Prefix(), l.table.Load().Stats().Limit)
		}
	}
	if wait := l.rate.Wait(a.All.Rate, now); wait > 0 && !a.All.Rate.IsZero() && !a.All.DryRun {
		return LimitRate.String(), fmt.Sprintf("the next session is due in %v", wait.Round(time.Millisecond))
	}
	return "", ""
}
