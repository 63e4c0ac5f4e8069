package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/testserver"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines runs a test with each engine.
func engines(t *testing.T, test func(t *testing.T, engine string)) {
	for _, e := range []string{splice.TypeSplice, splice.TypeCopy} {
		t.Run(e, func(t *testing.T) { test(t, e) })
	}
}

// newEcho is a backend.
func newEcho(t *testing.T, addr string) *testserver.Echo {
	t.Helper()
	return testserver.StartEcho(t, addr, "")
}

// newLeaver is a backend that may leave its port and come back to it, or leave it to others:
// meanwhile nobody gets the port by chance.
func newLeaver(t *testing.T) *testserver.Echo {
	t.Helper()
	return newEcho(t, fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)))
}

func parse(t *testing.T, format string, args ...any) *config.Config {
	t.Helper()
	c, err := config.Parse("test.toml", fmt.Appendf(nil, format, args...))
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func simple(t *testing.T, engine, backend, more string) *config.Config {
	t.Helper()
	return parse(t, `
[engine]
type = %q
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
%s
health = { interval = "20ms", rise = 1, fall = 1 }
backend = [{ address = %q }]
`, engine, more, backend)
}

// start runs a server until the test ends.
func start(t *testing.T, c *config.Config) *Server {
	t.Helper()
	return startWith(t, c, nil)
}

// startWith runs a server that takes over sockets.
func startWith(t *testing.T, c *config.Config, sockets []Socket) *Server {
	t.Helper()
	s, err := New(c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.Inherit(sockets)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	select {
	case <-s.Started():
	case err := <-ran:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(gone)
		if err := <-ran; !errors.Is(err, ErrClosed) {
			t.Errorf("Run answered %v; want ErrClosed", err)
		}
	})
	return s
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr("front").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exchange(c net.Conn) error {
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// ask is one whole session. A reset may already meet the connect.
func ask(s *Server) error {
	c, err := net.Dial("tcp", s.Addr("front").String())
	if err != nil {
		return err
	}
	defer c.Close()
	return exchange(c)
}

func TestServeAndDrain(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := start(t, simple(t, engine, newEcho(t, "127.0.0.1:0").Addr().String(), ""))
		c := dial(t, s)
		if err := exchange(c); err != nil {
			t.Fatal(err)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(context.Background()) }()
		eventually(t, "new clients are refused", func() bool {
			c, err := net.Dial("tcp", s.Addr("front").String())
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		if err := exchange(c); err != nil {
			t.Errorf("a live session while draining: %v", err)
		}
		c.Close()
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown: %v; want nil when every session ended", err)
		}
	})
}

func TestHealthReachesTheTable(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		backend := newLeaver(t)
		s := start(t, simple(t, engine, backend.Addr().String(), ""))
		usable := func(n int) func() bool { return func() bool { return s.Snapshot().Pools[0].Usable == n } }
		health := func(h string) func() bool {
			return func() bool { return s.Snapshot().Pools[0].Backends[0].Health.String() == h }
		}
		eventually(t, "up", health("up"))
		backend.Close()
		eventually(t, "down", usable(0))
		if err := ask(s); err == nil {
			t.Error("a session without a usable backend")
		}
		eventually(t, "counted", func() bool {
			return s.Snapshot().Listeners[0].Ended[splice.ReasonNoBackend] == 1
		})
		newEcho(t, backend.Addr().String())
		eventually(t, "up again", usable(1))
		if err := ask(s); err != nil {
			t.Error(err)
		}
	})
}

func TestUnlisten(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		backend := newLeaver(t)
		s := start(t, simple(t, engine, backend.Addr().String(), `when_down = "unlisten"`))
		refused := func() bool {
			c, err := net.Dial("tcp", s.Addr("front").String())
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		}
		backend.Close()
		eventually(t, "refused", refused)
		newEcho(t, backend.Addr().String())
		eventually(t, "accepted", func() bool { return !refused() })
		eventually(t, "served", func() bool { return ask(s) == nil })
	})
}

// A listener that cannot be bound keeps the server from starting, and nothing of it
// is left.
func TestPortInUse(t *testing.T) {
	taken := newEcho(t, "127.0.0.1:0")
	c := parse(t, `
listener = [
  { name = "free", listen = ["127.0.0.1:0"], pool = "pool" },
  { name = "taken", listen = [%q], pool = "pool" },
]
pool = [{ name = "pool", backend = [{ address = "127.0.0.1:1" }] }]
`, taken.Addr().String())
	s, err := New(c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(context.Background())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listener taken: listen "+taken.Addr().String()) {
		t.Errorf("Run: %v; want the listener, its address, and EADDRINUSE", err)
	}
}

// A name that does not resolve is a backend that is down, not a server that does
// not start; one that does resolve works.
func TestHostNames(t *testing.T) {
	_, port, _ := net.SplitHostPort(newEcho(t, "127.0.0.1:0").Addr().String())
	s := start(t, simple(t, splice.TypeAuto, "localhost:"+port, ""))
	eventually(t, "localhost is up", func() bool { return s.Snapshot().Pools[0].Backends[0].Health.String() == "up" })
	if err := ask(s); err != nil {
		t.Error(err)
	}
	s = start(t, simple(t, splice.TypeAuto, "nowhere.invalid:1", ""))
	eventually(t, "nowhere is down", func() bool { return s.Snapshot().Pools[0].Usable == 0 })
	if got := s.Snapshot().Pools[0].Backends[0].Check.Last.Reason; got != "dns" {
		t.Errorf("reason %q; want dns", got)
	}
}

func TestContextEndsRun(t *testing.T) {
	s, err := New(simple(t, splice.TypeAuto, newEcho(t, "127.0.0.1:0").Addr().String(), ""), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	<-s.Started()
	c := dial(t, s)
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ran; !errors.Is(err, ErrClosed) {
		t.Errorf("Run: %v; want ErrClosed", err)
	}
	if err := exchange(c); err == nil {
		t.Error("the session lives on")
	}
}

// What is put aside and what sessions may take together never exceed the limit.
func TestBudget(t *testing.T) {
	c := parse(t, `
engine = { threads = 2 }
listener = [{ name = "front", listen = [":1", ":2"], pool = "pool" }]
pool = [{ name = "pool", backend = [{ address = "10.0.0.1:1" }] }]
`)
	for _, files := range []uint64{64, 256, 1024, 20_000, 1 << 20, 1 << 62} {
		b, err := divide(files, c)
		if err != nil {
			t.Errorf("limit of %d files: %v", files, err)
			continue
		}
		used := 2*b.sessions + 2*b.pipes + b.probes + b.admin + ownFiles + 2*2 + 2*2
		if uint64(used) > files {
			t.Errorf("limit of %d files: %d would be used (%+v)", files, used, b)
		}
		if files >= 1024 && uint64(2*b.sessions) < min(files, 1<<30)*3/4 {
			t.Errorf("limit of %d files: only %d sessions", files, b.sessions)
		}
	}
	named := parse(t, `
listener = [{ name = "front", listen = [":1"], pool = "pool" }]
pool = [{ name = "pool", backend = [{ address = "one.example:1" }, { address = "two.example:1" }, { address = "10.0.0.1:1" }] }]
`)
	plain, _ := divide(1024, c)
	if b, err := divide(1024, named); err != nil || b.sessions >= plain.sessions {
		t.Errorf("with names: %+v, %v; want fewer sessions than %d, for lookups", b, err, plain.sessions)
	}
	if _, err := divide(32, c); err == nil || !strings.Contains(err.Error(), "at least") {
		t.Errorf("limit of 32 files: %v; want an error that says how many are needed", err)
	}
	if b, err := divide(0, c); err != nil || b.sessions != 0 {
		t.Errorf("unknown limit: %+v, %v; want no bound", b, err)
	}
}
