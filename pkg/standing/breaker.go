package standing

import "time"

// State is the state of a breaker.
type State uint8

const (
	Closed   State = iota // sessions as usual
	Open                  // no new sessions
	HalfOpen              // one session at a time

	NumStates = iota // how many there are
)

// String is "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "closed"
}

// BreakerOptions are the settings of a pool's breakers.
type BreakerOptions struct {
	Enabled           bool
	Ejection          time.Duration // how long the first one lasts, above 0
	MaxEjection       time.Duration // how long any lasts at most, at least Ejection
	MaxEjectedPercent int           // of the backends that could serve, 0..100
	TrustProbe        bool          // a good probe closes an open breaker
}

// ejection is how long the breaker stays open at a level, from 1 on: twice as long with each, up to the most.
func (o *BreakerOptions) ejection(level int) time.Duration {
	d := o.Ejection
	for ; level > 1 && d < o.MaxEjection; level-- {
		d *= 2
	}
	return min(d, o.MaxEjection)
}

// Breaker keeps sessions from a backend whose traffic fails. The zero value is closed.
//
//	            Trip
//	closed ──────────────────────────────> open <─────────────┐
//	  ^ ^                                  │  │               │ Fail: the trial failed
//	  │ └── Probe: a good one, if trusted ─┤  │ Expire: time  │
//	  │                                    │  v is over       │
//	  └── Pass: the trial went well ───────┴─ half-open ──────┘
//	      Reset (a person), from anywhere
//
// Each opening raises the level, and with it the time until the next trial; a level is forgotten for each such
// time spent closed. A good probe that closed the breaker early was wrong if the breaker trips again within
// that time: then probes have no say until a trial went well.
type Breaker struct {
	state State
	level int       // openings that are not forgotten
	since time.Time // when state began
	until time.Time // while open: when the trials begin
	early bool      // a probe closed it
	doubt bool      // probes have no say

	Ejections uint64 // openings in all
}

// State is the state that the breaker is in.
func (b *Breaker) State() State { return b.state }

// Until is when an open breaker begins its trials; zero in other states.
func (b *Breaker) Until() time.Time {
	if b.state != Open {
		return time.Time{}
	}
	return b.until
}

// Trip opens a closed breaker.
func (b *Breaker) Trip(o *BreakerOptions, now time.Time) bool {
	if b.state != Closed {
		return false
	}
	b.doubt = b.early && now.Sub(b.since) < o.ejection(b.level)
	b.early = false
	b.forget(o, now)
	b.open(o, now)
	return true
}

// forget lowers the level by one for each time that an ejection at that level lasts, as long as the breaker was
// closed.
func (b *Breaker) forget(o *BreakerOptions, now time.Time) {
	for calm := now.Sub(b.since); b.level > 0; b.level-- {
		if calm -= o.ejection(b.level); calm < 0 {
			return
		}
	}
}

func (b *Breaker) open(o *BreakerOptions, now time.Time) {
	if o.ejection(b.level) < o.MaxEjection {
		b.level++
	}
	b.level = max(b.level, 1)
	b.Ejections++
	b.enter(Open, now)
	b.until = now.Add(o.ejection(b.level))
}

func (b *Breaker) enter(s State, now time.Time) { b.state, b.since = s, now }

// Expire makes an open breaker whose time is over half-open.
func (b *Breaker) Expire(now time.Time) bool {
	if b.state != Open || now.Before(b.until) {
		return false
	}
	b.enter(HalfOpen, now)
	return true
}

// Pass closes a half-open breaker, whose trial went well.
func (b *Breaker) Pass(now time.Time) bool {
	if b.state != HalfOpen {
		return false
	}
	b.doubt = false
	b.enter(Closed, now)
	return true
}

// Fail opens a half-open breaker, whose trial failed.
func (b *Breaker) Fail(o *BreakerOptions, now time.Time) bool {
	if b.state != HalfOpen {
		return false
	}
	b.open(o, now)
	return true
}

// Probe closes a breaker because a probe that began at began came out well. One that began before the breaker
// opened may have looked before what the traffic saw, and has no say.
func (b *Breaker) Probe(o *BreakerOptions, began, now time.Time) bool {
	if b.state == Closed || !o.TrustProbe || b.doubt || began.Before(b.since) {
		return false
	}
	b.early = true
	b.enter(Closed, now)
	return true
}

// Reset closes the breaker and forgets what was.
func (b *Breaker) Reset(now time.Time) bool {
	closed := b.state != Closed
	*b = Breaker{since: now, Ejections: b.Ejections}
	return closed
}

// spare reports whether one more of n backends may be ejected when so many are already.
func (o *BreakerOptions) spare(ejected, n int) bool { return (ejected+1)*100 <= n*o.MaxEjectedPercent }
