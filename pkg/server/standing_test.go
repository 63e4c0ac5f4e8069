package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/pkg/standing"
)

// script is a prober that answers what the test wants.
type script struct {
	atomic.Pointer[healthcheck.Result]
}

func (p *script) Probe(_ context.Context, a healthcheck.Address) healthcheck.Result {
	r := healthcheck.Result{Verdict: healthcheck.Unknown}
	if told := p.Load(); told != nil {
		r = *told
	}
	r.Address = a
	return r
}

func (p *script) says(v healthcheck.Verdict, f healthcheck.Facts) {
	r := &healthcheck.Result{Verdict: v, Facts: f}
	if v == healthcheck.Down {
		r.Reason = healthcheck.ReasonTimeout
	}
	p.Store(r)
}

// scripted puts a script in the place of each backend's probe, in the real monitor.
func scripted(s *Server) map[string]*script {
	scripts := map[string]*script{}
	p := s.state.Load().pool("pool")
	for _, row := range p.balancer.Backends() {
		c, own := s.check(p, row.Backend), &script{}
		c.Prober = own
		s.monitor.Put(c)
		scripts[row.Name] = own
	}
	return scripts
}

// serving is a server with backends named a, b, ... that all echo; one in backups is a
// backup.
func serving(t *testing.T, keys, health string, names, backups string) *Server {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[[listener]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n[[pool]]\nname = \"pool\"\n%s\n", keys)
	fmt.Fprintf(&b, "health = { %s interval = \"10ms\", rise = 1, fall = 1 }\n", health)
	for _, name := range names + backups {
		fmt.Fprintf(&b, "[[pool.backend]]\nname = %q\naddress = %q\nbackup = %v\n",
			string(name), newEcho(t, "127.0.0.1:0").Addr(), strings.ContainsRune(backups, name))
	}
	return start(t, parse(t, "%s", b.String()))
}

// who lists the usable backends.
func who(s *Server) string {
	var names []string
	for _, b := range s.Snapshot().Pools[0].Backends {
		if b.Usable {
			names = append(names, b.Name)
		}
	}
	return strings.Join(names, " ")
}

func awaitWho(t *testing.T, s *Server, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("usable: %q (now %q)", want, who(s)), func() bool { return who(s) == want })
}

// eventsOf lists the events of a kind.
func eventsOf(s *Server, k EventKind) (all []Event) {
	events, _ := s.Events(0)
	for _, e := range events {
		if e.Kind == k {
			all = append(all, e)
		}
	}
	return all
}

const asPrimary = `type = "postgres", role = "primary", user = "u", `

func claim(timeline uint32) healthcheck.Facts {
	return healthcheck.Facts{Role: healthcheck.RolePrimary, Timeline: timeline}
}

func TestSingleWriter(t *testing.T) {
	s := serving(t, "", asPrimary, "ab", "")
	p := scripted(s)
	p["a"].says(healthcheck.Up, claim(1))
	p["b"].says(healthcheck.Down, healthcheck.Facts{Role: healthcheck.RoleReplica})
	awaitWho(t, s, "a")
	eventually(t, "both have told their roles", func() bool { return len(eventsOf(s, EventRole)) == 2 })
	if err := ask(s); err != nil {
		t.Error(err)
	}
	p["b"].says(healthcheck.Up, claim(2))
	awaitWho(t, s, "b")
	eventually(t, "the split shows", func() bool { return s.Snapshot().Pools[0].Split != "" })
	if e := eventsOf(s, EventSplit); len(e) != 1 || !strings.Contains(e[0].New, "b (timeline 2)") {
		t.Errorf("events %+v; want one that names the claims", e)
	}
	p["a"].says(healthcheck.Up, claim(2))
	awaitWho(t, s, "")
	if err := ask(s); err == nil {
		t.Error("a session in spite of a tie")
	}
	if snap := s.Snapshot().Pools[0]; !snap.Refusing {
		t.Errorf("%q, refusing %v; want it to refuse", snap.Split, snap.Refusing)
	}
	p["a"].says(healthcheck.Down, healthcheck.Facts{Role: healthcheck.RoleReplica})
	awaitWho(t, s, "b")
	eventually(t, "the split is over", func() bool { return s.Snapshot().Pools[0].Split == "" })
	if e := eventsOf(s, EventRole); len(e) < 4 {
		t.Errorf("events %+v; want two for each backend", e)
	}
}

// A switch from one primary to the other is one table: no pick sees two, or an old
// one that is up beside one that is ahead.
func TestNoPickSeesTwoPrimaries(t *testing.T) {
	s := serving(t, "", asPrimary, "ab", "")
	p := scripted(s)
	pool := s.state.Load().pool("pool").balancer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range uint32(200) {
			p["ab"[i%2:i%2+1]].says(healthcheck.Up, claim(i+1))
			time.Sleep(time.Millisecond)
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			if n := pool.Usable(); n > 1 {
				t.Fatalf("%d usable primaries", n)
			}
		}
	}
}

func TestFailbackWaitsForAPerson(t *testing.T) {
	s := serving(t, `failback = "manual"`, "", "a", "x")
	p := scripted(s)
	for _, own := range p {
		own.says(healthcheck.Up, healthcheck.Facts{})
	}
	awaitWho(t, s, "a x")
	p["a"].says(healthcheck.Down, healthcheck.Facts{})
	awaitWho(t, s, "x")
	p["a"].says(healthcheck.Up, healthcheck.Facts{})
	held := func() bool { b := s.Snapshot().Pools[0].Backends[0]; return b.Health == balancer.Up && b.Ruling.Held }
	eventually(t, "a is up and held", held)
	p["x"].says(healthcheck.Down, healthcheck.Facts{})
	awaitWho(t, s, "")
	if err := s.SetBackend(t.Context(), "pool", "a", Settings{Mode: ptr(balancer.Ready)}); err != nil {
		t.Fatal(err)
	}
	awaitWho(t, s, "a")
}

func TestSlowStartRamps(t *testing.T) {
	s := serving(t, `slow_start = "300ms"`, "", "ab", "")
	p := scripted(s)
	weight := func() int { b := s.Snapshot().Pools[0].Backends[0]; return b.EffectiveWeight() }
	p["a"].says(healthcheck.Up, healthcheck.Facts{})
	p["b"].says(healthcheck.Up, healthcheck.Facts{})
	if got := weight(); got != 100 {
		t.Errorf("weight at the start: %d hundredths; want 100", got)
	}
	p["a"].says(healthcheck.Down, healthcheck.Facts{})
	awaitWho(t, s, "b")
	p["a"].says(healthcheck.Up, healthcheck.Facts{})
	awaitWho(t, s, "a b")
	last := 0
	eventually(t, "all of its weight", func() bool {
		now := weight()
		if now < last {
			t.Fatalf("the weight fell from %d to %d hundredths", last, now)
		}
		last = now
		return now == 100
	})
}

func TestQuorum(t *testing.T) {
	s := serving(t, "quorum = 2", "", "ab", "")
	p := scripted(s)
	ready := func(want bool) func() bool {
		return func() bool { ready, _, _ := s.Ready(""); return ready == want }
	}
	p["a"].says(healthcheck.Up, healthcheck.Facts{})
	p["b"].says(healthcheck.Down, healthcheck.Facts{})
	eventually(t, "unready", ready(false))
	if _, why, _ := s.Ready("front"); why != "listener front: pool pool has 1 usable backends; its quorum is 2" {
		t.Errorf("why: %q", why)
	}
	p["b"].says(healthcheck.Up, healthcheck.Facts{})
	eventually(t, "ready", ready(true))
}

func TestSessionsOfALostBackend(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "keep", true: "kill"}[kill], func(t *testing.T) {
			health := asPrimary
			if kill {
				health += `on_down = "kill", `
			}
			s := serving(t, "", health, "a", "")
			p := scripted(s)
			p["a"].says(healthcheck.Up, claim(1))
			awaitWho(t, s, "a")
			c := dial(t, s)
			if err := exchange(c); err != nil {
				t.Fatal(err)
			}
			p["a"].says(healthcheck.Down, healthcheck.Facts{Role: healthcheck.RoleReplica})
			awaitWho(t, s, "")
			if !kill {
				if err := exchange(c); err != nil {
					t.Errorf("a session on a demoted primary: %v; want it to go on", err)
				}
				return
			}
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a session on a demoted primary goes on; want it cut")
			}
		})
	}
}

func TestInitial(t *testing.T) {
	for initial, want := range map[string]string{"unchecked": "a", "up": "a", "down": ""} {
		s := serving(t, "", fmt.Sprintf("initial = %q, ", initial), "a", "")
		hold := s.Snapshot().Pools[0].Backends[0] // the first probe may have been quicker
		if hold.Check.LastAt.IsZero() && hold.Health.String() != initial {
			t.Errorf("health before the first probe: %s; want %s", hold.Health, initial)
		}
		if hold.Check.LastAt.IsZero() && who(s) != want {
			t.Errorf("initial %s: usable %q; want %q", initial, who(s), want)
		}
		awaitWho(t, s, "a")
	}
}

// resetter accepts, and resets what it accepted, until it is told to echo.
type resetter struct {
	net.Listener
	good atomic.Bool
}

func newResetter(t *testing.T) *resetter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r := &resetter{Listener: ln}
	go r.serve()
	return r
}

func (r *resetter) serve() {
	for {
		c, err := r.Accept()
		if err != nil {
			return
		}
		if !r.good.Load() {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			continue
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 16)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				c.Write(buf[:n])
			}
		}()
	}
}

func TestBreakerEjectsAndTakesBack(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		good, bad := newEcho(t, "127.0.0.1:0").Addr().String(), newResetter(t)
		s := start(t, parse(t, `
engine = { type = %q }
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
algorithm = "round-robin"
health = { type = "none" }
breaker = { resets = 3, ejection = "300ms", max_ejection = "300ms" }
backend = [{ name = "good", address = %q }, { name = "bad", address = %q }]
`, engine, good, bad.Addr()))
		state := func(want standing.State) func() bool {
			return func() bool { ask(s); return s.Snapshot().Pools[0].Backends[1].Ruling.Breaker == want }
		}
		eventually(t, "the breaker opens", state(standing.Open))
		eventually(t, "a trial fails", func() bool { ask(s); return s.Snapshot().Pools[0].Backends[1].Ruling.Ejections > 1 })
		bad.good.Store(true)
		eventually(t, "the breaker closes", state(standing.Closed))
		for range 10 {
			if err := ask(s); err != nil {
				t.Errorf("a session after all is well: %v", err)
			}
		}
		words := map[string]bool{}
		for _, e := range eventsOf(s, EventBreaker) {
			words[e.Old+">"+e.New] = true
		}
		for _, want := range []string{"closed>open", "open>half-open", "half-open>open", "half-open>closed"} {
			if !words[want] {
				t.Errorf("no event of %s in %v", want, words)
			}
		}
	})
}

// While half-open, of many clients at once one at a time meets the backend.
func TestHalfOpenIsOneAtATime(t *testing.T) {
	s := serving(t, `algorithm = "round-robin"
breaker = { ejection = "10ms", max_ejection = "10ms", trust_probe = false }`, "", "ab", "")
	p := s.state.Load().pool("pool")
	b := p.balancer.Backends()[0].Backend
	awaitWho(t, s, "a b")
	s.ear.hear("pool", heardOf(b, standing.ConnectsFail))
	eventually(t, "half-open", func() bool { return s.Snapshot().Pools[0].Backends[0].Ruling.Breaker == standing.HalfOpen })
	for range 5 {
		if err := exchange(dial(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Active(); n != 1 && s.Snapshot().Pools[0].Backends[0].Ruling.Breaker == standing.HalfOpen {
		t.Errorf("%d sessions on trial; want 1", n)
	}
	eventually(t, "the session lived for a second", func() bool {
		return s.Snapshot().Pools[0].Backends[0].Ruling.Breaker == standing.Closed
	})
}

// An open breaker asks for a probe at once, and a good one closes it.
func TestProbeClosesTheBreaker(t *testing.T) {
	s := serving(t, `breaker = { ejection = "1h", max_ejection = "1h" }`, "", "ab", "")
	awaitWho(t, s, "a b")
	b := s.state.Load().pool("pool").balancer.Backends()[0].Backend
	s.ear.hear("pool", heardOf(b, standing.ConnectsFail))
	eventually(t, "ejected", func() bool { return s.Snapshot().Pools[0].Backends[0].Ruling.Ejections == 1 })
	awaitWho(t, s, "a b")
}

// A dead backend is ejected by its refused connects long before its probes notice.
func TestRefusedConnectsOpenTheBreaker(t *testing.T) {
	dead := newLeaver(t)
	good := newEcho(t, "127.0.0.1:0").Addr().String()
	s := start(t, parse(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
algorithm = "first"
health = { interval = "1h", fall = 1000 }
backend = [{ name = "dead", address = %q }, { name = "good", address = %q }]
`, dead.Addr(), good))
	eventually(t, "both are up", func() bool {
		return row(s, dead.Addr().String()).Health == balancer.Up && row(s, good).Health == balancer.Up
	})
	dead.Close()
	eventually(t, "the breaker opens", func() bool {
		if err := ask(s); err != nil {
			t.Fatalf("a session in spite of a good backend: %v", err)
		}
		return s.Snapshot().Pools[0].Backends[0].Ruling.Breaker == standing.Open
	})
	failed := row(s, dead.Addr().String()).DialFailures
	if failed < 5 {
		t.Errorf("%d connects failed before the breaker opened; want 5 at least", failed)
	}
	for range 5 {
		ask(s)
	}
	if now := row(s, dead.Addr().String()).DialFailures; now != failed {
		t.Errorf("%d connects failed while the breaker was open; want none", now-failed)
	}
}

func heardOf(b *balancer.Backend, w standing.Word) proxy.Heard {
	return proxy.Heard{Backend: b, Word: w, Why: "the test says so"}
}

// A server that resets clients that are leaving does so to nobody's harm.
func TestResetsAfterTheClientDoNotCount(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				io.Copy(io.Discard, c)
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		}()
		s := start(t, simple(t, engine, ln.Addr().String(), "breaker = { resets = 1, max_ejected_percent = 100 }"))
		for range 5 {
			c := dial(t, s)
			io.WriteString(c, "ping")
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}
		eventually(t, "all have ended", func() bool { return s.Snapshot().Sessions == 0 })
		s.listen()
		if n := s.Snapshot().Pools[0].Backends[0].Ruling.Ejections; n != 0 {
			t.Errorf("%d ejections; want none", n)
		}
	})
}
