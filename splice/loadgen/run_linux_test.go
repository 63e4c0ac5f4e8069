package loadgen

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestRun lets every kind of work run against our own server: all bytes are verified
// on both sides, and the figures agree with one another.
func TestRun(t *testing.T) {
	for name, w := range map[string]Work{
		"pingpong/one":        {Mode: PingPong, Connections: 1},
		"pingpong/many":       {Mode: PingPong, Connections: 100},
		"pingpong/one-byte":   {Mode: PingPong, Connections: 3, Size: 1},
		"pingpong/megabytes":  {Mode: PingPong, Connections: 3, Size: 3<<20 + 1},
		"pingpong/open-loop":  {Mode: PingPong, Connections: 16, Rate: 2000},
		"connect":             {Mode: Connect, Connections: 16},
		"connect/large":       {Mode: Connect, Connections: 5, Size: 600_001},
		"connect/open-loop":   {Mode: Connect, Connections: 16, Rate: 300},
		"upload":              {Mode: Upload, Connections: 3},
		"upload/small-writes": {Mode: Upload, Connections: 3, Size: 1000},
		"download":            {Mode: Download, Connections: 3},
		"idle":                {Mode: Idle, Connections: 300},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []Verify{VerifyAll, VerifySample, VerifyNone} {
				s := listen(t, ServerOptions{Verify: v})
				p := reportsWhen(t, Options{Targets: s.Addresses(), Works: []Work{w}, Verify: v}, "work in the window", worked)[0]
				if n := p.Errors.Total(); n != 0 {
					t.Errorf("%s: got %d errors, %v; want none", v, n, p.Errors.First)
				}
				if n := s.Stats().Corrupt; n != 0 {
					t.Errorf("%s: the server got %d wrong reads; want none", v, n)
				}
				checkFigures(t, p)
			}
		})
	}
}

// worked is seen when w has done more since the window began than fits in the turn of
// its threads in which they have not heard of the window yet.
func worked(w Work, begun, now Snapshot) bool {
	const turns = 3
	streamed := uint64(turns * w.Connections * turnCalls * w.Size)
	switch w.Mode {
	case Upload:
		return now.BytesUp-begun.BytesUp > streamed
	case Download:
		return now.BytesDown-begun.BytesDown > streamed
	case Idle:
		return true
	}
	return now.Operations-begun.Operations > uint64(turns*w.Connections)
}

// checkFigures tells what a report with so much work cannot say.
func checkFigures(t *testing.T, p Report) {
	t.Helper()
	size := uint64(p.Work.Size)
	inFlight := 2 * uint64(p.Work.Connections) * size // one message is under way, and one ended in the turn in which the window began
	switch p.Work.Mode {
	case PingPong, Connect:
		if p.Operations == 0 {
			t.Error("got no operations")
		}
		if p.BytesUp+inFlight < p.Operations*size || p.BytesDown+inFlight < p.Operations*size {
			t.Errorf("got %d bytes up and %d down; want about %d x %d", p.BytesUp, p.BytesDown, p.Operations, size)
		}
		if n := p.Latency.Count(); p.Work.Rate == 0 && n != p.Operations {
			t.Errorf("got %d latencies; want one for each of %d operations", n, p.Operations)
		}
	case Upload:
		if p.BytesUp == 0 || p.BytesDown != 0 {
			t.Errorf("got %d bytes up and %d down; want only up", p.BytesUp, p.BytesDown)
		}
	case Download:
		if p.BytesDown == 0 || p.BytesUp != 0 {
			t.Errorf("got %d bytes up and %d down; want only down", p.BytesUp, p.BytesDown)
		}
	}
	if p.Work.Mode != Connect && p.Open != p.Work.Connections {
		t.Errorf("got %d connections open at the end; want %d", p.Open, p.Work.Connections)
	}
	if p.Stalled > 0 && p.Work.Mode != Idle {
		t.Errorf("got %d connections that stood still", p.Stalled)
	}
}

func TestMixed(t *testing.T) {
	s := listen(t, ServerOptions{})
	reports := reportsWhen(t, Options{Targets: s.Addresses(), Works: Mixed(16, 100, 500)}, "work of every kind in the window", worked)
	want := []Work{{PingPong, 10, 100, 500}, {Connect, 2, 100, 0}, {Upload, 2, chunkSize, 0}, {Download, 2, chunkSize, 0}}
	for i, p := range reports {
		if n := p.Errors.Total(); n != 0 {
			t.Errorf("%s: got %d errors, %v; want none", p.Work.Mode, n, p.Errors.First)
		}
		if p.Work != want[i] {
			t.Errorf("got %+v; want %+v", p.Work, want[i])
		}
		checkFigures(t, p)
	}
}

// TestRunSpreads shows every target and source in use.
func TestRunSpreads(t *testing.T) {
	a := listen(t, ServerOptions{Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0"), netip.MustParseAddrPort("127.0.0.3:0")}})
	b := listen(t, ServerOptions{})
	r := start(t, Options{
		Targets: append(a.Addresses(), b.Addresses()...),
		Sources: []netip.Addr{netip.MustParseAddr("127.0.0.4"), netip.MustParseAddr("127.0.0.5")},
		Works:   []Work{{Mode: Idle, Connections: 30}}, Duration: time.Hour,
	})
	<-r.Begun()
	if got, want := [2]int{a.Stats().Open, b.Stats().Open}, [2]int{20, 10}; got != want {
		t.Errorf("got %v connections at the servers; want %v", got, want)
	}
}

func TestRunCountsWhatIsOpen(t *testing.T) {
	s := listen(t, ServerOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Start(ctx, Options{Targets: s.Addresses(), Works: []Work{{Mode: Idle, Connections: 200}}, Duration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Begun()
	if n := r.Snapshot(); n.Open != 200 || n.Phase != Measuring || s.Stats().Open != 200 {
		t.Errorf("got %+v, %d at the server; want 200 open, measuring", n, s.Stats().Open)
	}
	cancel()
	res, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if p := res.Reports[0]; p.Open != 200 || res.Elapsed >= time.Hour {
		t.Errorf("stopped early: got %d open, %s elapsed; want 200 and less than planned", p.Open, res.Elapsed)
	}
	until(t, "the server to see every end", func() bool { return s.Stats().Open == 0 })
}

func TestRunEndsBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := listen(t, ServerOptions{})
	r, err := Start(ctx, Options{Targets: s.Addresses(), Works: []Work{{Connections: 4}}, Duration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Begun()
	<-r.Ended()
	if _, err := r.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want context canceled", err)
	}
}

func TestRunRefused(t *testing.T) {
	s := listen(t, ServerOptions{})
	s.Close()
	_, err := start(t, Options{Targets: s.Addresses(), Works: []Work{{Connections: 4}}}).Wait()
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v; want connection refused", err)
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	good := Options{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}, Duration: 1, Works: []Work{{Connections: 1}}}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no target":    {func(o *Options) { o.Targets = nil }, "no target"},
		"no port":      {func(o *Options) { o.Targets = []netip.AddrPort{anyPort} }, "target 127.0.0.1:0: no address with a port"},
		"IPv6 to IPv4": {func(o *Options) { o.Sources = []netip.Addr{netip.IPv6Loopback()} }, "source ::1: is of another family than target 127.0.0.1:9"},
		"IPv4 to IPv6": {func(o *Options) {
			o.Targets = []netip.AddrPort{netip.MustParseAddrPort("[::1]:9")}
			o.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
		}, "source 127.0.0.2: is of another family than target [::1]:9"},
		"no duration":        {func(o *Options) { o.Duration = 0 }, "duration 0s: want more than 0"},
		"negative warm-up":   {func(o *Options) { o.Warmup = -1 }, "negative warm-up or timeout"},
		"negative threads":   {func(o *Options) { o.Threads = -1 }, "threads -1: want 0 or more"},
		"nothing to do":      {func(o *Options) { o.Works = nil }, "nothing to do"},
		"no connections":     {func(o *Options) { o.Works = []Work{{}} }, "pingpong: connections 0: want at least 1"},
		"huge message":       {func(o *Options) { o.Works = []Work{{Connections: 1, Size: maxSize + 1}} }, "pingpong: size 1073741825: out of range 0..1073741824"},
		"negative rate":      {func(o *Options) { o.Works = []Work{{Connections: 1, Rate: -1}} }, "pingpong: rate -1: out of range 0..1e9"},
		"rate of a download": {func(o *Options) { o.Works = []Work{{Mode: Download, Connections: 1, Rate: 1}} }, "download: has no rate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			if _, err := Start(context.Background(), o); err == nil || err.Error() != c.want {
				t.Errorf("got %v; want %s", err, c.want)
			}
		})
	}
}

// TestNoAllocationPerOperation counts what the whole process allocates, server
// included, while operations go on.
func TestNoAllocationPerOperation(t *testing.T) {
	for _, m := range []Mode{PingPong, Connect} {
		t.Run(m.String(), func(t *testing.T) {
			s := listen(t, ServerOptions{})
			r := start(t, Options{Targets: s.Addresses(), Works: []Work{{Mode: m, Connections: 32}}, Duration: time.Hour})
			<-r.Begun()
			var before, after runtime.MemStats
			from := r.Snapshot().Operations
			runtime.ReadMemStats(&before)
			until(t, "2000 operations", func() bool { return r.Snapshot().Operations > from+2000 })
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > 500 {
				t.Errorf("got %d allocations in 2000 operations; want hardly any", n)
			}
		})
	}
}
