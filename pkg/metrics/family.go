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

	by      string           // one more label; "" = none
	values  []*dto.LabelPair // its values: the row has one sample for each
	written []string         // the same as text

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
	f := family[T]{name: name, help: help, kind: kind, by: by, value: value}
	for _, v := range values {
		f.values = append(f.values, label(by, v))
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

// labels are those of one row, in the order of their names in the catalogue. All
// samples of the row share them.
type labels []*dto.LabelPair

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

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

// gather makes the family of all rows in protobuf. It is nil if no row has it.
func (f *family[T]) gather(rs *rows[T]) *dto.MetricFamily {
	name, help, kind := prefix+f.name, f.help, f.kind
	g := &gathering{metrics: make([]*dto.Metric, 0, rs.n*max(1, len(f.values)))}
	rs.each(func(r *row[T]) {
		if f.has(r.of) {
			f.add(g, r.of, rs.labels(r))
		}
	})
	if len(g.metrics) == 0 {
		return nil
	}
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: g.metrics}
}

// add adds the samples of one row.
func (f *family[T]) add(g *gathering, row *T, of labels) {
	switch {
	case f.durations != nil:
		g.histogram(of, f.durations(row), f.shown)
	case f.total != nil:
		n, took := f.total(row)
		g.summary(of, n, took)
	case f.single != nil:
		g.number(of, f.kind, f.single(row))
	default:
		for i := range f.values {
			g.number(g.with(of, f.values[i]), f.kind, f.value(row, i))
		}
	}
}

// gathering collects the samples of one family. Their parts come from blocks, since
// allocating each on its own would take most of the time of a large scrape.
type gathering struct {
	metrics  []*dto.Metric // its capacity is that of the whole family
	counters []counterSample
	gauges   []gaugeSample
	pairs    []*dto.LabelPair
}

type counterSample struct {
	metric  dto.Metric
	counter dto.Counter
	value   float64
}

type gaugeSample struct {
	metric dto.Metric
	gauge  dto.Gauge
	value  float64
}

// next takes one of a block, which is made when it is first asked for.
func next[T any](block *[]T, size int) *T {
	if len(*block) == 0 {
		*block = make([]T, size)
	}
	first := &(*block)[0]
	*block = (*block)[1:]
	return first
}

func (g *gathering) number(of labels, kind dto.MetricType, value float64) {
	var m *dto.Metric
	if kind == dto.MetricType_COUNTER {
		n := next(&g.counters, cap(g.metrics))
		n.value, n.counter.Value, n.metric.Counter = value, &n.value, &n.counter
		m = &n.metric
	} else {
		n := next(&g.gauges, cap(g.metrics))
		n.value, n.gauge.Value, n.metric.Gauge = value, &n.value, &n.gauge
		m = &n.metric
	}
	m.Label = of
	g.metrics = append(g.metrics, m)
}

// with is of and one more.
func (g *gathering) with(of labels, more *dto.LabelPair) labels {
	n := len(of) + 1
	if len(g.pairs) < n {
		g.pairs = make([]*dto.LabelPair, n*cap(g.metrics))
	}
	all := g.pairs[:n:n]
	g.pairs = g.pairs[n:]
	copy(all, of)
	all[n-1] = more
	return all
}

func (g *gathering) summary(of labels, n uint64, took time.Duration) {
	sum := took.Seconds()
	g.metrics = append(g.metrics, &dto.Metric{Label: of, Summary: &dto.Summary{SampleCount: &n, SampleSum: &sum}})
}
