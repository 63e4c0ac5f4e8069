package metrics

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// Clients that were refused are counted by reason; listeners that ask nothing have no
// such samples.
func TestRefused(t *testing.T) {
	s := start(t, fmt.Sprintf(`
[[listener]]
name = "denied"
listen = ["127.0.0.1:0"]
pool = "pool"
access = { deny = ["127.0.0.0/8"] }
[[listener]]
name = "pretended"
listen = ["127.0.0.1:0"]
pool = "pool"
access = { deny = ["127.0.0.0/8"], dry_run = true }
[[listener]]
name = "open"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ address = %q }]
`, echo(t)))
	for _, listener := range []string{"denied", "pretended", "pretended", "open"} {
		if c, err := net.Dial("tcp", s.Addr(listener).String()); err == nil {
			io.ReadFull(c, make([]byte, len(greeting)))
			c.Close()
		}
	}
	m := scrape(t, Handler(s, Build{}))
	for _, c := range []struct {
		family, listener string
		want             float64
	}{
		{"limeload_listener_refused_total", "denied", 1},
		{"limeload_listener_refused_total", "pretended", 0},
		{"limeload_listener_refused_dry_run_total", "denied", 0},
		{"limeload_listener_refused_dry_run_total", "pretended", 2},
	} {
		if got := m.value(t, c.family, "listener", c.listener, "reason", "access-denied"); got != c.want {
			t.Errorf("%s of %s: got %v; want %v", c.family, c.listener, got, c.want)
		}
	}
	for _, row := range m["limeload_listener_refused_total"].GetMetric() {
		for _, l := range row.GetLabel() {
			if l.GetValue() == "open" {
				t.Fatal("a listener that asks nothing has samples of refusals")
			}
		}
	}
}

// Who waits for a backend's rate is shown of pools that have one, and of no others.
func TestHeldByAPool(t *testing.T) {
	backend := echo(t)
	s := start(t, fmt.Sprintf(`
listener = [{ name = "slow", listen = ["127.0.0.1:0"], pool = "slow" }, { name = "open", listen = ["127.0.0.1:0"], pool = "open" }]
[[pool]]
name = "slow"
health = { type = "none" }
limits = { rate = 1, burst = 1, max_delay = "1h" }
backend = [{ address = %q }]
[[pool]]
name = "open"
health = { type = "none" }
backend = [{ address = %q }]
`, backend, backend))
	for range 60 { // enough for a minute
		c, err := net.Dial("tcp", s.Addr("slow").String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	held := func() []*dto.Metric { return scrape(t, Handler(s, Build{}))["limeload_pool_held"].GetMetric() }
	eventually(t, "some are held", func() bool {
		return slices.ContainsFunc(held(), func(m *dto.Metric) bool { return m.GetGauge().GetValue() > 0 })
	})
	if rows := held(); len(rows) != 1 || rows[0].GetLabel()[0].GetValue() != "slow" {
		t.Errorf("got %v; want one sample, of the pool that has a rate", rows)
	}
}
