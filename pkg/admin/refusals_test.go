package admin

import (
	"net"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// A listener tells whom it did not let in.
func TestRefusals(t *testing.T) {
	r := newRig(t, Options{}, true)
	if got := r.get(t, "/api/v1/listeners"); !strings.Contains(got, `"held":0,"refused":{}`) {
		t.Errorf("without limits: got %s; want nobody refused", got)
	}
	snap := r.Snapshot()
	next, err := config.Parse("test.toml", []byte(`
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
access = { deny = ["127.0.0.0/8"] }
[[pool]]
name = "pool"
backend = [{ name = "a", address = "`+snap.Pools[0].Backends[0].Address+`" }]
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", r.Addr("front").String()); err == nil {
		c.Read(make([]byte, 1))
		c.Close()
	}
	if got := r.get(t, "/api/v1/listeners"); !strings.Contains(got, `"refused":{"access-denied":1}`) {
		t.Errorf("got %s; want one refused", got)
	}
	told := func(l Listener) bool {
		return len(l.Lately) == 1 && l.Lately[0].Reason == "access-denied" && l.Lately[0].Client == "127.0.0.1" && strings.HasPrefix(l.Lately[0].Rule, "deny 127.0.0.0/8 (test.toml:")
	}
	r.await(t, "the latest refused client and its rule", func() bool { return told(as[[]Listener](t, r, "/api/v1/listeners")[0]) })
	r.await(t, "an event of it", func() bool {
		got := r.get(t, "/api/v1/events")
		return strings.Contains(got, `"new":"access-denied"`) && strings.Contains(got, `"refused":{"reason":"access-denied","count":1,`)
	})
	if got := r.get(t, "/api/v1/explain?client=127.0.0.1"); !strings.Contains(got, `"outcome":"refused"`) {
		t.Errorf("got %s; want it foreseen", got)
	}
	if got := r.get(t, "/api/v1/openapi.json"); !strings.Contains(got, "refused_dry_run") {
		t.Error("the description does not have refused_dry_run")
	}
}
