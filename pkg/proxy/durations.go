package proxy

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is the number of buckets in a Histogram. Bucket i holds the durations d with
// Bound(i-1) < d <= Bound(i), so together they hold every duration there is: the first
// what is shorter than 8 microseconds, the last what is longer than 272 years.
const Buckets = finest + 35

// finest is -log2 of the first bound in seconds.
const finest = 17

// Bound is the upper bound of bucket i as a power of two: 2 to the answer, in seconds.
//
// Powers of two make the same counts two things without a loss: buckets with plain
// bounds, and the exponential buckets of a Prometheus native histogram (schema 0).
func Bound(i int) (exponent int) { return i - finest }

// Histogram counts durations. The zero value is ready. Observe takes two atomic
// adds; any goroutine may call it and Load at any time.
type Histogram struct {
	buckets [Buckets]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// Durations is a copy of a Histogram.
type Durations struct {
	Buckets [Buckets]uint64 // not cumulative
	Sum     time.Duration
}

// Observe counts d; one below zero counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.sum.Add(int64(d))
	h.buckets[bucket(d)].Add(1)
}

// bucket is the first whose bound is not below d, exactly. Where d is so long that
// scaling it by the first bound would overflow, whole seconds decide.
func bucket(d time.Duration) int {
	const long = 1 << (63 - finest)
	switch {
	case d <= 0:
		return 0
	case d < long:
		return bits.Len64((uint64(d)<<finest - 1) / uint64(time.Second))
	}
	return finest + bits.Len64((uint64(d)-1)/uint64(time.Second))
}

// Count is how many there are.
func (d *Durations) Count() (n uint64) {
	for _, b := range d.Buckets {
		n += b
	}
	return n
}

// Load copies the counts out.
func (h *Histogram) Load() (d Durations) {
	for i := range h.buckets {
		d.Buckets[i] = h.buckets[i].Load()
	}
	d.Sum = time.Duration(h.sum.Load())
	return d
}
