package metrics

import (
	"math"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
)

// histogram shows durations twice, from the same counts and both exactly: with plain
// buckets for every format, and as a native histogram for scrapers that ask for
// protobuf. shown are the least and the greatest plain bound, as powers of two.
func (g *gathering) histogram(of labels, d *server.Durations, shown [2]int) {
	count, sum := d.Count(), d.Sum.Seconds()
	h := &dto.Histogram{SampleCount: &count, SampleSum: &sum, Bucket: plain(d, shown)}
	native(h, d)
	g.metrics = append(g.metrics, &dto.Metric{Label: of, Histogram: h})
}

// plain are the cumulative buckets from one bound to another.
func plain(d *server.Durations, shown [2]int) (buckets []*dto.Bucket) {
	var below uint64
	for i, n := range d.Buckets {
		below += n
		if e := server.DurationBound(i); e >= shown[0] && e <= shown[1] {
			count, bound := below, math.Ldexp(1, e)
			buckets = append(buckets, &dto.Bucket{CumulativeCount: &count, UpperBound: &bound})
		}
	}
	return buckets
}

// native adds the buckets of schema 0, in which bucket e holds what is above 2^(e-1)
// and up to 2^e. The first of ours is its zero bucket. The others are one span, from
// the first to the last that has something; counts are differences to the one before.
func native(h *dto.Histogram, d *server.Durations) {
	schema, zero, threshold := int32(0), d.Buckets[0], math.Ldexp(1, server.DurationBound(0))
	h.Schema, h.ZeroCount, h.ZeroThreshold = &schema, &zero, &threshold
	first, last := 1, len(d.Buckets)-1
	for first < last && d.Buckets[first] == 0 {
		first++
	}
	for last >= first && d.Buckets[last] == 0 {
		last--
	}
	if first > last {
		return
	}
	offset, length := int32(server.DurationBound(first)), uint32(last-first+1)
	h.PositiveSpan = []*dto.BucketSpan{{Offset: &offset, Length: &length}}
	var before int64
	for _, n := range d.Buckets[first : last+1] {
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-before)
		before = int64(n)
	}
}
