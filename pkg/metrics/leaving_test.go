package metrics

import (
	"fmt"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// A removed backend keeps its counts until its last session has ended, and is none
// that could be down.
func TestRemovedBackendIsScraped(t *testing.T) {
	s := two(t)
	live := dial(t, s, "front")
	greeted(t, live)
	exchange(t, live, 100)
	conf, err := config.Parse("test.toml", fmt.Appendf(nil, `
shutdown = { drain_timeout = "1h" }
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "live"
[[pool]]
name = "live"
backend = [{ name = "other", address = %q }]
`, echo(t)))
	if err == nil {
		err = conf.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	h := Handler(s, Build{})
	got := scrape(t, h)
	for name, want := range map[string]float64{"sessions_active": 1, "sessions_total": 1} {
		if v := got.value(t, "limeload_backend_"+name, "pool", "live", "backend", "a"); v != want {
			t.Errorf("%s of a removed backend: %v; want %v", name, v, want)
		}
	}
	if v := got.value(t, "limeload_backend_mode", "pool", "live", "backend", "a", "mode", "removed"); v != 1 {
		t.Errorf("mode removed: %v; want 1", v)
	}
	if v := got.value(t, "limeload_pool_sessions_active", "pool", "live"); v != 1 {
		t.Errorf("sessions of the pool: %v; want the 1 of its removed backend", v)
	}
	for _, name := range []string{"up", "usable", "weight", "probe_success"} {
		for _, m := range got["limeload_backend_"+name].GetMetric() {
			if has(m, []string{"pool", "live", "backend", "a"}) {
				t.Errorf("got %s of a removed backend", name)
			}
		}
	}
	live.Close()
	eventually(t, "its series have ended", func() bool {
		for _, m := range scrape(t, h)["limeload_backend_sessions_total"].GetMetric() {
			if has(m, []string{"pool", "live", "backend", "a"}) {
				return false
			}
		}
		return true
	})
}
