package metrics

import (
	"math"
	"slices"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
)

// objects are the families of a page as the objects that the library encodes, in the
// order of ours. They are made in the plainest way, for comparison with what is written.
func objects(p *page) []*dto.MetricFamily {
	return slices.DeleteFunc(slices.Concat(
		objectsOf(process, &p.process), objectsOf(listeners, &p.listeners), objectsOf(pools, &p.pools),
		objectsOf(backends, &p.backends), objectsOf(loops, &p.loops),
	), func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 })
}

func objectsOf[T any](fs []family[T], rs *rows[T]) (all []*dto.MetricFamily) {
	for i := range fs {
		all = append(all, fs[i].object(rs))
	}
	return all
}

// object has no metrics if no row has the family.
func (f *family[T]) object(rs *rows[T]) *dto.MetricFamily {
	o := &dto.MetricFamily{Name: new(prefix + f.name), Help: &f.help, Type: &f.kind}
	for i := range rs.all[:rs.n] {
		r := &rs.all[i]
		if !f.has(r.of) {
			continue
		}
		var of []*dto.LabelPair
		for j, name := range rs.names {
			of = append(of, pair(name, r.values[j]))
		}
		o.Metric = append(o.Metric, f.samples(r.of, of)...)
	}
	return o
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// samples are those of one row.
func (f *family[T]) samples(row *T, of []*dto.LabelPair) (all []*dto.Metric) {
	switch {
	case f.durations != nil:
		return []*dto.Metric{{Label: of, Histogram: histogramObject(f.durations(row), f.shown)}}
	case f.total != nil:
		n, took := f.total(row)
		return []*dto.Metric{{Label: of, Summary: &dto.Summary{SampleCount: &n, SampleSum: new(took.Seconds())}}}
	case f.single != nil:
		return []*dto.Metric{number(f.kind, of, f.single(row))}
	}
	for i, v := range f.values {
		all = append(all, number(f.kind, append(slices.Clone(of), pair(f.by, v)), f.value(row, i)))
	}
	return all
}

func number(kind dto.MetricType, of []*dto.LabelPair, v float64) *dto.Metric {
	if kind == counters {
		return &dto.Metric{Label: of, Counter: &dto.Counter{Value: &v}}
	}
	return &dto.Metric{Label: of, Gauge: &dto.Gauge{Value: &v}}
}

func histogramObject(d *server.Durations, shown [2]int) *dto.Histogram {
	h := &dto.Histogram{
		SampleCount: new(d.Count()), SampleSum: new(d.Sum.Seconds()),
		Schema: new(int32(0)), ZeroCount: &d.Buckets[0], ZeroThreshold: new(math.Ldexp(1, server.DurationBound(0))),
	}
	var below uint64
	first, last := 0, 0 // of what the native histogram has beyond zero
	for i, n := range d.Buckets {
		below += n
		if e := server.DurationBound(i); e >= shown[0] && e <= shown[1] {
			h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: new(below), UpperBound: new(math.Ldexp(1, e))})
		}
		if i > 0 && n > 0 {
			last = i
			if first == 0 {
				first = i
			}
		}
	}
	if first == 0 {
		return h
	}
	h.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(server.DurationBound(first))), Length: new(uint32(last - first + 1))}}
	before := uint64(0)
	for _, n := range d.Buckets[first : last+1] {
		h.PositiveDelta = append(h.PositiveDelta, int64(n-before))
		before = n
	}
	return h
}
