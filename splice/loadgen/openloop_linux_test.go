package loadgen

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// stall is a server that answers at once, but for one message, which it keeps until
// release, which nil never is. It tells how long it kept it.
func stall(release <-chan struct{}) (handle func(peer), kept *atomic.Int64) {
	kept = new(atomic.Int64)
	return func(p peer) {
		_, _ = io.CopyN(p, p, 10*defaultSize)
		b := make([]byte, defaultSize)
		if _, err := io.ReadFull(p, b); err != nil {
			return
		}
		begun := time.Now()
		select {
		case <-release:
		case <-p.over:
		}
		kept.Store(int64(time.Since(begun)))
		_, _ = p.Write(b)
		_, _ = io.Copy(p, p)
	}, kept
}

// TestOpenLoopLatencyIncludesTheQueue: while the one connection waits for its answer,
// operations fall due that cannot begin. Each of them carries its wait; in a closed
// loop only the one operation does.
func TestOpenLoopLatencyIncludesTheQueue(t *testing.T) {
	const due = 100
	release := make(chan struct{})
	handle, kept := stall(release)
	r := start(t, Options{Targets: double(t, handle), Works: []Work{{Connections: 1, Rate: 1000}}, Duration: 2 * time.Second, Threads: 1})
	until(t, "operations to fall due behind the stalled one", func() bool { return r.Snapshot().Behind >= due })
	close(release)
	res, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	p := res.Reports[0]
	long := countAbove(p.Latency, time.Duration(kept.Load())/2)
	if want := uint64(due / 2 * 9 / 10); long < want {
		t.Errorf("the server kept one message for %s: got %d operations that took more than half of that; want at least %d", time.Duration(kept.Load()), long, want)
	}
	if got := p.Latency.Percentile(100); got < time.Duration(kept.Load())*9/10 {
		t.Errorf("got a longest latency of %s; want at least the stall's %s", got, time.Duration(kept.Load()))
	}
	if p.Latency.Count() != p.Operations+p.Unfinished {
		t.Errorf("got %d latencies; want one for each of %d operations and %d unfinished", p.Latency.Count(), p.Operations, p.Unfinished)
	}
}

// TestClosedLoopLatencyOfAStall: the stall is long, and there is hardly any other
// operation, so that none of these takes half as long.
func TestClosedLoopLatencyOfAStall(t *testing.T) {
	release := make(chan struct{})
	handle, kept := stall(release)
	r, stop := endless(t, Options{Targets: double(t, handle), Works: []Work{{Connections: 1}}, Threads: 1})
	<-r.Begun()
	time.AfterFunc(time.Second, func() { close(release) })
	until(t, "operations after the stall", func() bool { return r.Snapshot().Operations > 10 })
	res, err := stop()
	if err != nil {
		t.Fatal(err)
	}
	if got := countAbove(res.Reports[0].Latency, time.Duration(kept.Load())/2); got != 1 {
		t.Errorf("got %d operations longer than half the stall; want the stalled one alone", got)
	}
}

// TestOpenLoopCountsTheUnfinished: a server that never answers again leaves one sample
// for every operation that was due, not none.
func TestOpenLoopCountsTheUnfinished(t *testing.T) {
	handle, _ := stall(nil)
	res, err := start(t, Options{Targets: double(t, handle), Works: []Work{{Connections: 1, Rate: 1000}}, Duration: 300 * time.Millisecond, Threads: 1, Timeout: time.Second}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	p := res.Reports[0]
	if got, want := p.Latency.Count(), uint64(300); got != want {
		t.Errorf("got %d latencies; want one for each of %d operations that were due", got, want)
	}
	if p.Unfinished < 280 {
		t.Errorf("got %d unfinished; want all but the first few of 300", p.Unfinished)
	}
	if got, want := p.Latency.Percentile(100), 250*time.Millisecond; got < want {
		t.Errorf("got a longest wait of %s; want nearly the whole window", got)
	}
}

// TestOpenLoopCountsTheTimedOut: an operation that is given up has taken that long at
// least. Left out, the worst ones would be missing from the latencies. Opening a
// connection again is no operation.
func TestOpenLoopCountsTheTimedOut(t *testing.T) {
	const due, timeout = 1500, 500 * time.Millisecond
	handle, _ := stall(nil)
	r := start(t, Options{Targets: double(t, handle), Works: []Work{{Connections: 1, Rate: 1000}}, Duration: due * time.Millisecond, Threads: 1, Timeout: timeout})
	res, err := r.Wait()
	if err != nil {
		t.Fatal(err)
	}
	p := res.Reports[0]
	if p.Errors.Count[TimedOut] == 0 {
		t.Fatalf("got %v; want operations that timed out", p.Errors.Count)
	}
	if got := p.Latency.Count(); got != due {
		t.Errorf("got %d latencies, %d operations, %d unfinished, %d timed out; want a latency for each of %d operations that were due",
			got, p.Operations, p.Unfinished, p.Errors.Count[TimedOut], due)
	}
}

// TestOpeningIsNoOperation: a connection that is still being opened again when the
// window ends has nothing of the schedule under way.
func TestOpeningIsNoOperation(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o := Options{Targets: []netip.AddrPort{ln.Addr().(*net.TCPAddr).AddrPort()}, Works: []Work{{Connections: 1, Rate: 1000}}, Threads: 1}
	r := &Run{options: o.completed()}
	r.trying.Add(1)
	th, err := newThread(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	c := &th.conns[0]
	th.begin, th.now, th.pending = 0, 1000, []*conn{c}
	th.dialPending()
	if c.state != dialing {
		t.Fatalf("got state %d; want the connect under way", c.state)
	}
	defer sys.Close(c.fd)
	th.end = 2000
	th.countUnfinished(c)
	if c.job.unfinished != 0 || c.job.latency.Count() != 0 {
		t.Errorf("got %d unfinished and %d latencies; want none", c.job.unfinished, c.job.latency.Count())
	}
}

// TestOpenLoopLosesIdleConnections: a connection that the server ends while nothing is
// due is opened again, and the schedule is kept with those that there are.
func TestOpenLoopLosesIdleConnections(t *testing.T) {
	const rate = 20
	targets := double(t, echoThen(end)) // the opening message, and no other
	r, stop := endless(t, Options{Targets: targets, Works: []Work{{Connections: 4, Rate: rate}}, Threads: 1})
	until(t, "every connection to be closed several times", func() bool { return r.Snapshot().Errors >= 12 })
	res, err := stop()
	if err != nil {
		t.Fatal(err)
	}
	p := res.Reports[0]
	if got := p.Errors.Count[Closed]; got < 12 || got != p.Errors.Total() {
		t.Errorf("got %v, first %v; want every connection closed several times", p.Errors.Count, p.Errors.First)
	}
	j := r.threads[0].jobs[0]
	if n := len(j.free); n > 4 {
		t.Errorf("got %d free connections; want at most the 4 that there are", n)
	}
}

// countAbove is how many latencies are longer than d.
func countAbove(l Latency, d time.Duration) (n uint64) {
	for _, b := range l.h.Distribution() {
		if b.From > int64(d) {
			n += uint64(b.Count)
		}
	}
	return n
}
