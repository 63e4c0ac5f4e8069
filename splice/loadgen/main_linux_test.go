package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails on descriptors and goroutines that are left.
func TestMain(m *testing.M) {
	before := descriptors()
	status := m.Run()
	if status == 0 {
		if err := errors.Join(goleak.Find(), leaked(before)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// leaked waits for the number of descriptors to come down: the other end of a
// connection may take a moment.
func leaked(before int) error {
	for range 3000 {
		if descriptors() <= before {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
		runtime.GC()
	}
	return fmt.Errorf("descriptors: got %d; want %d", descriptors(), before)
}

// descriptors counts this process's descriptors; those of the Go netpoller, which
// stay, are open afterwards.
func descriptors() int {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}

const soon = 100 * time.Millisecond

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

func listen(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	if o.Addresses == nil {
		o.Addresses = []netip.AddrPort{anyPort}
	}
	if o.Threads == 0 {
		o.Threads = 2
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func start(t *testing.T, o Options) *Run {
	t.Helper()
	if o.Duration == 0 {
		o.Duration = soon
	}
	r, _ := startUntil(t, o)
	return r
}

// endless starts a run that goes on until stop, which answers what the run did.
func endless(t *testing.T, o Options) (r *Run, stop func() (*Result, error)) {
	t.Helper()
	o.Duration = time.Hour
	return startUntil(t, o)
}

// startUntil starts a run that ends by itself, at stop, or with t.
func startUntil(t *testing.T, o Options) (r *Run, stop func() (*Result, error)) {
	t.Helper()
	if o.Threads == 0 {
		o.Threads = 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Start(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	stop = func() (*Result, error) {
		cancel()
		return r.Wait()
	}
	t.Cleanup(func() { stop() })
	return r, stop
}

// report is what the only Work of a run did, be it that it failed to begin.
func report(t *testing.T, o Options) Report {
	t.Helper()
	res, _ := start(t, o).Wait()
	return res.Reports[0]
}

// reportsWhen makes load until seen answers true of each Work's counts since the window
// began, however long that takes, and answers what the Works did, be it that the run
// failed to begin.
func reportsWhen(t *testing.T, o Options, what string, seen func(w Work, begun, now Snapshot) bool) []Report {
	t.Helper()
	r, stop := endless(t, o)
	<-r.Begun()
	for i, w := range r.options.Works {
		begun := counts(r, i)
		until(t, what, func() bool { return seen(w, begun, counts(r, i)) })
	}
	res, _ := stop()
	return res.Reports
}

// counts is a Snapshot of one Work.
func counts(r *Run, work int) (s Snapshot) {
	for _, t := range r.threads {
		t.jobs[work].live.addTo(&s)
	}
	return s
}

// failing is seen when there was an error.
func failing(_ Work, _, now Snapshot) bool { return now.Errors > 0 }

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: has not come", what)
		}
	}
}

// peer is the server's end of one connection; over is closed when the test ends.
type peer struct {
	*net.TCPConn
	over <-chan struct{}
}

// double is a server written with net, for what a good server does not do.
func double(t *testing.T, handle func(peer)) []netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			all.Go(func() {
				defer stop()
				defer c.Close()
				handle(peer{c.(*net.TCPConn), ctx.Done()})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		all.Wait()
	})
	return []netip.AddrPort{netip.MustParseAddrPort(ln.Addr().String())}
}
