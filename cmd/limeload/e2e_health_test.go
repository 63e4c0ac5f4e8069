//go:build linux

package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// ICMP tells that a machine is up, whatever listens on it.
func TestHealthICMP(t *testing.T) {
	t.Parallel()
	t.Run("IPv4", func(t *testing.T) { healthICMP(t, refusing(t)) })
	t.Run("IPv6", func(t *testing.T) {
		address := ipv6(t, "")
		if address == "" {
			t.Skip("there is no IPv6 here")
		}
		healthICMP(t, strings.Replace(refusing(t), "127.0.0.1", "[::1]", 1))
	})
}

func healthICMP(t *testing.T, address string) {
	backend := startEcho(t, "b", address)
	l := serve(t, "splice", fmt.Sprintf(`
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "pool"

		[[pool]]
		name = "pool"
		health = { type = "icmp", interval = "500ms" }
		backend = [ { name = "b", address = %q } ]
	`, backend.address))
	first := l.await(fields{"msg": "probe", "backend": "b"})
	if first.text("verdict") == "unknown" {
		pingNotPermitted(t, first.text("reason"))
	}
	wantFields(t, l.await(fields{"msg": "backend up", "backend": "b"}), fields{"old": "unchecked", "new": "up"})
	visit(t, l.address("front")).leave(t)

	backend.stop()
	client := dialReset(t, l.address("front"))
	wantFields(t, l.session(client), fields{"reason": "connect-failed", "backend": "b", "attempts": 3})
	last := l.logged(fields{"msg": "probe"})
	l.awaitAfter(last[len(last)-1], fields{"msg": "probe", "verdict": "up"})
	if down := l.logged(fields{"msg": "backend down"}); len(down) > 0 {
		t.Errorf("the backend went down with its server: %v; want it up as long as its machine is", down)
	}
	backend.start()
	visit(t, l.address("front")).leave(t)
}

// pingNotPermitted ends t where limeload may not ping.
func pingNotPermitted(t *testing.T, reason string) {
	t.Helper()
	text := fmt.Sprintf("ICMP is not permitted here: %s", reason)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// Without probes a backend is up for good: each session finds out for itself, and
// the backend sees nobody but its clients.
func TestHealthNone(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		first, second := startEcho(t, "first", refusing(t)), startEcho(t, "second", "127.0.0.1:0")
		l := serve(t, engine, inOrder(first.address, second.address))
		wantServed(t, l, "first", 1)
		first.stop()
		for range 3 {
			wantServed(t, l, "second", 2)
		}
		first.start()
		wantServed(t, l, "first", 1)
		if n := first.served() + second.served(); n != 5 {
			t.Errorf("the backends saw %d clients; want the 5 that there were", n)
		}
		for _, msg := range []string{"probe", "backend up", "backend down"} {
			if lines := l.logged(fields{"msg": msg}); len(lines) > 0 {
				t.Errorf("got %v; want no probes", lines)
			}
		}
	})
}

// wantServed opens a session, which this backend has to serve after so many
// attempts.
func wantServed(t *testing.T, l *limeload, name string, attempts int) {
	t.Helper()
	v := visit(t, l.address("front"))
	if v.name != name {
		t.Errorf("got a session on %s; want it on %s", v.name, name)
	}
	v.leave(t)
	wantFields(t, l.session(v.LocalAddr()), fields{"attempts": attempts})
}
