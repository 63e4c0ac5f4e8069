package metrics

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
)

// large is the configuration of 10 000 backends in 100 pools, probed once: nobody
// listens there.
func large() string {
	var b strings.Builder
	for p := range 100 {
		fmt.Fprintf(&b, "[[listener]]\nname = \"listener-%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool-%d\"\n", p, p)
		fmt.Fprintf(&b, "[[pool]]\nname = \"pool-%d\"\nhealth = { interval = \"1h\" }\nbackend = [\n", p)
		for i := range 100 {
			fmt.Fprintf(&b, "{ name = \"backend-%d-%d\", address = \"127.%d.%d.1:1\" },\n", p, i, p+1, i)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// BenchmarkScrape is a whole scrape of 10 000 backends over HTTP, as Prometheus asks
// for it: the first one, and later ones after counts of some backends changed. Beside the
// time, which has the rests, it tells the CPU time of the process, that of the scraper
// included.
func BenchmarkScrape(b *testing.B) {
	s := start(b, large())
	eventually(b, "every backend was probed", func() bool {
		for _, p := range s.Snapshot().Pools {
			for i := range p.Backends {
				if p.Backends[i].Check.LastAt.IsZero() {
					return false
				}
			}
		}
		return true
	})
	targets := targetsOf(s)
	const (
		open     = "application/openmetrics-text;version=1.0.0"
		protobuf = protobufFormat
	)
	for _, test := range []struct {
		name, accept, encoding string
		changed                int // backends between one scrape and the next
		first                  bool
	}{
		{"text", "text/plain;version=0.0.4", "identity", 0, false},
		{"openmetrics", open, "identity", 0, false},
		{"openmetrics,gzip/first", open, "gzip", 0, true},
		{"openmetrics,gzip/unchanged", open, "gzip", 0, false},
		{"openmetrics,gzip/changed=1%", open, "gzip", len(targets) / 100, false},
		{"openmetrics,gzip/changed=all", open, "gzip", len(targets), false},
		{"protobuf", protobuf, "identity", 0, false},
		{"protobuf,gzip/first", protobuf, "gzip", 0, true},
		{"protobuf,gzip/unchanged", protobuf, "gzip", 0, false},
		{"protobuf,gzip/changed=1%", protobuf, "gzip", len(targets) / 100, false},
		{"protobuf,gzip/changed=all", protobuf, "gzip", len(targets), false},
	} {
		b.Run(test.name, func(b *testing.B) {
			g := New(s, Build{Version: "test"})
			web := httptest.NewServer(g)
			defer web.Close()
			n := scrapeAs(b, web.URL, test.accept, test.encoding)
			b.ReportAllocs()
			cpu := processTime(b)
			for b.Loop() {
				if test.first {
					g.pages.take(foreign) // and throw it away
				}
				for _, i := range rand.Perm(len(targets))[:test.changed] {
					targets[i].work()
				}
				n = scrapeAs(b, web.URL, test.accept, test.encoding)
			}
			b.ReportMetric(float64(n)/1e6, "MB")
			b.ReportMetric((processTime(b)-cpu).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
	b.Run("gather alone", func(b *testing.B) {
		g := New(s, Build{})
		b.ReportAllocs()
		for b.Loop() {
			g.Gather()
		}
	})
	b.Run("snapshot alone", func(b *testing.B) {
		var snap server.Snapshot
		b.ReportAllocs()
		for b.Loop() {
			s.SnapshotInto(&snap, nil)
		}
	})
}

// target are the counts of a backend. They are those of pkg/proxy, on which nothing here
// depends.
type target struct{ sessions, dials, up, down *atomic.Uint64 }

func targetsOf(s *server.Server) (all []target) {
	for _, p := range s.Snapshot().Pools {
		for i := range p.Backends {
			of := reflect.ValueOf(p.Backends[i].Value).Elem()
			count := func(name string) *atomic.Uint64 { return of.FieldByName(name).Addr().Interface().(*atomic.Uint64) }
			all = append(all, target{count("Sessions"), count("Dials"), count("Up"), count("Down")})
		}
	}
	return all
}

// work counts a session.
func (t target) work() {
	t.sessions.Add(1)
	t.dials.Add(1)
	t.up.Add(1 + rand.Uint64N(1000))
	t.down.Add(1 + rand.Uint64N(100_000))
}

// processTime is the CPU time that the process has used.
func processTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// scrapeAs asks once, and answers the length of the body.
func scrapeAs(tb testing.TB, url, accept, encoding string) int64 {
	tb.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Body.Close()
	n, err := io.Copy(io.Discard, w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		tb.Fatalf("scrape: %s, %v", w.Status, err)
	}
	return n
}
