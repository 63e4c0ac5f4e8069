package soak

import (
	"os"
	"runtime"
	"time"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
)

// usage is what the process holds.
type usage struct{ descriptors, goroutines int }

// usage is what the process holds beyond the engine's pooled pipes.
func (s *soak) usage() usage {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Fatal(err)
	}
	u := usage{descriptors: len(entries), goroutines: runtime.NumGoroutine()}
	for _, loop := range s.server.Snapshot().Loops {
		u.descriptors -= 2 * int(loop.PipesPooled)
	}
	return u
}

// heap is what lives on it.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one only moved out of the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// within waits for a condition, and answers whether it came to be.
func within(ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// settle waits until everything that the traffic took is given back, and compares
// what limeload counted with its log.
func (s *soak) settle(rest usage) {
	s.t.Helper()
	s.eventually("no session lives", func() bool { return live(s.server.Snapshot()) == 0 })
	s.eventually("no backend has a connection", func() bool { return s.connections() == 0 })
	s.eventually("the log has a line for each session", func() bool { return s.lines() == admitted(s.server.Snapshot()) })
	s.eventually("limeload has told of the sessions that it drained", s.toldOfDrained)
	s.ledger.settle()
	s.eventually("descriptors and goroutines are as many as before", func() bool {
		now := s.usage()
		return now.descriptors <= rest.descriptors && now.goroutines <= rest.goroutines
	})
	if s.t.Failed() {
		s.t.FailNow()
	}
	s.compare(s.server.Snapshot())
}

func (s *soak) eventually(what string, ok func() bool) {
	s.t.Helper()
	if !within(ok) {
		s.t.Fatalf("-soak.seed=%d: never: %s; %+v, %+v", s.ledger.seed, what, s.usage(), s.server.Snapshot())
	}
}

// live adds up everything that tells of a session that lives.
func live(snap server.Snapshot) int {
	n := snap.Sessions
	for _, l := range snap.Listeners {
		n += l.Active
	}
	for _, p := range snap.Pools {
		for _, b := range p.Backends {
			n += int(b.Active)
		}
	}
	for _, loop := range snap.Loops {
		n += int(loop.Sessions) + int(loop.PipesInUse)
	}
	return n
}

func admitted(snap server.Snapshot) (n int64) {
	for _, l := range snap.Listeners {
		n += int64(l.Sessions)
	}
	return n
}

func (s *soak) connections() (n int) {
	for _, b := range s.ledger.backends {
		n += b.live()
	}
	return n
}

func (s *soak) lines() (n int64) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, l := range s.ledger.sums.listeners {
		n += l.sessions
	}
	return n
}

// toldOfDrained reports whether the lines about cuts, which come after those of the
// sessions, are as many as the cuts.
func (s *soak) toldOfDrained() bool {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	n := 0
	for _, l := range s.ledger.sums.listeners {
		n += int(l.ended[splice.ReasonDrained])
	}
	return s.ledger.sums.told[splice.ReasonDrained.String()] == n
}

// compare holds limeload's totals against the sums of its log.
func (s *soak) compare(snap server.Snapshot) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	same := func(of, what string, got uint64, want int64) {
		s.t.Helper()
		if got != uint64(want) {
			s.t.Errorf("-soak.seed=%d: %s counts %d %s; its log %d", s.ledger.seed, of, got, what, want)
		}
	}
	var all listenerSums
	for _, l := range snap.Listeners {
		log := s.ledger.sums.listeners[l.Name]
		if log == nil {
			log = &listenerSums{}
		}
		same("listener "+l.Name, "sessions", l.Sessions, log.sessions)
		same("listener "+l.Name, "bytes up", l.Up, log.up)
		same("listener "+l.Name, "bytes down", l.Down, log.down)
		for _, reason := range splice.Reasons() {
			same("listener "+l.Name, "sessions ended "+reason.String(), l.Ended[reason], log.ended[reason])
			all.ended[reason] += log.ended[reason]
		}
		all.sessions, all.up, all.down = all.sessions+log.sessions, all.up+log.up, all.down+log.down
	}
	var accepted, moved, up, down uint64
	for _, loop := range snap.Loops {
		accepted += loop.Accepted
		moved += loop.CopyBytes + loop.SpliceBytes
	}
	for _, p := range snap.Pools {
		up, down = up+p.Up, down+p.Down
	}
	same("the engine", "sessions", accepted, all.sessions)
	same("the engine", "bytes", moved, all.up+all.down)
	same("all pools", "bytes up", up, all.up)
	same("all pools", "bytes down", down, all.down)
	killed := splice.ReasonKilled
	same("KillBackend", "sessions", uint64(s.ledger.sums.told[killed.String()]), all.ended[killed])
}

// watch takes snapshots as others would, and checks that no total falls.
func (s *soak) watch(stop <-chan struct{}) {
	before := s.server.Snapshot()
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
			now := s.server.Snapshot()
			if what := fallen(before, now); what != "" {
				s.ledger.failf("a total fell: %s; %+v, then %+v", what, before, now)
			}
			before = now
		}
	}
}

// fallen names a total that is lower now than it was before, or answers "".
func fallen(before, now server.Snapshot) string {
	for i, l := range now.Listeners {
		was := before.Listeners[i]
		switch {
		case l.Sessions < was.Sessions:
			return "sessions of listener " + l.Name
		case l.Up < was.Up || l.Down < was.Down:
			return "bytes of listener " + l.Name
		}
		for reason := range l.Ended {
			if l.Ended[reason] < was.Ended[reason] {
				return "ended sessions of listener " + l.Name
			}
		}
	}
	for i, p := range now.Pools {
		if p.Up < before.Pools[i].Up || p.Down < before.Pools[i].Down {
			return "bytes of pool " + p.Name
		}
	}
	return ""
}
