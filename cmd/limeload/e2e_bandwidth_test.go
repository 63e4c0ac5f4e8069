//go:build linux

package main_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Each key bounds its direction, of each session or of all together, and no other one.
// The rate is so low that a wrong one of the four would take minutes.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	const rate, burst, sessions, free = 1000, 4 << 10, 32, 256 << 10
	for _, c := range []struct {
		key        string
		up, shared bool
	}{
		{"bandwidth_up", true, true},
		{"bandwidth_down", false, true},
		{"connection_bandwidth_up", true, false},
		{"connection_bandwidth_down", false, false},
	} {
		t.Run(c.key, func(t *testing.T) {
			onBothEngines(t, func(t *testing.T, engine string) {
				backend := listen(t, "127.0.0.1:0")
				const atOnce = "shutdown = { drain_timeout = \"0s\" }" // what is left at the end is too much to wait for
				l := serveText(t, guarded(engine, atOnce, "limits = { "+c.key+" = \"1kB/s\" }", "", backend.Addr().String()))
				began := time.Now()
				var each [sessions]atomic.Int64
				var from, to net.Conn // in the direction that is bounded
				for i := range sessions {
					client, server := dial(t, l.address("door")), accept(t, backend)
					if from, to = client, server; !c.up {
						from, to = server, client
					}
					go from.Write(make([]byte, 64<<10))
					go countBytes(to, &each[i])
				}
				send(t, to, string(make([]byte, free)))
				if _, err := io.CopyN(io.Discard, from, free); err != nil {
					t.Errorf("the other direction: %v; want %d bytes at once", err, free)
				}

				total := func() (sum, least int64) {
					least = 64 << 10
					for i := range each {
						n := each[i].Load()
						sum, least = sum+n, min(least, n)
					}
					return sum, least
				}
				eventually(t, "every session, or all, have had more than a burst", func() bool {
					sum, least := total()
					return c.shared && sum > burst || least > burst
				})
				sum, _ := total()
				most := int64(rate*time.Since(began).Seconds()) + burst
				if !c.shared {
					most *= sessions
				}
				if sum > most {
					t.Errorf("%d bytes passed; want %d at most", sum, most)
				}
			})
		})
	}
}

// countBytes reads until the end, and tells of every byte.
func countBytes(from io.Reader, n *atomic.Int64) {
	b := make([]byte, 4<<10)
	for {
		got, err := from.Read(b)
		n.Add(int64(got))
		if err != nil {
			return
		}
	}
}

// fill sends until the other side, which takes nothing, is reset.
func fill(t *testing.T, c net.Conn) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Write(b); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return
		} else if err != nil {
			t.Fatalf("write: %v; want a reset", err)
		}
	}
}
