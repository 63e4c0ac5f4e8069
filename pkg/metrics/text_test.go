package metrics

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// texts are the formats that are written here.
func texts(t *testing.T, f func(t *testing.T, format expfmt.Format, open bool)) {
	for _, format := range expfmt.DefaultOpenMetricsAcceptedFormats() {
		if as := formOf(format); as == plainText || as == openMetrics {
			t.Run(string(format), func(t *testing.T) { f(t, format, as == openMetrics) })
		}
	}
}

// library is what the library writes of families.
func library(t *testing.T, format expfmt.Format, all []*dto.MetricFamily) []byte {
	t.Helper()
	var out bytes.Buffer
	e := expfmt.NewEncoder(&out, format)
	for _, f := range all {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := e.(expfmt.Closer); ok {
		c.Close()
	}
	return out.Bytes()
}

func sameLines(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	gots, wants := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	if len(gots) != len(wants) {
		t.Errorf("got %d lines; want %d", len(gots), len(wants))
	}
	for i := range min(len(gots), len(wants)) {
		if !bytes.Equal(gots[i], wants[i]) {
			t.Fatalf("line %d: got %q; want %q", i+1, gots[i], wants[i])
		}
	}
	t.FailNow()
}

// What is written here is what the library writes, for all that a server has.
func TestTextIsTheLibrarys(t *testing.T) {
	s := start(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
limits = { source = { connections = 1 } }
[[pool]]
name = "pool"
connect = { attempts = 1 }
health = { interval = "1h" }
backend = [{ name = "a", address = "127.0.0.1:1", max_connections = 7 }, { address = "127.0.0.1:2", weight = 3 }]
`)
	eventually(t, "every backend was probed", func() bool {
		p := s.Snapshot().Pools[0]
		return !p.Backends[0].Check.LastAt.IsZero() && !p.Backends[1].Check.LastAt.IsZero()
	})
	turnedAway(t, s, "front")
	var p page
	for range 2 { // the second time in the memory of the first
		p.read(s, nil)
		all := objects(&p)
		texts(t, func(t *testing.T, format expfmt.Format, open bool) {
			var got bytes.Buffer
			p.writeText(rude(&got), nil, format, open, ours)
			sameLines(t, got.Bytes(), library(t, format, all))
		})
	}
}

// The same for values that a server would need long for.
func TestTextOfAnyValue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	values := []float64{0, math.Copysign(0, -1), 1, -1, 17, 0.1, 1e21, 1e-9, 999_999, 1e6, 123456789, math.MaxUint64, math.Inf(1), math.Inf(-1), math.NaN()}
	for range 1000 {
		values = append(values, math.Float64frombits(random.Uint64()), float64(random.Uint64()>>random.IntN(64)))
	}
	gauge := gauge("odd", "quotes \" and \\ and\nlines", func(v *float64) float64 { return *v })
	total := counter("odd_total", "help", func(v *float64) float64 { return *v })
	split := per(gauges, "odd_split", "help", "by", []string{"a\"", "b"}, func(v *float64, i int) float64 { return *v * float64(i) })
	sum := summary("odd_seconds", "help", func(v *float64) (uint64, time.Duration) { return math.Float64bits(*v), time.Duration(*v) })
	spread := histogram("odd_spread_seconds", "help", -3, 9, func(v *float64) *server.Durations {
		d := server.Durations{Sum: time.Duration(math.Float64bits(*v) >> 2)}
		d.Buckets[int(math.Float64bits(*v)%server.DurationBuckets)] = math.Float64bits(*v) >> 20
		return &d
	})
	var rs rows[float64]
	rs.begin("name")
	for i := range values {
		rs.add(&values[i], "quotes \" and \\ and\nlines, é")
	}
	for _, f := range []*family[float64]{&gauge, &total, &split, &sum, &spread} {
		texts(t, func(t *testing.T, format expfmt.Format, open bool) {
			var got bytes.Buffer
			w := &textWriter{batch: batch{out: rude(&got)}, open: open}
			f.text(w, &rs, 0)
			if open {
				w.Write([]byte("# EOF\n"))
			}
			w.flush()
			sameLines(t, got.Bytes(), library(t, format, []*dto.MetricFamily{f.object(&rs)}))
		})
	}
}
