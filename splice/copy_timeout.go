package splice

import "time"

// The timeouts of a session are one timer. Bytes only note the time (copyFlow.last);
// the timer, when it fires, looks whether a timeout is due, and if not sleeps until
// the moment at which one would be. So activity costs a store, and a write that
// blocks is under the same watch as a read.

// never is an age that no session reaches.
const never time.Duration = 1<<63 - 1

// startTimeouts begins with both directions active: the wait for a first byte is
// counted from the connect.
func (p *copyPair) startTimeouts() {
	p.up.touch()
	p.down.touch()
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
	expired := !p.over && p.age() >= due
	if !expired {
		p.armWatchdog()
	}
	p.mu.Unlock()
	if expired {
		p.cut(reason)
	}
}

// armWatchdog sets the timer to the next timeout. p.mu is held.
func (p *copyPair) armWatchdog() {
	if p.over {
		return
	}
	if due, _ := p.nextTimeout(); due < never {
		p.watchdog.Reset(due - p.age())
	}
}

// nextTimeout is the age at which the first timeout is due if no byte moves until
// then, and its reason. p.mu is held.
func (p *copyPair) nextTimeout() (time.Duration, Reason) {
	due, reason := never, ReasonError
	consider := func(since, limit time.Duration, r Reason) {
		if limit > 0 && since+limit < due {
			due, reason = since+limit, r
		}
	}
	up, down := p.up.lastByte(), p.down.lastByte()
	consider(0, p.timeouts.Lifetime, ReasonLifetime)
	consider(max(up, down), p.timeouts.Idle, ReasonIdleTimeout)
	switch {
	case p.up.ended:
		consider(max(p.halfClosed, down), p.timeouts.HalfClose, ReasonHalfCloseTimeout)
	case p.down.ended:
		consider(max(p.halfClosed, up), p.timeouts.HalfClose, ReasonHalfCloseTimeout)
	}
	return due, reason
}

// lastByte is the age of the pair when a byte last moved in this direction.
func (f *copyFlow) lastByte() time.Duration { return time.Duration(f.last.Load()) }
