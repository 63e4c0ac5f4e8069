package metrics

import (
	"bytes"
	"math"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// What is written here is what the library writes, for everything that a server has
// and for what it might have.
func TestEncodeAsTheLibraryDoes(t *testing.T) {
	all, err := New(two(t), Build{Version: "1 \"2\"\n\\3"}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	odd := func(name string, kind dto.MetricType) *dto.MetricFamily {
		help := "quotes \" and \\ and\nlines"
		f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
		for _, v := range []float64{0, 1, -1, 17, 0.1, 1e21, 1e-9, 123456789, math.Inf(1), math.Inf(-1), math.NaN()} {
			f.Metric = append(f.Metric,
				&dto.Metric{Gauge: &dto.Gauge{Value: &v}, Label: labels{label("a", "x\ny"), label("b", `"`), label("c", "é")}},
				&dto.Metric{Gauge: &dto.Gauge{Value: &v}})
		}
		if kind == counters {
			for _, m := range f.Metric {
				m.Counter, m.Gauge = &dto.Counter{Value: m.Gauge.Value}, nil
			}
		}
		return f
	}
	all = append(all, odd(prefix+"odd", gauges), odd(prefix+"odd_total", counters), odd(prefix+"no_suffix", counters))
	for _, format := range expfmt.DefaultOpenMetricsAcceptedFormats() {
		open, known := dialect(format)
		if !known {
			continue
		}
		var got, want bytes.Buffer
		if err := encode(&got, format, open, all); err != nil {
			t.Fatal(err)
		}
		library := expfmt.NewEncoder(&want, format)
		for _, f := range all {
			if err := library.Encode(f); err != nil {
				t.Fatal(err)
			}
		}
		if c, ok := library.(expfmt.Closer); ok {
			c.Close()
		}
		if got, want := bytes.Split(got.Bytes(), []byte("\n")), bytes.Split(want.Bytes(), []byte("\n")); len(got) != len(want) {
			t.Errorf("%s: %d lines; want %d", format, len(got), len(want))
		} else {
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("%s: line %d: got %q; want %q", format, i+1, got[i], want[i])
				}
			}
		}
	}
}
