package metrics

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scraped are the families of one scrape, by name.
type scraped map[string]*dto.MetricFamily

const (
	textFormat        = "text/plain;version=0.0.4"
	openMetricsFormat = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1"
	protobufFormat    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// ask is one scrape; it answers the response with its body read.
func ask(t *testing.T, h http.Handler, accept, encoding string) (*http.Response, []byte) {
	t.Helper()
	return askFor(t, h, "/metrics", accept, encoding)
}

func askFor(t *testing.T, h http.Handler, target, accept, encoding string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v\n%s", resp.Status, err, body)
	}
	return resp, body
}

func scrape(t *testing.T, h http.Handler) scraped {
	t.Helper()
	_, body := ask(t, h, textFormat, "")
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value is the sample of a family that has these labels, name and value in turn. A
// histogram and a summary answer their count.
func (s scraped) value(t *testing.T, name string, pairs ...string) float64 {
	t.Helper()
	for _, m := range s[name].GetMetric() {
		if !has(m, pairs) {
			continue
		}
		switch s[name].GetType() {
		case dto.MetricType_COUNTER:
			return m.GetCounter().GetValue()
		case dto.MetricType_GAUGE:
			return m.GetGauge().GetValue()
		case dto.MetricType_HISTOGRAM:
			return float64(m.GetHistogram().GetSampleCount())
		case dto.MetricType_SUMMARY:
			return float64(m.GetSummary().GetSampleCount())
		}
	}
	t.Fatalf("got no %s with %q", name, pairs)
	return 0
}

// has reports whether m has exactly these labels.
func has(m *dto.Metric, pairs []string) bool {
	if len(m.Label)*2 != len(pairs) {
		return false
	}
	for i := 0; i < len(pairs); i += 2 {
		found := false
		for _, l := range m.Label {
			found = found || l.GetName() == pairs[i] && l.GetValue() == pairs[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

func dial(t *testing.T, s *server.Server, listener string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr(listener).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// turnedAway is a client that gets a reset, which may already meet its connect.
func turnedAway(t *testing.T, s *server.Server, listener string) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr(listener).String())
	if err != nil {
		return
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes from a listener without a backend; want an error", n)
	}
}

func greeted(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, len(greeting))); err != nil {
		t.Fatal(err)
	}
}

func exchange(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func TestScrape(t *testing.T) {
	s := two(t)
	h := Handler(s, Build{Version: "1.2.3", Commit: "abc"})
	eventually(t, "both backends were probed", func() bool {
		up, down := s.Snapshot().Pools[0].Backends[0].Check, s.Snapshot().Pools[0].Backends[1].Check
		return up.State.String() == "up" && down.State.String() == "down"
	})
	ended := dial(t, s, "front")
	greeted(t, ended)
	exchange(t, ended, 1000)
	ended.Close()
	live := dial(t, s, "front")
	greeted(t, live)
	exchange(t, live, 500)
	turnedAway(t, s, "back")
	eventually(t, "two sessions have ended", func() bool {
		ls := s.Snapshot().Listeners
		return ls[0].Ended[splice.ReasonClientClosed] == 1 && ls[0].Active == 1 &&
			ls[1].Ended[splice.ReasonConnectFailed] == 1 && ls[1].Active == 0
	})

	got := scrape(t, h)
	for _, test := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{0, "limeload_stopping", nil},
		{1, "limeload_sessions_active", nil},
		{1, "limeload_listener_listening", []string{"listener", "front"}},
		{2, "limeload_listener_admitted_total", []string{"listener", "front"}},
		{1, "limeload_listener_sessions_active", []string{"listener", "front"}},
		{1, "limeload_listener_sessions_total", []string{"listener", "front", "reason", "client-closed"}},
		{0, "limeload_listener_sessions_total", []string{"listener", "front", "reason", "connect-failed"}},
		{1, "limeload_listener_sessions_total", []string{"listener", "back", "reason", "connect-failed"}},
		{7, "limeload_listener_max_connections", []string{"listener", "back"}},
		{1500, "limeload_listener_bytes_total", []string{"listener", "front", "direction", "up"}},
		{1512, "limeload_listener_bytes_total", []string{"listener", "front", "direction", "down"}},
		{1, "limeload_listener_session_duration_seconds", []string{"listener", "front"}},
		{0, "limeload_listener_retries_total", []string{"listener", "back"}},
		{2, "limeload_pool_backends", []string{"pool", "live"}},
		{1, "limeload_pool_backends_usable", []string{"pool", "live"}},
		{2, "limeload_pool_sessions_total", []string{"pool", "live"}},
		{2, "limeload_pool_connect_duration_seconds", []string{"pool", "live"}},
		{1500, "limeload_pool_bytes_total", []string{"pool", "live", "direction", "up"}},
		{1, "limeload_backend_up", []string{"pool", "live", "backend", "a"}},
		{0, "limeload_backend_up", []string{"pool", "live", "backend", "b"}},
		{1, "limeload_backend_up", []string{"pool", "dead", "backend", "x"}},
		{1, "limeload_backend_usable", []string{"pool", "live", "backend", "a"}},
		{1, "limeload_backend_health", []string{"pool", "live", "backend", "b", "health", "down"}},
		{0, "limeload_backend_health", []string{"pool", "live", "backend", "b", "health", "up"}},
		{1, "limeload_backend_mode", []string{"pool", "live", "backend", "a", "mode", "ready"}},
		{0, "limeload_backend_mode", []string{"pool", "live", "backend", "a", "mode", "drain"}},
		{3, "limeload_backend_weight", []string{"pool", "live", "backend", "a"}},
		{90, "limeload_backend_max_connections", []string{"pool", "live", "backend", "a"}},
		{1, "limeload_backend_sessions_active", []string{"pool", "live", "backend", "a"}},
		{2, "limeload_backend_sessions_total", []string{"pool", "live", "backend", "a"}},
		{2, "limeload_backend_dials_total", []string{"pool", "live", "backend", "a"}},
		{2, "limeload_backend_connect_duration_seconds", []string{"pool", "live", "backend", "a"}},
		{1512, "limeload_backend_bytes_total", []string{"pool", "live", "backend", "a", "direction", "down"}},
		{1, "limeload_backend_dial_failures_total", []string{"pool", "dead", "backend", "x", "cause", "refused"}},
		{0, "limeload_backend_dial_failures_total", []string{"pool", "dead", "backend", "x", "cause", "timeout"}},
		{1, "limeload_backend_probe_success", []string{"pool", "live", "backend", "a"}},
		{0, "limeload_backend_probe_success", []string{"pool", "live", "backend", "b"}},
		{1, "limeload_backend_health_changes_total", []string{"pool", "live", "backend", "a"}},
	} {
		if v := got.value(t, test.name, test.labels...); v != test.want {
			t.Errorf("%s%q = %v; want %v", test.name, test.labels, v, test.want)
		}
	}
	if n := got.value(t, "limeload_backend_probes_total", "pool", "live", "backend", "b", "verdict", "down"); n < 1 {
		t.Errorf("probes that said down: got %v; want at least 1", n)
	}
	for _, name := range []string{"limeload_build_info", "go_goroutines", "process_open_fds", "limeload_loop_events_total"} {
		if got[name] == nil {
			t.Errorf("got no %s", name)
		}
	}
	if accepted := sum(got["limeload_loop_accepted_total"]); accepted != 3 {
		t.Errorf("clients accepted by all loops: got %v; want 3", accepted)
	}
	for _, m := range got["limeload_backend_probe_success"].GetMetric() {
		if has(m, []string{"pool", "dead", "backend", "x"}) {
			t.Error("got a probe of a backend that has none")
		}
	}
}

func sum(f *dto.MetricFamily) (total float64) {
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

func TestNamesAreClean(t *testing.T) {
	all, err := New(two(t), Build{Version: "1"}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// No two samples may have the same name and labels: nothing on the way looks.
func TestSamplesAreUnique(t *testing.T) {
	all, err := New(two(t), Build{Version: "1"}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]bool{}
	for _, f := range all {
		if families[f.GetName()] {
			t.Errorf("family %s twice", f.GetName())
		}
		families[f.GetName()] = true
		samples := map[string]bool{}
		for _, m := range f.Metric {
			var key strings.Builder
			for _, l := range m.Label {
				key.WriteString(l.GetName() + "=" + l.GetValue() + ",")
			}
			if samples[key.String()] {
				t.Errorf("%s{%s} twice", f.GetName(), &key)
			}
			samples[key.String()] = true
		}
	}
}

func TestFormats(t *testing.T) {
	h := Handler(two(t), Build{Version: "1"})
	t.Run("text", func(t *testing.T) {
		resp, _ := ask(t, h, textFormat, "")
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("Content-Type %q; want text/plain", got)
		}
	})
	t.Run("OpenMetrics", func(t *testing.T) {
		resp, body := ask(t, h, openMetricsFormat, "")
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
			t.Errorf("Content-Type %q; want application/openmetrics-text", got)
		}
		if !strings.HasSuffix(string(body), "# EOF\n") {
			t.Error("the body does not end with # EOF")
		}
	})
	t.Run("protobuf has native histograms", func(t *testing.T) {
		resp, body := ask(t, h, protobufFormat, "")
		d := expfmt.NewDecoder(strings.NewReader(string(body)), expfmt.ResponseFormat(resp.Header))
		for {
			var f dto.MetricFamily
			if err := d.Decode(&f); err != nil {
				t.Fatalf("got no native histogram: %v", err)
			}
			if f.GetName() == "limeload_pool_connect_duration_seconds" {
				if h := f.Metric[0].Histogram; h.Schema == nil || len(h.Bucket) == 0 {
					t.Errorf("got %v; want native and plain buckets", h)
				}
				return
			}
		}
	})
	t.Run("gzip", func(t *testing.T) {
		resp, body := ask(t, h, textFormat, "deflate, gzip;q=0.8")
		z, err := gzip.NewReader(strings.NewReader(string(body)))
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("Content-Encoding %q, %v; want gzip", resp.Header.Get("Content-Encoding"), err)
		}
		if text, err := io.ReadAll(z); err != nil || !strings.Contains(string(text), "limeload_build_info") {
			t.Errorf("read %d bytes, %v; want the metrics", len(text), err)
		}
	})
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "identity": false, "gzip": true, "deflate, GZIP": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"gzip;q=0.01": true, "gzip;q=1, identity;q=0": true, "x-gzip": false,
	} {
		if got := takesGzip([]string{accept}); got != want {
			t.Errorf("takesGzip(%q) = %v; want %v", accept, got, want)
		}
	}
}
