package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// shownAs is a histogram as the library reads it.
func shownAs(t *testing.T, d *server.Durations) *dto.Histogram {
	t.Helper()
	h := new(dto.Histogram)
	if err := proto.Unmarshal(appendHistogram(nil, d, [2]int{-10, 5}), h); err != nil {
		t.Fatal(err)
	}
	return h
}

// counts reads a native histogram back: how many there are up to 2^exponent.
func counts(h *dto.Histogram) map[int]uint64 {
	got := map[int]uint64{}
	exponent, at, count := 0, 0, int64(0)
	for _, span := range h.PositiveSpan {
		exponent += int(span.GetOffset())
		for range span.GetLength() {
			count += h.PositiveDelta[at]
			if count > 0 {
				got[exponent] = uint64(count)
			}
			exponent++
			at++
		}
	}
	return got
}

func TestHistogramsKeepEveryCount(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 200 {
		d := server.Durations{Sum: time.Duration(r.Int64N(1 << 40))}
		for range r.IntN(8) {
			d.Buckets[r.IntN(len(d.Buckets))] += r.Uint64N(1000)
		}
		h := shownAs(t, &d)
		if h.GetSampleCount() != d.Count() || h.GetSampleSum() != d.Sum.Seconds() {
			t.Fatalf("round %d: count %d, sum %v; want %d, %v", round, h.GetSampleCount(), h.GetSampleSum(), d.Count(), d.Sum.Seconds())
		}
		native := counts(h)
		if h.GetZeroCount() != d.Buckets[0] || h.GetZeroThreshold() != math.Ldexp(1, server.DurationBound(0)) {
			t.Errorf("round %d: zero bucket of %d up to %v; want %d", round, h.GetZeroCount(), h.GetZeroThreshold(), d.Buckets[0])
		}
		for i, want := range d.Buckets[1:] {
			if got := native[server.DurationBound(i+1)]; got != want {
				t.Errorf("round %d: native bucket %d: got %d; want %d", round, i+1, got, want)
			}
		}
		for _, b := range h.Bucket {
			var want uint64
			for i, n := range d.Buckets {
				if math.Ldexp(1, server.DurationBound(i)) <= b.GetUpperBound() {
					want += n
				}
			}
			if b.GetCumulativeCount() != want {
				t.Errorf("round %d: up to %v s: got %d; want %d", round, b.GetUpperBound(), b.GetCumulativeCount(), want)
			}
		}
		if len(h.Bucket) != 16 || h.Bucket[0].GetUpperBound() != 1.0/1024 || h.Bucket[15].GetUpperBound() != 32 {
			t.Errorf("round %d: plain buckets %v; want those from 1/1024 s to 32 s", round, h.Bucket)
		}
	}
}
