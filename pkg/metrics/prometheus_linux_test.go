package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// startPrometheus runs a Prometheus that scrapes native histograms from an address, and answers
// its own.
func startPrometheus(t *testing.T, target string) (address string) {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus is not installed (Debian: prometheus)")
		}
		t.Skip("prometheus is not installed (Debian: prometheus)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	conf := fmt.Sprintf("scrape_configs: [{job_name: limeload, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	var log bytes.Buffer
	c := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+address, "--enable-feature=native-histograms")
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", &log)
		}
	})
	return address
}

// query answers the values of an expression as Prometheus writes them, without labels;
// none while it does not answer.
func query(address, expression string) (values []string) {
	w, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return nil
	}
	defer w.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if json.NewDecoder(w.Body).Decode(&answer) != nil {
		return nil
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

// Prometheus asks for compressed protobuf where it takes native histograms, and finds in it
// what happened.
func TestPrometheusScrapesProtobuf(t *testing.T) {
	s := two(t)
	h := Handler(s, Build{Version: "1"})
	var asked atomic.Bool // for compressed protobuf
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if w.Header().Get("Content-Encoding") == "gzip" && strings.Contains(w.Header().Get("Content-Type"), "protobuf") {
			asked.Store(true)
		}
	}))
	defer web.Close()
	address := startPrometheus(t, web.Listener.Addr().String())
	for range 3 {
		c := dial(t, s, "front")
		greeted(t, c)
		exchange(t, c, 100)
	}
	for _, tt := range []struct{ expression, want string }{
		{`limeload_listener_admitted_total{listener="front"}`, "3"},
		{`sum(limeload_backend_mode{mode="ready"})`, "3"},
		{`histogram_count(limeload_pool_connect_duration_seconds{pool="live"})`, "3"},
		{`histogram_count(limeload_pool_connect_duration_seconds{pool="dead"})`, "0"},
		{`histogram_quantile(1, limeload_pool_connect_duration_seconds{pool="live"}) < bool 5`, "1"},
		{`limeload_backend_connect_duration_seconds_count{backend="a"}`, "3"},
		{`limeload_build_info{version="1"}`, "1"},
	} {
		eventually(t, tt.expression+" is "+tt.want, func() bool {
			got := query(address, tt.expression)
			return len(got) == 1 && got[0] == tt.want
		})
	}
	if !asked.Load() {
		t.Error("it did not ask for compressed protobuf")
	}
}
