//go:build linux

package main_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Sessions that stay fill backends up to their limits, then backups up to theirs; who
// finds all full is refused.
func TestSessionsFillUpToLimits(t *testing.T) {
	t.Parallel()
	const clients = 6
	for _, c := range []struct {
		name      string
		algorithm string
		a, b      string         // further keys of the backends
		want      map[string]int // "": refused
	}{
		{"no limits", "round-robin", "", "", map[string]int{"a": 3, "b": 3}},
		{"one is limited", "round-robin", "max_connections = 1", "", map[string]int{"a": 1, "b": 5}},
		{"both are limited", "round-robin", "max_connections = 1", "max_connections = 1", map[string]int{"a": 1, "b": 1, "": 4}},
		{"a weight does not raise a limit", "round-robin", "weight = 5, max_connections = 1", "", map[string]int{"a": 1, "b": 5}},
		{"a backup takes the rest", "round-robin", "max_connections = 2", "backup = true", map[string]int{"a": 2, "b": 4}},
		{"a backup takes the rest up to its limit", "round-robin", "max_connections = 2", "backup = true, max_connections = 3", map[string]int{"a": 2, "b": 3, "": 1}},
		{"least-connections, one is limited", "least-connections", "max_connections = 1", "", map[string]int{"a": 1, "b": 5}},
		{"least-connections, a backup takes the rest up to its limit", "least-connections", "max_connections = 2", "backup = true, max_connections = 3", map[string]int{"a": 2, "b": 3, "": 1}},
		{"ip-hash, whose home is full", "ip-hash", "max_connections = 1", "max_connections = 2", map[string]int{"a": 1, "b": 2, "": 3}},
		{"random-two, both are limited", "random-two", "max_connections = 1", "max_connections = 4", map[string]int{"a": 1, "b": 4, "": 1}},
		{"first, in their order", "first", "max_connections = 4", "", map[string]int{"a": 4, "b": 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := func(s string) string { return strings.ReplaceAll(s, ", ", "\n") }
			l := serve(t, "splice", balanced(c.algorithm, unprobed,
				startEcho(t, "a", "127.0.0.1:0"), keys(c.a), startEcho(t, "b", "127.0.0.1:0"), keys(c.b)))
			got := map[string]int{}
			for range clients {
				got[rush(t, l.address("front")).name]++
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%d sessions: got %v; want %v", clients, got, c.want)
			}
		})
	}
}

// A session tries as many backends as it may, those that serve before backups, and then
// gives up.
func TestAttempts(t *testing.T) {
	t.Parallel()
	spare := startEcho(t, "spare", "127.0.0.1:0")
	for _, c := range []struct {
		attempts int
		name     string // of who serves it; "": nobody
		logged   fields
	}{
		{1, "", fields{"attempts": 1, "reason": "connect-failed"}},
		{2, "", fields{"attempts": 2, "reason": "connect-failed"}},
		{3, "spare", fields{"attempts": 3, "backend": "spare"}},
	} {
		t.Run(fmt.Sprint(c.attempts), func(t *testing.T) {
			t.Parallel()
			l := serve(t, "splice", inOrder(refusing(t), refusing(t))+fmt.Sprintf(`
				[[pool.backend]]
				name = "spare"
				address = %q
				backup = true
				[pool.connect]
				attempts = %d
			`, spare.address, c.attempts))
			if v := rush(t, l.address("front")); v.name != c.name {
				t.Errorf("served by %q; want %q", v.name, c.name)
			} else if v.TCPConn != nil {
				v.Close()
			}
			wantFields(t, l.await(fields{"msg": "session"}), c.logged)
		})
	}
}

// What a backend that refuses cannot serve is spread over the others as they share the
// rest, whether its breaker has noticed or not.
func TestDeadBackendLeavesSharesEven(t *testing.T) {
	t.Parallel()
	for _, breaker := range []bool{false, true} {
		t.Run(fmt.Sprintf("breaker %v", breaker), func(t *testing.T) {
			t.Parallel()
			dead := &echo{name: "dead", address: refusing(t)}
			l := serve(t, "splice", balanced("round-robin", unprobed,
				startEcho(t, "a", "127.0.0.1:0"), "", dead, "", startEcho(t, "b", "127.0.0.1:0"), "")+
				fmt.Sprintf("[pool.breaker]\nenabled = %v\n", breaker))
			const sessions = 60
			got := map[string]int{}
			for range sessions {
				v := visit(t, l.address("front"))
				got[v.name]++
				v.leave(t)
			}
			if d := got["a"] - got["b"]; d < -2 || d > 2 {
				t.Errorf("%d sessions: got %v; want half of them each", sessions, got)
			}
		})
	}
}

// The timeout of the connect is over with the connect: silence afterwards is no fault.
func TestConnectTimeoutEndsWithTheConnect(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const timeout = 100 * time.Millisecond
		l := serve(t, engine, balanced("first", unprobed, startEcho(t, "a", "127.0.0.1:0"), "")+
			fmt.Sprintf("[pool.connect]\ntimeout = %q\n", timeout))
		v := visit(t, l.address("front"))
		v.chat(t)
		time.Sleep(3 * timeout) // the silence itself
		v.chat(t)
		v.leave(t)
		wantFields(t, l.session(v.LocalAddr()), fields{"reason": "client-closed"})
	})
}

// Sessions come to their backend from the source addresses of the pool.
func TestSource(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := listen(t, "127.0.0.1:0")
		l := serve(t, engine, strings.Replace(inOrder(backend.Addr().String()),
			`algorithm = "first"`, `source = ["127.0.0.98", "127.0.0.99"]`, 1))
		seen := map[string]bool{}
		for range 8 {
			dial(t, l.address("front"))
			from := netip.MustParseAddrPort(accept(t, backend).RemoteAddr().String())
			seen[from.Addr().String()] = true
		}
		if len(seen) != 2 || !seen["127.0.0.98"] || !seen["127.0.0.99"] {
			t.Errorf("sessions came from %v; want 127.0.0.98 and 127.0.0.99", seen)
		}
	})
}

// An agent on a server has its share, its limit and its mode follow what it says.
func TestAgent(t *testing.T) {
	t.Parallel()
	a, b := startEcho(t, "a", "127.0.0.2:0"), startEcho(t, "b", "127.0.0.3:0")
	agentA, agentB := startAgents(t)
	// The agents are this process: it may take its time to answer.
	l := serve(t, "splice", balanced("round-robin", fmt.Sprintf(
		`type = "tcp", interval = "500ms", fast_interval = "20ms", rise = 1, also = [{ type = "agent", port = %d }]`, agentA.port()), a, "", b, ""))
	l.awaitCount(2, 0, fields{"msg": "backend up"})
	for _, c := range []struct {
		a, b string
		want map[string]int // of ten sessions that stay
	}{
		{"100%", "100%", map[string]int{"a": 5, "b": 5}},
		{"25%", "100%", map[string]int{"a": 2, "b": 8}},
		{"100% maxconn:3", "100%", map[string]int{"a": 3, "b": 7}},
		{"maxconn:0 drain", "100%", map[string]int{"b": 10}},
		{"ready", "maint", map[string]int{"a": 10}},
		{"ready", "ready down#disk full", map[string]int{"a": 10}},
		{"100%", "up 100%", map[string]int{"a": 5, "b": 5}},
		{"0%", "100%", map[string]int{"b": 10}},
	} {
		agentA.say(c.a)
		agentB.say(c.b)
		eventually(t, fmt.Sprintf("a says %q, b says %q: %v", c.a, c.b, c.want), func() bool {
			got := map[string]int{}
			for range 10 {
				v := rush(t, l.address("front"))
				got[v.name]++
				if v.TCPConn != nil {
					defer v.Close()
				}
			}
			return fmt.Sprint(got) == fmt.Sprint(c.want)
		})
		if why, down := strings.CutPrefix(c.b, "ready down#"); down {
			// The shares do not show whether it was heard: b had none before.
			l.await(fields{"msg": "backend down", "backend": "b", "reason": "agent: agent says down: " + why})
		}
	}
}

// agent is an agent of a server: it says the same to everybody.
type agent struct {
	*net.TCPListener
	line atomic.Pointer[string]
}

// startAgents starts agents on 127.0.0.2 and 127.0.0.3, at the same port.
func startAgents(t *testing.T) (a, b *agent) {
	t.Helper()
	a, b = &agent{TCPListener: listen(t, "127.0.0.2:0")}, &agent{}
	b.TCPListener = listen(t, fmt.Sprintf("127.0.0.3:%d", a.port()))
	for _, g := range []*agent{a, b} {
		g.say("up")
		go g.serve()
	}
	return a, b
}

func (g *agent) port() int { return portOf(g.Addr()) }

func (g *agent) say(line string) { g.line.Store(&line) }

func (g *agent) serve() {
	for {
		c, err := g.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, *g.line.Load()+"\n")
		c.Close()
	}
}
