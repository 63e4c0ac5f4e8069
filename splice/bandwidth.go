package splice

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Rates are bounds of bandwidth in bytes per second; 0 means none. Up is from
// clients to backends.
type Rates struct {
	Up, Down               int64 // of all sessions together that share a Bandwidth
	SessionUp, SessionDown int64 // of each one
}

// Bandwidth holds sessions back to Rates. The sessions of all that are given the
// same Bandwidth share it; it belongs to one engine. The zero value bounds nothing.
//
// A direction that has used up its share reads no more until its next turn, so the
// kernel's buffers fill and TCP itself slows the sender down: nothing is queued
// here, and nothing is copied that would not be copied without a bound.
//
// Both bounds are token buckets of bytes. They hold a tenth of a second's worth, at
// least 4 KiB: so never do more than rate x t + burst bytes pass in a time t from the
// first byte on, by however many loops (and a turn of each that a loop was too busy to
// give in time). Who finds too little in one reserves what it
// has to move, at most a turn, at the end of the queue, and is woken when that has
// come in. So the sessions that share a bucket take turns, and one with few bytes
// does not wait for longer than a turn of each of the others.
type Bandwidth struct {
	lanes [2]lane // by flow: up, down
}

// Set changes the bounds, also for sessions that live: those that wait for a turn
// notice within a second.
func (b *Bandwidth) Set(r Rates) {
	b.lanes[0].set(r.Up, r.SessionUp)
	b.lanes[1].set(r.Down, r.SessionDown)
}

// Rates are what was set.
func (b *Bandwidth) Rates() Rates {
	up, down := &b.lanes[0], &b.lanes[1]
	return Rates{
		Up: up.shared.rate.Load(), SessionUp: up.each.Load(),
		Down: down.shared.rate.Load(), SessionDown: down.each.Load(),
	}
}

// lane is one direction of a Bandwidth.
type lane struct {
	bounded atomic.Bool   // there is a bound
	version atomic.Uint32 // grows with every change, which makes reservations void
	shared  bucket
	each    atomic.Int64 // rate of one session
}

func (l *lane) set(shared, each int64) {
	shared, each = max(shared, 0), max(each, 0)
	if l.shared.rate.Load() == shared && l.each.Load() == each {
		return
	}
	l.shared.rate.Store(shared)
	l.shared.full.Store(0) // what was reserved at another rate is no measure
	l.each.Store(each)
	l.bounded.Store(shared > 0 || each > 0)
	l.version.Add(1)
}

// bucket is a token bucket as one number, the time at which it is full again
// (the generic cell rate algorithm, ITU-T I.371): taking bytes moves that time by
// what they cost, and never further than the window ahead of now.
type bucket struct {
	rate atomic.Int64 // bytes per second; 0 = no bound
	full atomic.Int64 // nanoseconds on the engine's clock
}

const (
	// burstTime is how much a bucket holds; leastBurst what it holds at low rates.
	burstTime  = 100 * time.Millisecond
	leastBurst = 4 << 10
	// turnTime is how much one reservation may take of a bucket, within these sizes.
	turnTime  = 10 * time.Millisecond
	leastTurn = 1460 // a segment of Ethernet
	mostTurn  = 256 << 10
	// turnCheck is how long a flow sleeps at most before it looks whether the bounds
	// have changed.
	turnCheck = time.Second
)

// cost is the time that n bytes take at a rate, rounded up.
func cost(n int, rate int64) int64 {
	return (int64(n)*int64(time.Second) + rate - 1) / rate
}

// worth is the bytes that a time brings at a rate.
func worth(d, rate int64) int {
	hi, lo := bits.Mul64(uint64(d), uint64(rate))
	q, _ := bits.Div64(hi, lo, uint64(time.Second))
	return int(q)
}

// window is how far ahead of now a bucket may be used up.
func window(rate int64) int64 { return max(int64(burstTime), cost(leastBurst, rate)) }

// turn is how many bytes one reservation takes at most.
func turn(rate int64) int {
	return min(max(worth(int64(turnTime), rate), leastTurn), mostTurn)
}

// left is what a bucket holds that is full again at a time.
func left(full, now, rate int64) int {
	return worth(max(now+window(rate)-max(full, now), 0), rate)
}

// charge takes n bytes. It answers when the bucket is full again, and from when on
// the bytes may move.
func charge(full, now, rate int64, n int) (then, at int64) {
	then = max(full, now) + cost(n, rate)
	return then, then - window(rate)
}

// take reserves what there is of most bytes, but not less than least. It answers
// their number and from when on they may move.
func (b *bucket) take(now int64, most, least int) (n int, at int64) {
	rate := b.rate.Load()
	if rate == 0 {
		return most, now
	}
	for {
		full := b.full.Load()
		n = max(min(most, left(full, now, rate)), least)
		then, at := charge(full, now, rate, n)
		if b.full.CompareAndSwap(full, then) {
			return n, at
		}
	}
}

// settle gives back what was reserved for n bytes of which only used have moved.
func (b *bucket) settle(n, used int) {
	if rate := b.rate.Load(); rate > 0 && used < n {
		b.full.Add(cost(used, rate) - cost(n, rate))
	}
}

// pace is where one flow stands with its lane. Its owner alone uses it.
//
//	free --reserve--> waits until due --ready--> has a grant --settle--> free
type pace struct {
	full    int64 // of the session's own bucket
	due     int64 // when the grant may be used; 0 = nothing is reserved
	grant   int
	version uint32 // of the lane, as of which all this is
}

// waits reports whether the flow has to wait for its turn. A change of the bounds
// ends the wait: then it asks anew.
func (p *pace) waits(l *lane, now int64) bool {
	p.renew(l)
	return p.due > now
}

// renew forgets what was reserved and used before the bounds changed: what a low rate
// takes hours to bring would hold up a high one for as long.
func (p *pace) renew(l *lane) {
	if v := l.version.Load(); v != p.version {
		*p = pace{version: v}
	}
}

// reserve asks for most bytes. It answers how many may move now, or 0: then the flow
// waits until due. pending tells how many there are to move, and is asked only if it
// comes to that.
func (p *pace) reserve(l *lane, now int64, most int, pending func() int) int {
	if p.due != 0 { // and not in the future: the turn has come
		return p.grant
	}
	p.renew(l)
	shared, each := l.shared.rate.Load(), l.each.Load()
	least, have := most, most
	if shared > 0 {
		least = min(least, turn(shared))
		have = min(have, left(l.shared.full.Load(), now, shared))
	}
	if each > 0 {
		least = min(least, turn(each))
		have = min(have, left(p.full, now, each))
	}
	if have < least {
		least = min(least, max(pending(), 1))
		have = max(have, least)
	}
	n, at := l.shared.take(now, have, least)
	if each > 0 {
		var own int64
		p.full, own = charge(p.full, now, each, n)
		at = max(at, own)
	}
	p.grant, p.due = n, max(at, 1)
	if at > now {
		return 0
	}
	return n
}

// charge takes n bytes that have moved without a turn, because a bound was laid on the
// flow meanwhile.
func (p *pace) charge(l *lane, now int64, n int) {
	p.renew(l)
	l.shared.take(now, n, n)
	if each := l.each.Load(); each > 0 {
		p.full, _ = charge(p.full, now, each, n)
	}
}

// settle ends a turn in which used bytes of the grant have moved.
func (p *pace) settle(l *lane, used int) {
	if p.due != 0 && p.version == l.version.Load() {
		l.shared.settle(p.grant, used)
		if each := l.each.Load(); each > 0 && used < p.grant {
			p.full += cost(used, each) - cost(p.grant, each)
		}
	}
	p.due, p.grant = 0, 0
}
