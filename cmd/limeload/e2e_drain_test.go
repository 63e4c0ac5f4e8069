//go:build linux

package main_test

import (
	"fmt"
	"syscall"
	"testing"
)

// A signal lets sessions end, however long they take, and lets no new one begin.
func TestDrain(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(sig.String(), func(t *testing.T) {
				l := draining(t, engine, `drain_timeout = "1h"`)
				address := l.address("front")
				first, second := visit(t, address), visit(t, address)

				l.signal(sig)
				wantFields(t, l.await(fields{"msg": "stopping"}), fields{"sessions": 2})
				eventually(t, "new connections are refused", func() bool { return refused(address) })
				first.chat(t)
				second.chat(t)
				first.leave(t)
				second.chat(t)
				if !l.running() {
					t.Fatal("limeload ended before its last session")
				}
				second.leave(t)

				if status := l.status(); status != 0 {
					t.Errorf("exit status: got %d; want 0", status)
				}
				wantFields(t, l.await(fields{"msg": "stopped"}), fields{"cut": false})
				for _, v := range []*visitor{first, second} {
					wantFields(t, l.session(v.LocalAddr()), fields{"reason": "client-closed"})
				}
			})
		}
	})
}

// What still runs at the drain timeout is cut, and says so.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		l := draining(t, engine, `drain_timeout = "300ms"`)
		v := visit(t, l.address("front"))
		v.chat(t)
		l.signal(syscall.SIGTERM)
		expectReset(t, v.from)
		if status := l.status(); status != 0 {
			t.Errorf("exit status: got %d; want 0", status)
		}
		wantFields(t, l.session(v.LocalAddr()), fields{
			"reason": "drained", "backend": "b",
			"bytes_up": len("are you there?"), "bytes_down": len("b\nare you there?"),
		})
		wantFields(t, l.await(fields{"msg": "stopped"}), fields{"cut": true})
	})
}

// During the delay limeload serves as before: routers need it to look away.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		l := draining(t, engine, `delay = "1h"`)
		l.signal(syscall.SIGTERM)
		l.await(fields{"msg": "signal"})
		visit(t, l.address("front")).leave(t)
		l.signal(syscall.SIGTERM)
		if status := l.status(); status != 1 {
			t.Errorf("exit status: got %d; want 1", status)
		}
	})
}

// Who cannot wait signals twice.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		l := draining(t, engine, `drain_timeout = "1h"`)
		v := visit(t, l.address("front"))
		l.signal(syscall.SIGTERM)
		l.await(fields{"msg": "stopping"})
		v.chat(t)
		l.signal(syscall.SIGINT)
		if status := l.status(); status != 1 {
			t.Errorf("exit status: got %d; want 1", status)
		}
		if _, err := v.from.ReadByte(); err == nil {
			t.Error("the session outlived the process")
		}
	})
}

// draining starts limeload in front of an echo, with these keys of [shutdown].
func draining(t *testing.T, engine, shutdown string) *limeload {
	t.Helper()
	backend := startEcho(t, "b", "127.0.0.1:0")
	return serve(t, engine, fmt.Sprintf(`
		[shutdown]
		%s

		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "pool"

		[[pool]]
		name = "pool"
		health = { type = "none" }
		backend = [ { name = "b", address = %q } ]
	`, shutdown, backend.address))
}
