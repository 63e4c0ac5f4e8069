//go:build linux

package main_test

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// Every phase in which a peer may keep a session waiting has its end, by the key and with
// the reason that docs/configuration.md says. TestSessionLine has the phases of sessions of
// which the peers do no more than say nothing, and TestLimitsDelay those who are held.
func TestEveryPhaseHasItsEnd(t *testing.T) {
	t.Parallel()
	const least = 300 * time.Millisecond // what the keys say, in all
	for _, c := range []struct {
		name, listener, pool string
		do                   func(t *testing.T, client, backend *net.TCPConn) // nil: the backend does not answer
		reason               string
	}{
		{
			name: "dialing", pool: `connect = { timeout = "150ms", attempts = 2 }`,
			reason: "connect-failed",
		},
		{
			name: "the client takes nothing", listener: `timeouts = { stall = "300ms" }`,
			do:     func(t *testing.T, _, backend *net.TCPConn) { fill(t, backend) },
			reason: "stall-timeout",
		},
		{
			name: "the backend takes nothing", listener: `timeouts = { stall = "300ms" }`,
			do:     func(t *testing.T, client, _ *net.TCPConn) { fill(t, client) },
			reason: "stall-timeout",
		},
		{
			name: "the backend takes nothing, and the kernel waits no longer", listener: `user_timeout = "300ms"`,
			do:     func(t *testing.T, client, _ *net.TCPConn) { fill(t, client) },
			reason: "backend-reset",
		},
		{
			name: "closing, and the client takes nothing", listener: `timeouts = { half_close = "300ms" }`,
			do: func(t *testing.T, _, backend *net.TCPConn) {
				send(t, backend, string(make([]byte, 256<<10)))
				closeWrite(t, backend)
				expectReset(t, backend)
			},
			reason: "half-close-timeout",
		},
		{
			name: "closing, and the backend takes nothing", listener: `timeouts = { half_close = "300ms" }`,
			do: func(t *testing.T, client, _ *net.TCPConn) {
				send(t, client, string(make([]byte, 256<<10)))
				closeWrite(t, client)
				expectReset(t, client)
			},
			reason: "half-close-timeout",
		},
		{
			name: "the client has ended, and the backend is silent", listener: `timeouts = { half_close = "300ms" }`,
			do: func(t *testing.T, client, backend *net.TCPConn) {
				send(t, backend, "hello") // who leaves before the engine knows of the backend is not a session
				expect(t, client, "hello")
				closeWrite(t, client)
				expectReset(t, client)
			},
			reason: "half-close-timeout",
		},
		{
			name: "silent, where the file says more than the preset", listener: `preset = "http"
				timeouts = { idle = "300ms" }`,
			do:     func(t *testing.T, client, _ *net.TCPConn) { expectReset(t, client) },
			reason: "idle-timeout",
		},
		{
			name: "old, by the bound less the jitter", listener: `timeouts = { max_lifetime = "600ms", lifetime_jitter = 50 }`,
			do:     func(t *testing.T, client, _ *net.TCPConn) { expectReset(t, client) },
			reason: "lifetime",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothEngines(t, func(t *testing.T, engine string) {
				var backend *net.TCPListener
				var address string
				if c.do != nil {
					backend = listen(t, "127.0.0.1:0")
					address = backend.Addr().String()
				} else {
					address = unanswering(t)
				}
				l := serveText(t, guarded(engine, "", c.listener, c.pool, address))
				client := dial(t, l.address("door"))
				if c.do != nil {
					server := accept(t, backend)
					client.SetReadBuffer(4 << 10)
					server.SetReadBuffer(4 << 10)
					c.do(t, client, server)
				} else {
					expectReset(t, client)
				}
				ln := l.session(client.LocalAddr())
				wantFields(t, ln, fields{"reason": c.reason})
				if d := ln.number(t, "duration"); d < least.Seconds() {
					t.Errorf("it ended after %s; want %v at least", fmt.Sprint(d), least)
				}
			})
		})
	}
}
