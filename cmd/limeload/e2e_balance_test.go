//go:build linux

package main_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Sessions spread as weights say: in numbers held, and in turns taken.
func TestWeights(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		t.Run("least-connections", func(t *testing.T) {
			l := serve(t, engine, balanced("least-connections", unprobed,
				startEcho(t, "a", "127.0.0.1:0"), "weight = 3",
				startEcho(t, "b", "127.0.0.1:0"), "weight = 1",
				startEcho(t, "c", "127.0.0.1:0"), "weight = 0"))
			count := map[string]int{}
			for range 40 {
				count[visit(t, l.address("front")).name]++
			}
			if count["a"] != 30 || count["b"] != 10 {
				t.Errorf("40 sessions with weights 3, 1 and 0: got %v; want 30 and 10", count)
			}
		})
		t.Run("round-robin", func(t *testing.T) {
			l := serve(t, engine, balanced("round-robin", unprobed,
				startEcho(t, "a", "127.0.0.1:0"), "weight = 5",
				startEcho(t, "b", "127.0.0.1:0"), "weight = 1",
				startEcho(t, "c", "127.0.0.1:0"), "weight = 1"))
			var turns []string
			for range 14 {
				v := visit(t, l.address("front"))
				turns = append(turns, v.name)
				v.leave(t)
			}
			if got, want := strings.Join(turns, " "), "a a b a c a a a a b a c a a"; got != want {
				t.Errorf("14 sessions with weights 5, 1 and 1: got %s; want %s", got, want)
			}
		})
	})
}

// With ip-hash a client's address leads to one backend: over sessions, over
// restarts, and whatever the order of the backends. When that is down, only its own
// clients go elsewhere, and they come back.
func TestIPHash(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a, b, c := startEcho(t, "a", "127.0.0.1:0"), startEcho(t, "b", refusing(t)), startEcho(t, "c", "127.0.0.1:0")
		l := serve(t, engine, balanced("ip-hash", probed, a, "", b, "", c, ""))
		l.awaitCount(3, 0, fields{"msg": "backend up"})
		first := stations(t, l)
		for _, name := range []string{"a", "b", "c"} {
			if n := count(first, name); n == 0 {
				t.Errorf("of %d clients none is on %s; want some on each", len(first), name)
			}
		}
		if again := stations(t, l); !slices.Equal(again, first) {
			t.Errorf("the same clients again: got %v; want %v", again, first)
		}
		restarted := serve(t, engine, balanced("ip-hash", unprobed, c, "", b, "", a, ""))
		if again := stations(t, restarted); !slices.Equal(again, first) {
			t.Errorf("with another process and order: got %v; want %v", again, first)
		}

		b.stop()
		down := l.await(fields{"msg": "backend down", "backend": "b"})
		for i, name := range stations(t, l) {
			if first[i] != "b" && name != first[i] {
				t.Errorf("with b down %s went from %s to %s; want it to stay", source(i), first[i], name)
			}
		}
		b.start()
		l.awaitAfter(down, fields{"msg": "backend up", "backend": "b"})
		if again := stations(t, l); !slices.Equal(again, first) {
			t.Errorf("with b back: got %v; want %v", again, first)
		}
	})
}

// source is the address of client i, one of the 127.0.0.0/8 that Linux has on lo.
func source(i int) string { return fmt.Sprintf("127.0.0.%d", i+2) }

// stations are the backends to which clients of 30 addresses come.
func stations(t *testing.T, l *limeload) []string {
	t.Helper()
	var names []string
	for i := range 30 {
		v := visitFrom(t, source(i), l.address("front"))
		names = append(names, v.name)
		v.leave(t)
	}
	return names
}

func count(names []string, name string) (n int) {
	for _, s := range names {
		if s == name {
			n++
		}
	}
	return n
}

// A backup serves only while nobody else can.
func TestBackup(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a, b, spare := startEcho(t, "a", refusing(t)), startEcho(t, "b", refusing(t)), startEcho(t, "spare", "127.0.0.1:0")
		l := serve(t, engine, balanced("least-connections", probed, spare, "backup = true", a, "", b, ""))
		l.awaitCount(3, 0, fields{"msg": "backend up"})
		use := func(when string, want ...string) {
			t.Helper()
			var held []*visitor
			for range 6 {
				v := visit(t, l.address("front"))
				if !slices.Contains(want, v.name) {
					t.Errorf("%s a session is on %s; want it on %s", when, v.name, strings.Join(want, " or "))
				}
				held = append(held, v)
			}
			for _, v := range held {
				v.leave(t)
			}
		}
		use("with all up", "a", "b")
		a.stop()
		aDown := l.await(fields{"msg": "backend down", "backend": "a"})
		use("with a down", "b")
		b.stop()
		use("with b gone", "spare") // whether its probes know it already or not
		l.await(fields{"msg": "backend down", "backend": "b"})
		use("with a and b down", "spare")
		a.start()
		l.awaitAfter(aDown, fields{"msg": "backend up", "backend": "a"})
		use("with a back", "a")
	})
}

// A backend never has more sessions than its max_connections; who finds all full is
// reset.
func TestBackendMaxConnections(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const clients = 24
		a, b := startEcho(t, "a", "127.0.0.1:0"), startEcho(t, "b", "127.0.0.1:0")
		l := serve(t, engine, balanced("least-connections", unprobed, a, "max_connections = 3", b, "max_connections = 5"))

		var mu sync.Mutex
		held := map[string][]*visitor{}
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				v := rush(t, l.address("front"))
				mu.Lock()
				defer mu.Unlock()
				held[v.name] = append(held[v.name], v)
			})
		}
		all.Wait()
		if len(held["a"]) != 3 || len(held["b"]) != 5 {
			t.Errorf("%d clients at once: %d are on a and %d on b; want 3 and 5", clients, len(held["a"]), len(held["b"]))
		}
		l.awaitCount(clients-8, 0, fields{"msg": "session", "reason": "no-backend", "attempts": 0})

		for _, name := range []string{"a", "b", "a"} {
			leaver := held[name][0]
			held[name] = held[name][1:]
			leaver.leave(t)
			l.session(leaver.LocalAddr())
			v := visit(t, l.address("front"))
			if v.name != name {
				t.Errorf("a session that takes the only free place is on %s; want it on %s", v.name, name)
			}
			held[v.name] = append(held[v.name], v)
		}
		if a.crowd() != 3 || b.crowd() != 5 {
			t.Errorf("at one time there were up to %d clients at a and %d at b; want 3 and 5", a.crowd(), b.crowd())
		}
	})
}

// rush connects where clients may be reset; then the visitor has no name.
func rush(t *testing.T, address string) *visitor {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return &visitor{}
	}
	return meet(guard(t, c.(*net.TCPConn)))
}

// Health sections for balanced.
const (
	probed   = `type = "tcp", interval = "20ms"`
	unprobed = `type = "none"`
)

// balanced is a configuration with one listener, front, and a pool of backends, each
// an echo followed by its further keys.
func balanced(algorithm, health string, backends ...any) string {
	config := fmt.Sprintf(`
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "pool"

		[[pool]]
		name = "pool"
		algorithm = %q
		health = { %s }
	`, algorithm, health)
	for i := 0; i < len(backends); i += 2 {
		e := backends[i].(*echo)
		config += fmt.Sprintf("[[pool.backend]]\nname = %q\naddress = %q\n%s\n", e.name, e.address, backends[i+1])
	}
	return config
}
