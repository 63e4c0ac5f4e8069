package server

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
)

// leaver finds a backend that is leaving, or nil.
func leaver(s *Server, name string) *BackendSnapshot {
	for _, p := range s.Snapshot().Pools {
		for i, b := range p.Leaving {
			if b.Name == name {
				return &p.Leaving[i]
			}
		}
	}
	return nil
}

// forgotten waits until nothing is leaving.
func forgotten(t *testing.T, s *Server) {
	t.Helper()
	eventually(t, "nothing is leaving", func() bool {
		s.leaving.mu.Lock()
		defer s.leaving.mu.Unlock()
		return len(s.leaving.departures()) == 0
	})
}

// chatting is a session that has exchanged something.
func chatting(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// counted waits until so many bytes have been counted, up and down, in all listeners:
// an engine may pass bytes on before it counts them.
func counted(t *testing.T, s *Server, bytes uint64) {
	t.Helper()
	eventually(t, fmt.Sprint(bytes, " bytes are counted"), func() bool {
		var n uint64
		for _, l := range s.Snapshot().Listeners {
			n += l.Up + l.Down
		}
		return n == bytes
	})
}

func front(s *Server) net.Addr { return net.TCPAddrFromAddrPort(s.Addr("front")) }

func TestRemovedBackendIsShownUntilItsLastSession(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
		conf := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }\nshutdown = { drain_timeout = \"1h\" }", engine)}
		s := start(t, conf.config(t))
		first, last := chatting(t, front(s)), chatting(t, front(s))
		counted(t, s, 16)
		conf.backends = []string{b}
		apply(t, s, conf.config(t))
		if got := leaver(s, a); got != nil && got.Excluded() != "it was removed; its last sessions may end" {
			t.Errorf("got excluded %q; want that it was removed", got.Excluded())
		}
		if got := leaver(s, a); got == nil || !got.Removed || got.Active != 2 || got.Sessions != 2 || got.Up != 8 {
			t.Fatalf("a backend with 2 sessions was removed: %+v; want it with its counts", got)
		}
		first.Close()
		eventually(t, "one session is left", func() bool { return leaver(s, a).Active == 1 })
		if err := exchange(last); err != nil {
			t.Error(err)
		}
		counted(t, s, 24)
		if got := leaver(s, a).Up; got != 12 {
			t.Errorf("bytes up of a leaving backend: %d; want 12", got)
		}
		last.Close()
		eventually(t, "it is gone", func() bool { return leaver(s, a) == nil })
		if p := s.Snapshot().Pools[0]; p.Up != 12 || p.Connect.Count() != 2 {
			t.Errorf("the pool's totals fell: %d bytes, %d sessions; want 12 and 2", p.Up, p.Connect.Count())
		}
		forgotten(t, s)
	})
}

// A backend that comes back before its sessions are cut is the one it was.
func TestRemovedBackendComesBack(t *testing.T) {
	a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	conf := setup{listen: "127.0.0.1:0", backends: []string{a}, top: `shutdown = { drain_timeout = "300ms" }`}
	s := start(t, conf.config(t))
	live := chatting(t, front(s))
	identity := row(s, a).Backend
	without := conf
	without.backends = []string{b}
	apply(t, s, without.config(t))
	apply(t, s, conf.config(t))
	if got := row(s, a); got.Backend != identity || got.Active != 1 || got.Sessions != 1 || leaver(s, a) != nil {
		t.Errorf("came back as %+v; want the same backend with its session", got)
	}
	eventually(t, "up", func() bool { return row(s, a).Health.String() == "up" })
	forgotten(t, s) // b, which takes longer than the drain timeout
	if err := exchange(live); err != nil {
		t.Errorf("its session after the drain timeout: %v", err)
	}

	apply(t, s, without.config(t))
	if _, err := live.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("removed for good, its session got %v; want a reset after the drain timeout", err)
	}
	eventually(t, "counted", func() bool { return s.Snapshot().Listeners[0].Ended[splice.ReasonDrained] == 1 })
}

// A name has one row, whatever is behind it, and what it counted does not fall.
func TestBackendMoves(t *testing.T) {
	s, conf, _, _ := twoBackends(t)
	conf.backends = nil
	var lives []net.Conn
	for range 3 {
		conf.pool = fmt.Sprintf("backend = [{ name = \"db\", address = %q }]", newEcho(t, "127.0.0.1:0").Addr())
		apply(t, s, conf.config(t))
		lives = append(lives, chatting(t, front(s)))
		counted(t, s, uint64(8*len(lives)))
		p := s.Snapshot().Pools[0]
		if len(p.Backends) != 1 || len(p.Leaving) != 0 {
			t.Fatalf("rows of one name: %d, and %d that leave; want one", len(p.Backends), len(p.Leaving))
		}
		n := len(lives)
		if b := p.Backends[0]; b.Active != int64(n) || b.Sessions != uint64(n) || b.Up != uint64(4*n) {
			t.Errorf("after %d moves: active %d, sessions %d, bytes %d; want those of all addresses", n-1, b.Active, b.Sessions, b.Up)
		}
	}
	for _, c := range lives {
		c.Close()
	}
	forgotten(t, s)
	if b := s.Snapshot().Pools[0].Backends[0]; b.Active != 0 || b.Sessions != 3 || b.Up != 12 {
		t.Errorf("after all sessions: active %d, sessions %d, bytes %d; want 0, 3 and 12", b.Active, b.Sessions, b.Up)
	}
}

func TestRemovedListenerAndPoolComeBack(t *testing.T) {
	s, conf, _, _ := twoBackends(t)
	more := conf
	more.more = fmt.Sprintf(`
[[listener]]
name = "second"
listen = ["127.0.0.1:0"]
pool = "second"
[[pool]]
name = "second"
health = { type = "none" }
backend = [{ name = "c", address = %q }]
`, newEcho(t, "127.0.0.1:0").Addr())
	apply(t, s, more.config(t))
	live := chatting(t, net.TCPAddrFromAddrPort(s.Addr("second")))
	counted(t, s, 8)
	apply(t, s, conf.config(t))
	snap := s.Snapshot()
	if len(snap.Listeners) != 2 || len(snap.Pools) != 2 {
		t.Fatalf("%d listeners and %d pools; want those that are leaving too", len(snap.Listeners), len(snap.Pools))
	}
	if l := snap.Listeners[1]; !l.Removed || l.Name != "second" || l.Active != 1 || l.Sessions != 1 || l.Up != 4 {
		t.Errorf("leaving listener %+v; want it with its session", l)
	}
	if p := snap.Pools[1]; !p.Removed || len(p.Backends) != 0 || len(p.Leaving) != 1 || p.Leaving[0].Active != 1 || p.Up != 4 {
		t.Errorf("leaving pool %+v; want it with its backend and session", p)
	}

	apply(t, s, more.config(t))
	if err := exchange(live); err != nil {
		t.Error(err)
	}
	counted(t, s, 16)
	snap = s.Snapshot()
	if l := snap.Listeners[1]; len(snap.Listeners) != 2 || l.Removed || l.Active != 1 || l.Sessions != 1 || l.Up != 8 {
		t.Errorf("listener that came back %+v; want it with its session", l)
	}
	if p := snap.Pools[1]; len(snap.Pools) != 2 || p.Removed || p.Backends[0].Active != 1 || p.Backends[0].Sessions != 1 {
		t.Errorf("pool that came back %+v; want it with its session", p)
	}
	chatting(t, net.TCPAddrFromAddrPort(s.Addr("second"))).Close()
	live.Close()
	apply(t, s, conf.config(t))
	eventually(t, "gone", func() bool { snap := s.Snapshot(); return len(snap.Listeners)+len(snap.Pools) == 2 })
	forgotten(t, s)
}

// A thousand reloads leave nothing behind.
func TestReloadsDoNotLeak(t *testing.T) {
	var echoes []string
	for range 3 {
		echoes = append(echoes, newEcho(t, "127.0.0.1:0").Addr().String())
	}
	conf := setup{listen: "127.0.0.1:0", backends: echoes[:1], top: `shutdown = { drain_timeout = "1h" }`}
	s := start(t, conf.config(t))
	configs := []*config.Config{conf.config(t)}
	for i := range 3 {
		c := conf
		c.backends = []string{echoes[i], echoes[(i+1)%3]}
		c.more = fmt.Sprintf("\n[[pool]]\nname = \"extra-%d\"\nbackend = [{ address = %q }]\n", i, echoes[i])
		c.more += fmt.Sprintf("[[listener]]\nname = \"extra-%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"extra-%[1]d\"\n", i)
		configs = append(configs, c.config(t))
	}
	live := chatting(t, front(s))
	before := runtime.NumGoroutine()
	for i := range 1000 {
		apply(t, s, configs[i%len(configs)])
	}
	apply(t, s, configs[0])
	if err := exchange(live); err != nil {
		t.Errorf("a session through a thousand reloads: %v", err)
	}
	live.Close()
	forgotten(t, s)
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	if n := len(s.monitor.Statuses()); n != 1 {
		t.Errorf("probes: %d; want 1", n)
	}
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if len(s.names.names) != 0 {
		t.Errorf("names that are resolved: %d; want none", len(s.names.names))
	}
}

// What was cut once is not looked at again.
func TestCutIsDueOnce(t *testing.T) {
	a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	conf := setup{listen: "127.0.0.1:0", backends: []string{a}, top: `shutdown = { drain_timeout = "1h" }`}
	s := start(t, conf.config(t))
	chatting(t, front(s))
	conf.backends = []string{b}
	apply(t, s, conf.config(t))
	if again, some := s.seeOffDue(time.Now()); !some || again != seeOffEvery {
		t.Errorf("before the drain timeout: again in %v, %v; want %v", again, some, seeOffEvery)
	}
	s.seeOffDue(time.Now().Add(time.Hour))
	eventually(t, "cut", func() bool { return s.Snapshot().Listeners[0].Ended[splice.ReasonDrained] == 1 })
}

// Who kills by a backend's name means the one that was removed as well: its sessions are
// what the name has left, or part of what it has.
func TestSessionsOfALeavingBackendAreKilled(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
		at := func(name, address string) string {
			return fmt.Sprintf("backend = [{ name = %q, address = %q }]\n", name, address)
		}
		conf := setup{listen: "127.0.0.1:0", pool: at("x", a), top: fmt.Sprintf("engine = { type = %q }\nshutdown = { drain_timeout = \"1h\" }", engine)}
		s := start(t, conf.config(t))
		kill := func(want int) {
			t.Helper()
			if n, err := s.KillBackend("pool", "x"); n != want || err != nil {
				t.Errorf("got %d sessions, %v; want %d", n, err, want)
			}
		}
		first := chatting(t, front(s))
		conf.pool = at("y", b)
		apply(t, s, conf.config(t))
		kill(1)
		if _, err := first.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("its session: got %v; want a reset", err)
		}
		forgotten(t, s)
		if _, err := s.KillBackend("pool", "x"); !errors.Is(err, ErrUnknown) {
			t.Errorf("when it has left: got %v; want %v", err, ErrUnknown)
		}

		conf.pool = at("x", a)
		apply(t, s, conf.config(t))
		chatting(t, front(s))
		conf.pool = at("x", b) // the name at another address
		apply(t, s, conf.config(t))
		chatting(t, front(s))
		kill(2)
	})
}
