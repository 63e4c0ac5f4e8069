package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
)

// setup is a configuration with one listener, whose parts a test varies.
type setup struct {
	listen   string // of the listener front
	backends []string
	more     string // listeners and pools
	pool     string // keys of the pool
	top      string // keys of the process
}

func (c setup) config(t *testing.T) *config.Config {
	t.Helper()
	text := fmt.Sprintf("%s\n[[listener]]\nname = \"front\"\nlisten = [%q]\npool = \"pool\"\n[[pool]]\nname = \"pool\"\n%s\n", c.top, c.listen, c.pool)
	text += "health = { interval = \"20ms\", rise = 1, fall = 1 }\n"
	for _, b := range c.backends {
		text += fmt.Sprintf("[[pool.backend]]\naddress = %q\n", b)
	}
	return parse(t, "%s", text+c.more)
}

func apply(t *testing.T, s *Server, c *config.Config) []config.Change {
	t.Helper()
	changes, err := s.Apply(t.Context(), c)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return changes
}

// The backend's row in the snapshot, or nil.
func row(s *Server, address string) *BackendSnapshot {
	for _, p := range s.Snapshot().Pools {
		for i, b := range p.Backends {
			if b.Address == address {
				return &p.Backends[i]
			}
		}
	}
	return nil
}

func TestApplyBackends(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
		base := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }\nshutdown = { drain_timeout = \"1h\" }", engine)}
		s := start(t, base.config(t))
		eventually(t, "a is up", func() bool { return row(s, a).Health.String() == "up" })
		since := row(s, a).Check.Since
		live := dial(t, s)
		if err := exchange(live); err != nil {
			t.Fatal(err)
		}

		both := base
		both.backends = []string{a, b}
		if changes := apply(t, s, both.config(t)); len(changes) != 1 || changes[0].String() != fmt.Sprintf("pool.pool.backend.%q: added", b) {
			t.Errorf("changes %v; want the backend that was added", changes)
		}
		if got := row(s, a); got.Check.Since != since || got.Active != 1 || got.Sessions != 1 {
			t.Errorf("a backend that stays got a new life: %+v", got)
		}
		eventually(t, "b is up", func() bool { return row(s, b).Health.String() == "up" })

		only := base
		only.backends = []string{b}
		apply(t, s, only.config(t))
		if row(s, a) != nil {
			t.Error("a is still listed")
		}
		if err := exchange(live); err != nil {
			t.Errorf("a session on a removed backend, before drain_timeout: %v", err)
		}
		if err := ask(s); err != nil {
			t.Error(err)
		}
		if got := row(s, b).Sessions; got != 1 {
			t.Errorf("sessions on b: %d; want 1", got)
		}
	})
}

func TestApplyCutsWhatWasRemoved(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
		conf := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }\nshutdown = { drain_timeout = \"1ms\" }", engine)}
		s := start(t, conf.config(t))
		live := dial(t, s)
		if err := exchange(live); err != nil {
			t.Fatal(err)
		}
		conf.backends = []string{b}
		apply(t, s, conf.config(t))
		if _, err := live.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read got %v; want a reset", err)
		}
		eventually(t, "counted as drained", func() bool { return s.Snapshot().Listeners[0].Ended[splice.ReasonDrained] == 1 })
	})
}

func TestApplyListeners(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a := newEcho(t, "127.0.0.1:0").Addr().String()
		base := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }", engine)}
		s := start(t, base.config(t))
		first := s.Addr("front")

		second := base
		second.more = "\n[[listener]]\nname = \"second\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n"
		apply(t, s, second.config(t))
		if s.Addr("front") != first {
			t.Errorf("front moved from %v to %v", first, s.Addr("front"))
		}
		c, err := net.Dial("tcp", s.Addr("second").String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := exchange(c); err != nil {
			t.Fatal(err)
		}
		gone := s.Addr("second").String()

		apply(t, s, base.config(t))
		if c, err := net.Dial("tcp", gone); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a removed listener answers %v; want connection refused", err)
			c.Close()
		}
		if err := exchange(c); err != nil {
			t.Errorf("a session of a removed listener: %v", err)
		}

		// The address goes from one name to another.
		fixed := base
		fixed.listen = gone
		apply(t, s, fixed.config(t))
		if got := s.Addr("front").String(); got != gone {
			t.Errorf("front listens on %s; want %s", got, gone)
		}
		renamed := parse(t, `
[[listener]]
name = "renamed"
listen = [%q]
pool = "pool"
[[pool]]
name = "pool"
backend = [{ address = %q }]
`, gone, a)
		apply(t, s, renamed)
		if got := s.Addr("renamed").String(); got != gone {
			t.Errorf("renamed listens on %s; want %s", got, gone)
		}
	})
}

// A configuration that cannot be applied changes nothing at all.
func TestApplyFailsWhole(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
		base := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }", engine)}
		s := start(t, base.config(t))
		bad := base
		bad.backends = []string{b}
		bad.more = fmt.Sprintf("\n[[listener]]\nname = \"free\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n"+
			"[[listener]]\nname = \"taken\"\nlisten = [%q]\npool = \"pool\"\n", newEcho(t, "127.0.0.1:0").Addr())
		if _, err := s.Apply(t.Context(), bad.config(t)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("Apply: %v; want address already in use", err)
		}
		if row(s, a) == nil || row(s, b) != nil {
			t.Error("the backends changed")
		}
		if s.Addr("free").IsValid() {
			t.Error("a listener was added")
		}
		if err := ask(s); err != nil {
			t.Error(err)
		}
		good := base
		good.backends = []string{a, b}
		apply(t, s, good.config(t))
	})
}

// What asks for the state while an address goes from one listener to another never
// sees half of it; the race detector looks on.
func TestAddressMovesUnderEyes(t *testing.T) {
	a := newEcho(t, "127.0.0.1:0").Addr().String()
	free := newLeaver(t)
	free.Close()
	conf := setup{listen: free.Addr().String(), backends: []string{a}}
	fixed := conf.config(t)
	s := start(t, fixed)
	renamed := parse(t, "[[listener]]\nname = \"renamed\"\nlisten = [%q]\npool = \"pool\"\n[[pool]]\nname = \"pool\"\nbackend = [{ address = %q }]\n", conf.listen, a)
	ctx, stop := context.WithCancel(t.Context())
	var eyes sync.WaitGroup
	eyes.Go(func() {
		for ctx.Err() == nil {
			for _, l := range s.Snapshot().Listeners {
				if n := len(l.Addrs); n > 1 {
					t.Errorf("listener %s has %d addresses; want one at most", l.Name, n)
				}
			}
		}
	})
	for range 20 {
		apply(t, s, renamed)
		apply(t, s, fixed)
	}
	stop()
	eyes.Wait()
	if err := ask(s); err != nil {
		t.Error(err)
	}
}

func TestApplyWhenDown(t *testing.T) {
	dead := newLeaver(t)
	dead.Close()
	conf := setup{listen: "127.0.0.1:0", backends: []string{dead.Addr().String()}}
	s := start(t, conf.config(t))
	refused := func() bool {
		c, err := net.Dial("tcp", s.Addr("front").String())
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	eventually(t, "down", func() bool { return s.Snapshot().Pools[0].Usable == 0 })
	if refused() {
		t.Fatal(`refused with when_down = "rst"`)
	}
	conf.pool = `when_down = "unlisten"`
	apply(t, s, conf.config(t))
	if !refused() {
		t.Error(`accepted with when_down = "unlisten"`)
	}
	conf.pool = ""
	apply(t, s, conf.config(t))
	if refused() {
		t.Error(`refused after when_down = "rst" again`)
	}
}

func TestApplyKeepsWhatNeedsARestart(t *testing.T) {
	conf := setup{listen: "127.0.0.1:0", backends: []string{"127.0.0.1:1"}, top: "engine = { threads = 1 }"}
	s := start(t, conf.config(t))
	conf.top = "engine = { threads = 2 }"
	want := config.Change{Path: "engine.threads", Old: "1", New: "2", Restart: true}
	if changes := apply(t, s, conf.config(t)); len(changes) != 1 || changes[0] != want {
		t.Errorf("changes %v; want only %v", changes, want)
	}
	if n := len(s.Snapshot().Loops); n != 1 {
		t.Errorf("loops: %d; want 1", n)
	}
}

// Reloads, some of them impossible, while clients come and go: no client fails, and
// every stream is whole.
func TestApplyStorm(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		var backends []string
		for range 4 {
			backends = append(backends, newEcho(t, "127.0.0.1:0").Addr().String())
		}
		taken := newEcho(t, "127.0.0.1:0").Addr().String()
		base := setup{listen: "127.0.0.1:0", backends: backends, top: fmt.Sprintf("engine = { type = %q }\nshutdown = { drain_timeout = \"1h\" }", engine)}
		s := start(t, base.config(t))

		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var sessions atomic.Int64
		for range 4 {
			clients.Go(func() {
				for ctx.Err() == nil {
					if err := stream(s.Addr("front").String()); err != nil {
						t.Errorf("session %d: %v", sessions.Load(), err)
						return
					}
					sessions.Add(1)
				}
			})
		}
		algorithms := []string{"round-robin", "least-connections", "ip-hash", "random-two", "first"}
		for i := range 20 {
			conf := base
			conf.pool = fmt.Sprintf("algorithm = %q", algorithms[i%len(algorithms)])
			conf.backends = append([]string{backends[i%4]}, backends[(i+1)%4])
			if i%2 == 0 {
				conf.more = "\n[[listener]]\nname = \"other\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n"
			}
			broken := i%4 == 3
			if broken {
				conf.more += fmt.Sprintf("\n[[listener]]\nname = \"taken\"\nlisten = [%q]\npool = \"pool\"\n", taken)
			}
			before := sessions.Load()
			if _, err := s.Apply(t.Context(), conf.config(t)); (err != nil) != broken {
				t.Errorf("reload %d: %v; want an error: %v", i, err, broken)
			}
			eventually(t, "sessions after a reload", func() bool { return sessions.Load() >= before+8 || t.Failed() })
		}
		stop()
		clients.Wait()
		t.Logf("%d sessions", sessions.Load())
	})
}

// stream is a session that sends some bytes and wants them back.
func stream(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	sent := make([]byte, 20_000)
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err == nil && string(got) != string(sent) {
		err = fmt.Errorf("%d bytes came back; want the %d that were sent", len(got), len(sent))
	}
	return err
}
