package metrics

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/prototext"
)

var delimited = expfmt.NewFormat(expfmt.TypeProtoDelim)

// families reads what a scrape has written.
func families(t *testing.T, body []byte) (all []*dto.MetricFamily) {
	t.Helper()
	for d := expfmt.NewDecoder(bytes.NewReader(body), delimited); ; {
		f := new(dto.MetricFamily)
		if err := d.Decode(f); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("after %d families: %v", len(all), err)
		}
		all = append(all, f)
	}
}

// sameFamilies tells where two bodies differ.
func sameFamilies(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	gots, wants := families(t, got), families(t, want)
	if len(gots) != len(wants) {
		t.Errorf("got %d families; want %d", len(gots), len(wants))
	}
	for i := range min(len(gots), len(wants)) {
		if g, w := prototext.Format(gots[i]), prototext.Format(wants[i]); g != w {
			t.Errorf("family %d: got %.2000s; want %.2000s", i, g, w)
		}
	}
	t.Fatalf("got %d bytes; want %d, which are others", len(got), len(want))
}

// writtenProtobuf is a scrape of what p shows, compressed if zip.
func writtenProtobuf(tb testing.TB, p *page, zip bool) []byte {
	tb.Helper()
	var out bytes.Buffer
	if !zip {
		p.writeProtobuf(rude(&out), nil, delimited, ours)
		return out.Bytes()
	}
	p.lines.reset(&out)
	p.writeProtobuf(rude(&p.lines), &p.lines, delimited, ours)
	if err := p.lines.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// What is written here is what the library writes, byte for byte, whatever is kept from
// one scrape to the next, through all that can happen to a server.
func TestProtobufIsTheLibrarys(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h, random := newHistory(seed), rand.New(rand.NewPCG(seed, 1))
	h.now.Pools[0].Name, h.now.Listeners[0].Name = "quotes \" and \\ and\nlines, é", strings.Repeat("long ", 100)
	pages := [2]page{} // of scrapers that come by turns
	for i := range 150 {
		h.step()
		p := &pages[random.IntN(20)/19]
		p.show(&h.now)
		want := library(t, delimited, objects(p))
		if random.IntN(20) == 0 { // another format in between
			compressedText(t, p, expfmt.NewFormat(expfmt.TypeOpenMetrics), true)
		}
		sameFamilies(t, writtenProtobuf(t, p, false), want)
		body := writtenProtobuf(t, p, true)
		sameFamilies(t, unzipped(t, body), want)
		var fresh page
		fresh.show(&h.now)
		if !bytes.Equal(body, writtenProtobuf(t, &fresh, true)) {
			t.Fatalf("step %d: what came of the same metrics is compressed in another way", i)
		}
	}
}

// The same for values that a server would need long for.
func TestProtobufOfAnyValue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	values := []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1e21, math.MaxUint64, math.Inf(1), math.Inf(-1), math.NaN()}
	for range 1000 {
		values = append(values, math.Float64frombits(random.Uint64()), float64(random.Uint64()>>random.IntN(64)))
	}
	bits := func(v *float64) uint64 { return math.Float64bits(*v) }
	gauge := gauge("odd", "quotes \" and \\ and\nlines, é", func(v *float64) float64 { return *v })
	some := counter("odd_some_total", "", func(v *float64) float64 { return *v }).only(func(v *float64) bool { return *v > 1 })
	none := counter("odd_none_total", "help", func(v *float64) float64 { return *v }).only(func(*float64) bool { return false })
	split := per(gauges, "odd_split", "help", "by", []string{"a\"", "", strings.Repeat("é", 100)}, func(v *float64, i int) float64 { return *v * float64(i) })
	which := state("odd_state", "help", "is", []string{"up", "down"}, func(v *float64) int { return int(bits(v) % 3) })
	sum := summary("odd_seconds", "help", func(v *float64) (uint64, time.Duration) { return bits(v), time.Duration(*v) })
	spread := histogram("odd_spread_seconds", "help", -3, 9, func(v *float64) *server.Durations {
		d := server.Durations{Sum: time.Duration(bits(v) >> 2)}
		for i := range bits(v) % 5 {
			d.Buckets[bits(v)>>(7*i)%server.DurationBuckets] = bits(v) >> (10 * i)
		}
		return &d
	})
	var rs rows[float64]
	rs.begin("pool", "backend")
	for i := range values {
		rs.add(&values[i], "quotes \" and \\ and\nlines, é", strings.Repeat("x", random.IntN(300)))
	}
	for _, f := range []*family[float64]{&gauge, &some, &none, &split, &which, &sum, &spread} {
		t.Run(f.name, func(t *testing.T) {
			var want []byte
			if o := f.object(&rs); len(o.Metric) > 0 {
				want = library(t, delimited, []*dto.MetricFamily{o})
			}
			var got bytes.Buffer
			w := &protobufWriter{batch: batch{out: rude(&got)}}
			f.protobuf(w, &rs, 0)
			w.flush()
			sameFamilies(t, got.Bytes(), want)
			sameFamilies(t, unzipped(t, compressedFamily(t, f, &rs)), want)
		})
	}
}

// compressedFamily is one family alone.
func compressedFamily[T any](t *testing.T, f *family[T], rs *rows[T]) []byte {
	t.Helper()
	var out bytes.Buffer
	var z gzipLines
	z.reset(&out)
	rs.look([]family[T]{*f}, protobuf, func(int) {})
	w := &protobufWriter{batch: batch{out: rude(&z), zip: &z}, matcher: new(matcher)}
	f.protobuf(w, rs, 0)
	w.flush()
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A scrape over HTTP has the same families, with the same samples, as one of text.
func TestProtobufScrape(t *testing.T) {
	s := two(t)
	eventually(t, "both backends were probed", func() bool {
		all := s.Snapshot().Pools[0].Backends
		return !all[0].Check.LastAt.IsZero() && !all[1].Check.LastAt.IsZero()
	})
	h := Handler(s, Build{Version: "1"})
	text := scrape(t, h)
	for _, encoding := range []string{"", "gzip"} {
		t.Run("encoding="+encoding, func(t *testing.T) {
			resp, body := ask(t, h, protobufFormat, encoding)
			if got := resp.Header.Get("Content-Encoding"); got != encoding {
				t.Fatalf("Content-Encoding %q; want %q", got, encoding)
			}
			if encoding == "gzip" {
				body = unzipped(t, body)
			}
			all := families(t, body)
			if !slices.IsSortedFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }) {
				t.Error("families are not in the order of their names")
			}
			for _, f := range all {
				same := text[f.GetName()]
				if same.GetType() != f.GetType() || same.GetHelp() != f.GetHelp() || len(same.GetMetric()) != len(f.Metric) {
					t.Errorf("%s: got %v, %q, %d samples; want %v, %q, %d as in text", f.GetName(),
						f.GetType(), f.GetHelp(), len(f.Metric), same.GetType(), same.GetHelp(), len(same.GetMetric()))
				}
			}
			if len(all) != len(text) {
				t.Errorf("got %d families; want %d", len(all), len(text))
			}
		})
	}
	for _, encoding := range []string{"", "gzip"} {
		t.Run("name[],encoding="+encoding, func(t *testing.T) {
			names := []string{"go_goroutines", "limeload_backend_up", "limeload_build_info"}
			_, body := askFor(t, h, "/metrics?"+url.Values{"name[]": names}.Encode(), protobufFormat, encoding)
			if encoding == "gzip" {
				body = unzipped(t, body)
			}
			var got []string
			for _, f := range families(t, body) {
				got = append(got, f.GetName())
			}
			if !slices.Equal(got, names) {
				t.Errorf("got %q; want %q", got, names)
			}
		})
	}
}

// What the library writes for people who look at protobuf is never compressed.
func TestForeignFormats(t *testing.T) {
	h := Handler(two(t), Build{Version: "1"})
	for _, encoding := range []string{"text", "compact-text"} {
		accept := strings.Replace(protobufFormat, "delimited", encoding, 1)
		resp, body := ask(t, h, accept, "gzip")
		if got := resp.Header.Get("Content-Encoding"); got != "" {
			t.Errorf("%s: Content-Encoding %q; want none", encoding, got)
		}
		if got := resp.Header.Get("Content-Type"); !strings.Contains(got, "encoding="+encoding) {
			t.Errorf("Content-Type %q; want encoding=%s", got, encoding)
		}
		for _, name := range []string{"limeload_backend_up", "limeload_build_info", "positive_delta"} {
			if name != "positive_delta" && !bytes.Contains(body, []byte(name)) {
				t.Errorf("%s: got no %s", encoding, name)
			}
		}
	}
}

// many is a page of thousands of backends.
func many(tb testing.TB) *page {
	tb.Helper()
	h := newHistory(1)
	for range 100 * fragmentRows {
		h.addBackend(&h.now.Pools[0])
	}
	var p page
	p.show(&h.now)
	return &p
}

// A scrape rests all along, and not for what a whole family is worth; and less where
// records are kept.
func TestProtobufRests(t *testing.T) {
	p := many(t)
	scrape := func(zip *gzipLines) (rests int) {
		var longest time.Duration
		out := &polite{w: io.Discard, sleep: func(d time.Duration) { rests++; longest = max(longest, d) }}
		if zip != nil {
			zip.reset(io.Discard)
			out.w = zip
		}
		p.writeProtobuf(out, zip, delimited, ours)
		if longest > restAfter {
			t.Errorf("rested for %v at once; want at most %v, as between stints", longest, restAfter)
		}
		return rests
	}
	size := len(writtenProtobuf(t, p, false))
	if got := scrape(nil); got < size/stint {
		t.Errorf("rested %d times; want at least once for each stint of %d bytes", got, size)
	}
	first, second := scrape(&p.lines), scrape(&p.lines)
	if second == 0 || second >= first {
		t.Errorf("rested %d times, then %d times; want less, but some", first, second)
	}
}

// Scrapes after the first one make no garbage.
func TestProtobufUsesMemoryAgain(t *testing.T) {
	p := many(t)
	for _, zip := range []*gzipLines{nil, &p.lines} {
		out := rude(io.Discard)
		if zip != nil {
			out = rude(zip)
		}
		n := testing.AllocsPerRun(3, func() {
			if zip != nil {
				zip.reset(io.Discard)
			}
			p.writeProtobuf(out, zip, delimited, ours)
		})
		if n > 50 {
			t.Errorf("compressed: %v: got %v allocations a scrape; want a few", zip != nil, n)
		}
	}
}

// gone takes some bytes and then no more.
type gone struct{ left, asked int }

func (g *gone) Write(p []byte) (int, error) {
	if g.asked++; len(p) > g.left {
		return 0, io.ErrClosedPipe
	}
	g.left -= len(p)
	return len(p), nil
}

// Nothing is written for a reader who has gone.
func TestProtobufReaderGone(t *testing.T) {
	p := many(t)
	for _, zip := range []*gzipLines{nil, &p.lines} {
		g := &gone{left: 3 * flushAt}
		out := rude(g)
		if zip != nil {
			zip.reset(g)
			out.w = zip
		}
		p.writeProtobuf(out, zip, delimited, ours)
		if g.asked > 6 {
			t.Errorf("compressed: %v: wrote %d times; want none after the first error", zip != nil, g.asked)
		}
	}
	body := writtenProtobuf(t, p, true)
	sameFamilies(t, unzipped(t, body), library(t, delimited, objects(p)))
}

// A compressed scrape is a fraction of the records.
func TestProtobufShrinks(t *testing.T) {
	p := many(t)
	if got, whole := len(writtenProtobuf(t, p, true)), len(writtenProtobuf(t, p, false)); got > whole/6 {
		t.Errorf("%d bytes became %d; want less than a sixth", whole, got)
	}
}
