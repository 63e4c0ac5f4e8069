package metrics

import (
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// protobufWriter writes families as io.prometheus.client.MetricFamily messages, each after
// its length, without the objects that the library wants. What comes out is what the
// library would write, byte for byte: fields in the order of their numbers, and none that
// was not set.
//
//	length  name  help  type  metric          metric          ...
//	                          labels  value   labels  value
//	                          of the row
//
// In protobuf the length of a message stands before it. So rows are measured before the
// first of them is written, in which few values have a part: the length of a number
// does not depend on it. That takes less than to keep a family of megabytes together.
type protobufWriter struct {
	batch
	inner   []byte   // a message inside of another one
	matcher *matcher // for fragments
}

// measureWork is what it is worth to measure a row, in bytes.
const measureWork = 16

// protobuf writes the family, the nth of its kind, of all rows, and nothing if no row has
// it.
func (f *family[T]) protobuf(t *protobufWriter, rs *rows[T], nth int) {
	if t.zip != nil {
		f.compressedProtobuf(t, rs, rs.kept[nth])
		return
	}
	length := 0
	rs.each(func(r *row[T]) {
		if f.has(r.of) {
			length += f.measure(t, r.of, rs.encoded(r))
		}
		t.out.work(measureWork)
	})
	if length == 0 {
		return
	}
	t.title(prefix+f.name, f.help, f.kind, length)
	rs.each(func(r *row[T]) {
		if f.has(r.of) && t.err == nil {
			f.metrics(t, r.of, rs.encoded(r))
			t.flushFull()
		}
	})
}

// compressedProtobuf is protobuf for a stream of gzipLines, after look: it makes only the
// fragments that are not as they were.
func (f *family[T]) compressedProtobuf(t *protobufWriter, rs *rows[T], kept []fragment) {
	length := 0
	for i := range kept {
		g := &kept[i]
		if g.made != g.wanted {
			f.remakeProtobuf(g, t, rs, i*fragmentRows)
			t.out.work(int(g.length) / madeAtOnce)
		}
		length += int(g.length)
	}
	if length == 0 {
		return
	}
	t.title(prefix+f.name, f.help, f.kind, length)
	t.flush()
	for i := range kept {
		g := &kept[i]
		if g.length == 0 {
			continue
		}
		t.zip.add(g)
		t.out.work(len(g.words))
		if t.err = t.zip.err; t.err != nil {
			return
		}
	}
}

// remakeProtobuf writes and compresses the rows of a fragment, from the one that is first.
func (f *family[T]) remakeProtobuf(g *fragment, t *protobufWriter, rs *rows[T], first int) {
	t.flush()
	begin := 0
	for i := max(first-1, 0); i < min(first+fragmentRows, rs.n); i++ {
		r := &rs.all[i]
		if f.has(r.of) {
			f.metrics(t, r.of, rs.encoded(r))
		}
		if i < first {
			begin = len(t.line)
		}
	}
	t.bits.restart()
	t.matcher.compress(&t.bits, t.line, begin)
	g.keep(&t.bits, t.line[begin:])
	g.made = g.wanted
	t.line = t.line[:0]
}

// measure is the length of what metrics writes.
func (f *family[T]) measure(t *protobufWriter, row *T, of string) (n int) {
	switch {
	case f.single != nil:
		return fieldLength(metricLength(of, "", numberLength))
	case f.durations != nil || f.total != nil:
		t.inner = f.appendValue(t.inner[:0], row)
		return fieldLength(metricLength(of, "", len(t.inner)))
	}
	for _, more := range f.encoded {
		n += fieldLength(metricLength(of, more, numberLength))
	}
	return n
}

// metrics writes the samples of one row, whose labels are of.
func (f *family[T]) metrics(t *protobufWriter, row *T, of string) {
	field := valueField(f.kind)
	switch {
	case f.single != nil:
		t.number(field, of, "", f.single(row))
	case f.durations != nil || f.total != nil:
		t.inner = f.appendValue(t.inner[:0], row)
		t.metric(field, of, "", len(t.inner))
		t.line = append(t.line, t.inner...)
	default:
		for i, more := range f.encoded {
			t.number(field, of, more, f.value(row, i))
		}
	}
}

// appendValue appends the message of a summary or a histogram.
func (f *family[T]) appendValue(b []byte, row *T) []byte {
	if f.durations != nil {
		return appendHistogram(b, f.durations(row), f.shown)
	}
	n, took := f.total(row)
	return appendTotal(b, n, took)
}

// title begins a family whose metrics have that length.
func (t *protobufWriter) title(name, help string, kind dto.MetricType, length int) {
	head := t.inner[:0]
	head = appendString(head, familyName, name)
	head = appendString(head, familyHelp, help)
	head = appendNumberField(head, familyType, uint64(kind))
	t.line = protowire.AppendVarint(t.line, uint64(len(head)+length))
	t.line = append(t.line, head...)
	t.inner = head
}

// metric begins a metric with its labels: those of its row and one more, each of which may
// be empty. A value of that length has to follow.
func (t *protobufWriter) metric(field protowire.Number, of, more string, value int) {
	b := protowire.AppendTag(t.line, familyMetric, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(metricLength(of, more, value)))
	b = append(append(b, of...), more...)
	b = protowire.AppendTag(b, field, protowire.BytesType)
	t.line = protowire.AppendVarint(b, uint64(value))
}

// number writes a metric that is a gauge or a counter.
func (t *protobufWriter) number(field protowire.Number, of, more string, v float64) {
	t.metric(field, of, more, numberLength)
	t.line = appendDouble(t.line, numberValue, v)
}
