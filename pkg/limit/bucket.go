package limit

import (
	"sync/atomic"
	"time"
)

var began = time.Now()

// Now is the time for this package: nanoseconds on the monotonic clock since the
// process began. It takes about 30 ns.
func Now() int64 { return int64(time.Since(began)) }

// MaxRate is the greatest rate, in events per second: the clock's nanosecond is then a
// thousandth of the time between two.
const MaxRate = 1_000_000

// Rate bounds events in time: no window of length w, wherever it begins, has more than
// rate*w + burst of them. The zero value is no bound.
type Rate struct {
	interval int64 // nanoseconds that one event pays for, rounded up
	depth    int64 // nanoseconds that may be owed: burst * interval
}

// PerSecond makes a Rate of 1..MaxRate events per second; a burst below 1 is one
// second's worth. A rate below 1 is no bound.
func PerSecond(rate, burst int) Rate {
	if rate < 1 {
		return Rate{}
	}
	if burst < 1 {
		burst = rate
	}
	interval := (int64(time.Second) + int64(rate) - 1) / int64(rate)
	return Rate{interval: interval, depth: int64(burst) * interval}
}

// IsZero tells that there is no bound.
func (r Rate) IsZero() bool { return r.interval == 0 }

// Interval is the time after which one more event is allowed.
func (r Rate) Interval() time.Duration { return time.Duration(r.interval) }

// take is the whole policy (GCRA, ITU-T I.371): paid is the time up to which events
// are paid for. An event pays one interval, from now on or after what is paid already,
// and is refused if more than depth would be paid ahead. The n events after some time
// t move paid to t + n*interval at least, and it is t + w + depth at most: so there
// are no more than w/interval + burst of them in w. That does not depend on what paid
// was, nor on an earlier Rate.
//
// It answers what paid is afterwards, also of an event that is refused: an earlier Rate
// may have let more be owed than this one ever does, for hours, and then depth is owed.
func (r Rate) take(paid, now int64) (after int64, ok bool) {
	if paid > now+r.depth+lag {
		paid = now + r.depth
	}
	if after = max(paid, now) + r.interval; after-now > r.depth {
		return paid, false
	}
	return after, true
}

// lag is how much later another goroutine's now may be: what is owed by so much more than
// depth need not come from an earlier Rate.
const lag = int64(time.Second)

// wait is how long after now an event would be allowed.
func (r Rate) wait(paid, now int64) time.Duration {
	paid, ok := r.take(paid, now)
	if ok {
		return 0
	}
	return time.Duration(max(paid, now) + r.interval - r.depth - now)
}

// Bucket counts events against a Rate. The zero value is full. Any number of
// goroutines may use it; no lock is taken.
type Bucket struct{ paid atomic.Int64 }

// Take takes a token if there is one. A Rate that is zero always has one.
func (b *Bucket) Take(r Rate, now int64) bool {
	if r.IsZero() {
		return true
	}
	for {
		paid := b.paid.Load()
		after, ok := r.take(paid, now)
		if after == paid || b.paid.CompareAndSwap(paid, after) {
			return ok
		}
	}
}

// Wait is how long after now there is a token, 0 if there is one.
func (b *Bucket) Wait(r Rate, now int64) time.Duration { return r.wait(b.paid.Load(), now) }
