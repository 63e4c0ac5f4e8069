//go:build linux

package main_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

// sessionCases are the ways in which a connected session ends. Before end both sides
// have sent and received the bytes that the line must tell of.
var sessionCases = []struct {
	name     string
	timeouts string
	end      func(t *testing.T, client, backend *net.TCPConn)
	reason   string
}{
	{
		name: "client closes first",
		end: func(t *testing.T, client, backend *net.TCPConn) {
			closeWrite(t, client)
			expectEnd(t, backend)
			closeWrite(t, backend)
			expectEnd(t, client)
		},
		reason: "client-closed",
	},
	{
		name: "backend closes first",
		end: func(t *testing.T, client, backend *net.TCPConn) {
			closeWrite(t, backend)
			expectEnd(t, client)
			closeWrite(t, client)
			expectEnd(t, backend)
		},
		reason: "backend-closed",
	},
	{
		name: "client resets",
		end: func(t *testing.T, client, backend *net.TCPConn) {
			reset(t, client)
			expectReset(t, backend)
		},
		reason: "client-reset",
	},
	{
		name: "backend resets",
		end: func(t *testing.T, client, backend *net.TCPConn) {
			reset(t, backend)
			expectReset(t, client)
		},
		reason: "backend-reset",
	},
	{
		name:     "nobody says anything",
		timeouts: `idle = "2s"`, // time for what is said before
		end: func(t *testing.T, client, backend *net.TCPConn) {
			expectReset(t, client)
			expectReset(t, backend)
		},
		reason: "idle-timeout",
	},
	{
		name:     "client has ended and the backend says nothing",
		timeouts: `half_close = "200ms"`,
		end: func(t *testing.T, client, backend *net.TCPConn) {
			closeWrite(t, client)
			expectEnd(t, backend)
			expectReset(t, client)
		},
		reason: "half-close-timeout",
	},
	{
		name:     "backend has ended and the client says nothing",
		timeouts: `half_close = "200ms"`,
		end: func(t *testing.T, client, backend *net.TCPConn) {
			closeWrite(t, backend)
			expectEnd(t, client)
			expectReset(t, backend)
		},
		reason: "half-close-timeout",
	},
	{
		name:     "it is as old as it may be",
		timeouts: `max_lifetime = "3s"`, // as above
		end: func(t *testing.T, client, backend *net.TCPConn) {
			expectReset(t, client)
			expectReset(t, backend)
		},
		reason: "lifetime",
	},
}

// Every session leaves one line, in which every field is true.
func TestSessionLine(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		for _, c := range sessionCases {
			t.Run(c.name, func(t *testing.T) {
				backend := listen(t, "127.0.0.1:0")
				l := serve(t, engine, fmt.Sprintf(`
					[[listener]]
					name = "front"
					listen = ["127.0.0.1:0"]
					pool = "databases"
					timeouts = { %s }

					[[pool]]
					name = "databases"
					health = { type = "none" }
					backend = [ { name = "db-1", address = %q } ]
				`, c.timeouts, backend.Addr()))

				began := time.Now()
				client := dial(t, l.address("front"))
				server := accept(t, backend)
				send(t, client, strings.Repeat("u", 1001))
				expect(t, server, strings.Repeat("u", 1001))
				send(t, server, strings.Repeat("d", 2002))
				expect(t, client, strings.Repeat("d", 2002))
				c.end(t, client, server)

				ln := l.session(client.LocalAddr())
				ended := time.Since(began).Seconds()
				wantFields(t, ln, fields{
					"level": "info", "msg": "session",
					"listener": "front", "pool": "databases", "backend": "db-1",
					"client": "127.0.0.1", "client_port": portOf(client.LocalAddr()),
					"backend_address": backend.Addr(), "attempts": 1,
					"bytes_up": 1001, "bytes_down": 2002, "reason": c.reason,
				})
				duration, connect := ln.number(t, "duration"), ln.number(t, "connect_time")
				if connect <= 0 || duration < connect || duration > ended {
					t.Errorf("got connect_time %v and duration %v; want 0 < connect_time <= duration <= %v",
						connect, duration, ended)
				}
				if all := l.logged(fields{"msg": "session"}); len(all) != 1 {
					t.Errorf("got %d lines for one session; want 1: %v", len(all), all)
				}
			})
		}
	})
}

// wantFields compares fields of a line.
func wantFields(t *testing.T, ln line, want fields) {
	t.Helper()
	for key := range want {
		if !ln.has(fields{key: want[key]}) {
			t.Errorf("%s: got %v; want %v", key, ln.fields[key], want[key])
		}
	}
}

// A session whose attempts failed, some or all, leaves a line that tells so.
func TestSessionLineOfFailedAttempts(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		t.Run("the second backend answers", func(t *testing.T) {
			t.Parallel()
			dead, alive := refusing(t), startEcho(t, "alive", "127.0.0.1:0")
			l := serve(t, engine, inOrder(dead, alive.address))
			v := visit(t, l.address("front"))
			v.leave(t)
			ln := l.session(v.LocalAddr())
			wantFields(t, ln, fields{
				"backend": alive.address, "backend_address": alive.address, "attempts": 2,
				"bytes_up": 0, "bytes_down": len("alive\n"), "reason": "client-closed",
			})
			if connect := ln.number(t, "connect_time"); connect <= 0 {
				t.Errorf("connect_time: got %v; want that of the attempt that succeeded", connect)
			}
			wantFields(t, l.await(fields{"msg": "connect failed"}), fields{
				"level": "warn", "pool": "pool", "backend": dead, "backend_address": dead,
			})
		})
		t.Run("every backend refuses", func(t *testing.T) {
			t.Parallel()
			first, second := refusing(t), refusing(t)
			l := serve(t, engine, inOrder(first, second))
			ln := l.session(dialReset(t, l.address("front")))
			wantFields(t, ln, fields{
				"level": "info", "listener": "front", "pool": "pool", "client": "127.0.0.1",
				"connect_time": 0, "attempts": 3, "bytes_up": 0, "bytes_down": 0, "reason": "connect-failed",
			})
			if !strings.Contains(ln.text("error"), "connection refused") {
				t.Errorf("error: got %q; want that the connection was refused", ln.text("error"))
			}
			if a := ln.text("backend_address"); a != first && a != second {
				t.Errorf("backend_address: got %q; want the one that was tried last", a)
			}
		})
		t.Run("no backend is up", func(t *testing.T) {
			t.Parallel()
			l := serve(t, engine, fmt.Sprintf(`
				[[listener]]
				name = "front"
				listen = ["127.0.0.1:0"]
				pool = "pool"

				[[pool]]
				name = "pool"
				health = { type = "tcp", interval = "20ms" }
				backend = [ { address = %q } ]
			`, refusing(t)))
			l.await(fields{"msg": "backend down"})
			wantFields(t, l.session(dialReset(t, l.address("front"))), fields{
				"backend": "", "backend_address": "", "connect_time": 0, "attempts": 0,
				"bytes_up": 0, "bytes_down": 0, "reason": "no-backend",
			})
		})
	})
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
}

// inOrder is a configuration with one listener, front, whose sessions try these
// backends in this order. They are not probed: each session finds out for itself.
func inOrder(backends ...string) string {
	config := `
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "pool"

		[[pool]]
		name = "pool"
		algorithm = "first"
		health = { type = "none" }
	`
	for _, address := range backends {
		config += fmt.Sprintf("[[pool.backend]]\naddress = %q\n", address)
	}
	return config
}
