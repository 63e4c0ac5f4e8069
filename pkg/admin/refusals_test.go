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
	if got := r.get(t, "/api/v1/openapi.json"); !strings.Contains(got, "refused_dry_run") {
		t.Error("the description does not have refused_dry_run")
	}
}
