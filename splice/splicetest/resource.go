package splicetest

import (
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/limeload/limeload/splice"
)

var resourceTests = []test{
	{"an idle session holds two descriptors", suite.idleDescriptors},
	{"sessions that wait for their turns use next to no processor time", suite.boundedProcessor},
	{"sessions that ended leave nothing behind", suite.churn},
	{"without free descriptors accepting pauses, and goes on when there are some", suite.acceptPause},
}

// idleDescriptors moves bytes first, so that whatever an engine takes for that has
// to be given back by a session that is idle.
func (s suite) idleDescriptors(t *testing.T) {
	r := s.rig(t, plan{})
	r.warmUp()
	before := len(openDescriptors(t))
	client, server, _ := r.connect()
	sent := background(t, "send", func() error { return sendPattern(server, 0, 8<<20, 256<<10) })
	for n := 0; n < 8<<20; {
		m, err := client.Read(make([]byte, 256<<10))
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	sent()
	roundTrip(t, client, server)
	eventually(t, "a session and its two peers hold four descriptors more, and no pipe is in use", func() bool {
		pipes, pooled := int64(0), int64(0)
		for _, loop := range r.engine.Stats() {
			pipes += loop.PipesInUse
			pooled += loop.PipesPooled
		}
		return pipes == 0 && len(openDescriptors(t))-int(2*pooled) <= before+4
	})
}

// warmUp makes a session and ends it, so that what is made once is there.
func (r *rig) warmUp() {
	r.t.Helper()
	client, server, session := r.connect()
	roundTrip(r.t, client, server)
	finish(r.t, client, server, session)
}

func (s suite) churn(t *testing.T) {
	n := 10_000
	if testing.Short() || raceDetector {
		n = 2_000
	}
	r := s.rig(t, plan{options: splice.Options{Threads: 2}})
	r.warmUp()
	eventually(t, "the first session is gone", func() bool { return sessions(r.engine) == 0 })
	descriptors, goroutines := len(openDescriptors(t)), runtime.NumGoroutine()

	var work sync.WaitGroup
	work.Go(func() { r.serveAndClose(n) })
	for range 8 {
		work.Go(func() { r.connectAndClose(n / 8) })
	}
	work.Wait()
	eventually(t, "all sessions are gone", func() bool { return sessions(r.engine) == 0 && r.live() == 0 })
	var pooled int64
	var accepted uint64
	for _, loop := range r.engine.Stats() {
		pooled += loop.PipesPooled
		accepted += loop.Accepted
	}
	if want := uint64(n + 1); accepted != want {
		t.Errorf("Stats got %d clients accepted; want %d", accepted, want)
	}
	eventually(t, "descriptors and goroutines are as many as before", func() bool {
		return len(openDescriptors(t))-int(2*pooled) <= descriptors && runtime.NumGoroutine() <= goroutines
	})
}

// sessions is the number that the engine says live.
func sessions(e splice.Engine) (n int64) {
	for _, loop := range e.Stats() {
		n += loop.Sessions
	}
	return n
}

// serveAndClose is a backend that closes n clients as soon as they have.
func (r *rig) serveAndClose(n int) {
	for range n {
		server, err := r.backend.Accept()
		if err != nil {
			r.t.Error(err)
			return
		}
		server.Read(make([]byte, 1))
		server.Close()
	}
}

// connectAndClose makes n sessions, one after the other.
func (r *rig) connectAndClose(n int) {
	for range n {
		client, err := net.Dial("tcp", r.listener.Addr().String())
		if err != nil {
			r.t.Error(err)
			return
		}
		client.Write([]byte("x"))
		client.Read(make([]byte, 1))
		client.Close()
	}
}
