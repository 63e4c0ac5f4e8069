package metrics

import (
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
)

// family describes one metric that every row of a kind has: a listener, say.
type family[T any] struct {
	name string // without the prefix
	help string
	kind dto.MetricType

	by      string   // one more label; "" = none
	values  []string // its values: the row has one sample for each
	written []string // the same as text
	encoded []string // the same in protobuf

	single    func(row *T) float64                 // the one sample
	value     func(row *T, i int) float64          // instead, the sample of values[i]
	counts    func(row *T) []uint64                // instead, all of these, if they are counts
	state     func(row *T) int                     // instead, if one of values is 1 and the others are 0: which
	durations func(row *T) *server.Durations       // instead, of a histogram
	total     func(row *T) (uint64, time.Duration) // instead, of a summary
	shown     [2]int                               // least and greatest plain bound of a histogram, powers of two
	when      func(row *T) bool                    // which rows have it; nil = all
}

// prefix of every name.
const prefix = "limeload_"

func counter[T any](name, help string, value func(*T) float64) family[T] {
	return simple(dto.MetricType_COUNTER, name, help, value)
}

func gauge[T any](name, help string, value func(*T) float64) family[T] {
	return simple(dto.MetricType_GAUGE, name, help, value)
}

func simple[T any](kind dto.MetricType, name, help string, value func(*T) float64) family[T] {
	return family[T]{name: name, help: help, kind: kind, single: value}
}

// per splits a family by one more label.
func per[T any](kind dto.MetricType, name, help, by string, values []string, value func(*T, int) float64) family[T] {
	f := family[T]{name: name, help: help, kind: kind, by: by, values: values, value: value}
	for _, v := range values {
		f.encoded = append(f.encoded, string(appendPair(nil, by, v)))
		f.written = append(f.written, string(appendLabel(nil, by, v)))
	}
	return f
}

// countsPer splits a counter by one more label.
func countsPer[T any](name, help, by string, values []string, of func(*T) []uint64) family[T] {
	f := per(counters, name, help, by, values, func(row *T, i int) float64 { return float64(of(row)[i]) })
	f.counts = of
	return f
}

// state is 1 for one of values, and 0 for the others.
func state[T any](name, help, by string, values []string, of func(*T) int) family[T] {
	f := per(gauges, name, help, by, values, func(row *T, i int) float64 { return one(of(row) == i) })
	f.state = of
	return f
}

// histogram shows the plain bounds from 2^least to 2^greatest seconds.
func histogram[T any](name, help string, least, greatest int, durations func(*T) *server.Durations) family[T] {
	return family[T]{
		name: name, help: help, kind: dto.MetricType_HISTOGRAM, durations: durations, shown: [2]int{least, greatest},
	}
}

// summary has a sum and a count, and no quantiles: it is an average over any time.
func summary[T any](name, help string, total func(*T) (uint64, time.Duration)) family[T] {
	return family[T]{name: name, help: help, kind: dto.MetricType_SUMMARY, total: total}
}

// only restricts a family to some rows.
func (f family[T]) only(when func(*T) bool) family[T] {
	f.when = when
	return f
}

// has reports whether a row has the family.
func (f *family[T]) has(row *T) bool { return f.when == nil || f.when(row) }

// text writes the family, the nth of its kind, of all rows, and nothing if no row has it.
func (f *family[T]) text(t *textWriter, rs *rows[T], nth int) {
	if t.zip != nil {
		f.compressed(t, rs, rs.kept[nth])
		return
	}
	name, titled := prefix+f.name, false
	rs.each(func(r *row[T]) {
		if !f.has(r.of) || t.err != nil {
			return
		}
		if !titled {
			t.title(name, f.help, f.kind)
			titled = true
		}
		f.line(t, name, r)
		t.flushFull()
	})
}

// lines is how many line writes.
func (f *family[T]) lines() int {
	switch {
	case f.durations != nil:
		return f.shown[1] - f.shown[0] + 4 // the bounds, that of all, sum and count
	case f.total != nil:
		return 2
	}
	return max(1, len(f.values))
}

// line writes the samples of one row.
func (f *family[T]) line(t *textWriter, name string, r *row[T]) {
	switch {
	case f.durations != nil:
		t.histogram(name, r.text, f.durations(r.of), f.shown)
	case f.total != nil:
		n, took := f.total(r.of)
		t.summary(name, r.text, n, took)
	case f.single != nil:
		t.begin(name, "", r.text, "")
		t.number(f.single(r.of))
	default:
		for i, more := range f.written {
			t.begin(name, "", r.text, more)
			t.number(f.value(r.of, i))
		}
	}
}
