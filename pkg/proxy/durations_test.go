package proxy

import (
	"math"
	"math/big"
	"testing"
	"time"
)

// above reports d > 2^exponent seconds, by exact arithmetic.
func above(d time.Duration, exponent int) bool {
	bound := new(big.Rat).SetInt64(int64(time.Second))
	power := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(max(exponent, -exponent))))
	if exponent < 0 {
		power.Inv(power)
	}
	return new(big.Rat).SetInt64(int64(d)).Cmp(bound.Mul(bound, power)) > 0
}

func TestBucketHoldsWhatItsBoundsSay(t *testing.T) {
	durations := []time.Duration{-1, 0, 1, time.Microsecond, time.Millisecond, time.Second, time.Hour, math.MaxInt64}
	for i := range 63 {
		d := time.Duration(1) << i
		durations = append(durations, d-1, d, d+1)
	}
	for exponent := -9; exponent < 34; exponent++ { // where a bound is a whole number of nanoseconds
		d := time.Duration(math.Ldexp(float64(time.Second), exponent))
		durations = append(durations, d-1, d, d+1)
	}
	for _, d := range durations {
		i := bucket(d)
		if above(d, Bound(i)) || i > 0 && !above(d, Bound(i-1)) {
			t.Errorf("bucket(%d ns) = %d, up to 2^%d s; want the first that is not below", d, i, Bound(i))
		}
	}
	if got := bucket(math.MaxInt64); got != Buckets-1 {
		t.Errorf("the longest duration is in bucket %d; want the last, %d", got, Buckets-1)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{time.Second, 2 * time.Second, 1500 * time.Millisecond, -time.Second} {
		h.Observe(d)
	}
	got := h.Load()
	want := Durations{Sum: 4500 * time.Millisecond}
	want.Buckets[0], want.Buckets[finest], want.Buckets[finest+1] = 1, 1, 2
	if got != want {
		t.Errorf("got %v; want %v", got, want)
	}
}
