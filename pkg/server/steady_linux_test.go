//go:build !race

package server

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

// In the steady state neither an event nor a session allocates anything, the session's
// log line aside: nothing is left to the garbage collector, whatever the load. The
// process is measured, with the client and the server of the load in it, since what
// allocates may be anywhere between accept and the last count. The race detector's own
// allocations are in that, so it is left out there.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	backend, err := loadgen.Listen(loadgen.ServerOptions{Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	s := start(t, parse(t, `
log = { access = false }
engine = { type = "splice", threads = 1 }
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ address = %q }]
`, backend.Addresses()[0]))
	front := netip.MustParseAddrPort(s.Addr("front").String())

	for _, test := range []struct {
		name  string
		work  loadgen.Work
		count func(loadgen.Snapshot) uint64
	}{
		{"events", loadgen.Work{Mode: loadgen.PingPong, Connections: 32}, func(s loadgen.Snapshot) uint64 { return s.Operations }},
		{"sessions", loadgen.Work{Mode: loadgen.Connect, Connections: 32}, func(s loadgen.Snapshot) uint64 { return s.Operations }},
		{"splices", loadgen.Work{Mode: loadgen.Download, Connections: 4}, func(s loadgen.Snapshot) uint64 { return s.BytesDown >> 16 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			r, err := loadgen.Start(ctx, loadgen.Options{Targets: []netip.AddrPort{front}, Works: []loadgen.Work{test.work}, Duration: time.Hour, Threads: 1})
			defer stop()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				stop()
				r.Wait()
			}()
			<-r.Begun()
			allocated := func(n uint64) uint64 {
				var before, after runtime.MemStats
				from := test.count(r.Snapshot())
				runtime.ReadMemStats(&before)
				eventually(t, "the load goes on", func() bool { return test.count(r.Snapshot()) >= from+n })
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			const n = 5000
			allocated(n)                         // what is there for later is made once
			if got := allocated(n); got > n/20 { // others in this process now and then
				t.Errorf("%d allocations for %d %s; want hardly any", got, n, test.name)
			}
		})
	}
}
