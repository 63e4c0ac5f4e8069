package splice

import (
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// A side whose peer broke may take its time to read what came before: it reads slowly,
// or goes on sending and reads later. It has a FIN behind its bytes then, and the socket
// stays until it has acknowledged them. If that closed earlier, whatever the side sends
// would make the kernel reset it, and drop what it has yet to read (RFC 2525, 2.17). So
// what it sends is read, and dropped.
//
// That holds no buffer, and has the bounds of a session whose sink takes nothing: the
// timeouts, counted from the last byte that was acknowledged, and the rule of silence.

// beginDelivery sends the FIN.
func (l *loop) beginDelivery(p *pair) {
	f := &p.flows[p.gone]
	if !f.done { // else it was sent before its source broke
		sys.ShutdownWrite(p.ends[1-p.gone].fd)
	}
	unsent, _ := sys.Unsent(p.ends[1-p.gone].fd)
	f.blocked = min(l.now, p.since+int64(resetPatience)) // a loop that comes late adds nothing
	p.state, p.since, p.alarm = stateDelivering, int64(unsent), 0
	l.deliver(p)
}

// deliver ends a pair that is delivering if there is nothing left to wait for. Bytes that
// were acknowledged are noticed here: when the last ones were, which has an event, or a
// deadline is due.
func (l *loop) deliver(p *pair) {
	other, f := &p.ends[1-p.gone], &p.flows[p.gone]
	l.drop(other, turnBudget)
	if other.dead && sys.SocketError(other.fd) != 0 {
		other.broken = true // a reset behind its end, of which no read tells
	}
	unsent, _ := sys.Unsent(other.fd)
	if int64(unsent) < p.since {
		p.since, f.blocked = int64(unsent), l.now
	}
	if other.broken || unsent == 0 || l.undeliverable(p) {
		other.readable = true // whatever events may still be on their way
		l.drop(other, lastDrop)
		l.closeBroken(p, sys.Close)
		return
	}
	p.alarm = 0
	if other.readable { // more than one turn's, of which no event tells again
		p.alarm = l.now + int64(resetPoll)
	}
	l.arm(p)
}

// undeliverable reports whether the side that is left has had its time.
func (l *loop) undeliverable(p *pair) bool {
	if l.silent(p, p.gone) {
		return true
	}
	over := func(since int64, limit time.Duration) bool { return limit > 0 && l.heard.until-since >= int64(limit) }
	t := p.timeouts
	return t != nil && (over(p.flows[p.gone].blocked, t.quiet()) || over(p.born, p.lifetime()))
}

// nextDelivery is the earliest time at which a pair that is delivering must be looked at.
func (l *loop) nextDelivery(p *pair) int64 {
	blocked := p.flows[p.gone].blocked
	next := l.nextLook(blocked)
	if p.alarm != 0 {
		next = min(next, p.alarm)
	}
	if t := p.timeouts; t != nil {
		if quiet := t.quiet(); quiet > 0 {
			next = min(next, after(blocked, quiet))
		}
		if t.Lifetime > 0 {
			next = min(next, after(p.born, p.lifetime()))
		}
	}
	return next
}
