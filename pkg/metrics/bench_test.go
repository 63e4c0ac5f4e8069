package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
// for it.
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
	web := httptest.NewServer(Handler(s, Build{Version: "test"}))
	b.Cleanup(web.Close)
	for _, test := range []struct{ name, accept, encoding string }{
		{"text", "text/plain;version=0.0.4", "identity"},
		{"openmetrics", "application/openmetrics-text;version=1.0.0", "identity"},
		{"openmetrics,gzip", "application/openmetrics-text;version=1.0.0", "gzip"},
		{"protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "identity"},
	} {
		b.Run(test.name, func(b *testing.B) {
			var n int64
			b.ReportAllocs()
			for b.Loop() {
				n = scrapeAs(b, web.URL, test.accept, test.encoding)
			}
			b.ReportMetric(float64(n)/1e6, "MB")
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
		b.ReportAllocs()
		for b.Loop() {
			sink = s.Snapshot()
		}
	})
}

var sink server.Snapshot

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
