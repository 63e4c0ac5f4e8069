package loadgen

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLatencyPercentiles compares with the exact order of the samples.
func TestLatencyPercentiles(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for name, draw := range map[string]func() int64{
		"uniform":   func() int64 { return 1 + r.Int64N(1_000_000) },
		"tail":      func() int64 { return int64(10_000 * math.Exp(3*r.NormFloat64())) },
		"bimodal":   func() int64 { return []int64{20_000, 40_000_000}[r.IntN(2)] + r.Int64N(1000) },
		"all alike": func() int64 { return 123_456 },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLatency()
			samples := make([]int64, 10_000+r.IntN(1000))
			for i := range samples {
				samples[i] = max(draw(), 1)
				l.record(samples[i])
			}
			slices.Sort(samples)
			for _, p := range []float64{50, 90, 99, 99.9, 100} {
				i := int(math.Ceil(p/100*float64(len(samples)))) - 1
				low, high := samples[i-1], samples[min(i+1, len(samples)-1)] // the rank may be rounded
				if p == 100 {
					low = high
				}
				if got := float64(l.Percentile(p)); got < float64(low)*0.999-1 || got > float64(high)*1.001+1 {
					t.Errorf("p%v: got %.0f; want %d..%d to three digits", p, got, low, high)
				}
			}
		})
	}
}

func TestLatencyOfNothing(t *testing.T) {
	for _, l := range []Latency{{}, newLatency()} {
		if l.Count() != 0 || l.Percentile(99) != 0 || l.Mean() != 0 {
			t.Errorf("got %d, %s, %s; want zeros", l.Count(), l.Percentile(99), l.Mean())
		}
	}
}

func TestLatencyBounds(t *testing.T) {
	l := newLatency()
	l.record(-5)
	l.record(int64(time.Hour))
	if got := l.Percentile(100); l.Count() != 2 || got < longest || got > longest*1001/1000 {
		t.Errorf("got %d samples, the longest %s; want 2, %s", l.Count(), got, longest)
	}
}
