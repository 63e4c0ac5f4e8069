package splice

import (
	"sync/atomic"
	"syscall"
	"time"
)

// The timeouts of a session are one timer. Bytes only note the time (copyFlow.last);
// the timer, when it fires, looks whether a timeout is due, and if not sleeps until
// the moment at which one would be. So activity costs a store, and a write that
// blocks is under the same watch as a read.

// never is an age that no session reaches.
const never time.Duration = 1<<63 - 1

// A timeout that was found due is looked at again some time later. After the process was
// stopped (SIGSTOP, a virtual machine that moves) timers may run first, and peers look
// silent whose bytes are here, or on their way through a goroutine. How late the timer is
// tells of such a stop, and the later, the longer all that piled up takes.
const (
	secondLook     = 10 * time.Millisecond
	secondLookMost = time.Second
)

// startTimeouts begins with both directions active: the wait for a first byte is
// counted from the connect.
func (p *copyPair) startTimeouts() {
	p.up.touch()
	p.down.touch()
	p.asked.Store(int64(p.age()))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchdog = time.AfterFunc(never, p.checkTimeouts)
	p.armWatchdog()
}

func (p *copyPair) stopTimeouts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchdog.Stop()
}

// checkTimeouts is what the timer calls.
func (p *copyPair) checkTimeouts() {
	p.mu.Lock()
	due, reason := p.nextTimeout()
	if p.age() >= due {
		p.up.noteTaken()
		p.down.noteTaken()
		due, reason = p.nextTimeout()
	}
	expired := !p.over && p.age() >= due
	var dead *copySide
	switch {
	case !expired:
		dead = p.deadSink()
		p.armWatchdog()
	case reason != ReasonLifetime && (p.doubted != due || p.up.stirs() || p.down.stirs()):
		expired, p.doubted = false, due
		p.watchdog.Reset(min(max(secondLook, p.age()-due), secondLookMost))
	}
	p.mu.Unlock()
	switch {
	case expired:
		p.cut(reason)
	case dead != nil:
		p.cutFor(dead.onReset, syscall.ETIMEDOUT)
	}
}

// stirs reports whether the flow could go on, and only its goroutine has not come to it.
// p.mu is held.
func (f *copyFlow) stirs() bool {
	if f.blockedSince() > 0 {
		return writable(f.to.Conn)
	}
	return !f.ended && readable(f.from.Conn)
}

// noteTaken notes what the receiver has taken of the system's queue since the last byte
// moved here: a byte that a peer takes is a sign of life wherever it waited.
func (f *copyFlow) noteTaken() {
	if since, queued := sinceTaken(f.to.Conn); queued {
		at := int64(f.pair.age() - since)
		putOff(&f.last, at)
		putOff(&f.blocked, at)
	}
}

// putOff moves an age on to another one, unless it is later already, or 0. The flow's own
// goroutine may change it meanwhile.
func putOff(age *atomic.Int64, to int64) {
	for old := age.Load(); old != 0 && old < to; old = age.Load() {
		if age.CompareAndSwap(old, to) {
			return
		}
	}
}

// deadSink is a side that takes nothing because it is no more; nil if both live.
// p.mu is held.
func (p *copyPair) deadSink() *copySide {
	for _, f := range [...]*copyFlow{&p.up, &p.down} {
		limit := p.engine.silentAfter
		if since := f.blockedSince(); since > 0 && p.age()-since >= limit && isSilent(f.to.Conn, limit) {
			return f.to
		}
	}
	return nil
}

// blockedSince is the age since when the receiver has taken nothing of a write; 0 if
// it does.
func (f *copyFlow) blockedSince() time.Duration { return time.Duration(f.blocked.Load()) }

// armWatchdog sets the timer to the next timeout. p.mu is held.
func (p *copyPair) armWatchdog() {
	if p.over {
		return
	}
	due, _ := p.nextTimeout()
	if seesSilence {
		due = min(due, p.nextLook())
	}
	if due < never {
		p.watchdog.Reset(due - p.age())
	}
}

// nextLook is the age at which to look whether a side is dead that takes nothing. A
// write that begins to wait tells nobody, so the look comes by itself, at an interval
// that costs nothing.
func (p *copyPair) nextLook() time.Duration {
	limit := p.engine.silentAfter
	next := p.age() + limit
	for _, f := range [...]*copyFlow{&p.up, &p.down} {
		if since := f.blockedSince(); since > 0 {
			next = min(next, max(since+limit, p.age()+limit/10))
		}
	}
	return next
}

// nextTimeout is the age at which the first timeout is due if no byte moves until
// then, and its reason. p.mu is held.
func (p *copyPair) nextTimeout() (time.Duration, Reason) {
	due, reason := never, ReasonError
	consider := func(since, limit time.Duration, r Reason) {
		if limit > 0 && limit < due-since {
			due, reason = since+limit, r
		}
	}
	up, down := p.up.lastByte(), p.down.lastByte()
	consider(0, p.timeouts.lifetime(p.seed()), ReasonLifetime)
	consider(max(up, down), p.timeouts.Idle, ReasonIdleTimeout)
	for _, f := range [...]*copyFlow{&p.up, &p.down} {
		if since := f.blockedSince(); since > 0 {
			consider(since, p.timeouts.Stall, ReasonStallTimeout)
		} else if p.timeouts.Stall > 0 { // look again: a write may begin to wait
			due = min(due, p.in(p.timeouts.Stall))
		}
	}
	if half := p.timeouts.HalfClose; half > 0 && seesSilence {
		for _, f := range [...]*copyFlow{&p.up, &p.down} {
			if since := f.blockedSince(); since > 0 && hasEnded(f.from.Conn) {
				consider(max(up, down), half, ReasonHalfCloseTimeout)
			}
		}
		due = min(due, p.in(half)) // look again: nobody reads from who is not heard of
	}
	if p.up.ended || p.down.ended {
		consider(max(p.halfClosed, up, down), p.timeouts.HalfClose, ReasonHalfCloseTimeout)
	}
	return due, reason
}

// in is the age that p has after d, at most never.
func (p *copyPair) in(d time.Duration) time.Duration {
	age := p.age()
	return age + min(d, never-age)
}

// seed tells this session from all others.
func (p *copyPair) seed() uint64 { return uint64(p.accepted.UnixNano()) }

// lastByte is the age of the pair when a byte last moved in this direction. One that
// waits for its turn is not idle.
func (f *copyFlow) lastByte() time.Duration {
	if f.waits.Load() {
		return f.pair.age()
	}
	return time.Duration(f.last.Load())
}
