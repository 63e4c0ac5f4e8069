package server

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// A reload bounds sessions that live, and frees them again.
func TestApplyBandwidth(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a := newEcho(t, "127.0.0.1:0").Addr().String()
		base := setup{listen: "127.0.0.1:0", backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }", engine)}
		s := start(t, base.config(t))
		live := dial(t, s)
		if err := exchange(live); err != nil {
			t.Fatal(err)
		}

		bounded := base.config(t)
		bounded.Listeners[0].Limits.ConnectionBandwidthDown = 256 << 10
		if changes := apply(t, s, bounded); len(changes) != 1 || changes[0].New != `"262144B/s"` {
			t.Errorf("changes %v; want the bandwidth", changes)
		}
		const n = 128 << 10
		if took, least := echoed(t, live, n), 300*time.Millisecond; took < least {
			t.Errorf("%d bytes came back in %v; want %v at least", n, took, least)
		}

		bounded = base.config(t)
		bounded.Listeners[0].Limits.BandwidthUp = 1000
		apply(t, s, bounded)
		apply(t, s, base.config(t))
		echoed(t, live, n) // would take two minutes
		if got := s.state.Load().listener("front").front.Bandwidth.Rates(); got != (splice.Rates{}) {
			t.Errorf("rates got %+v; want none", got)
		}
	})
}

// echoed sends n bytes, and answers how long they took to come back.
func echoed(t *testing.T, c io.ReadWriter, n int) time.Duration {
	t.Helper()
	began := time.Now()
	go c.Write(make([]byte, n))
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func TestTimeouts(t *testing.T) {
	c := setup{listen: "127.0.0.1:0", backends: []string{"127.0.0.1:1"}}.config(t)
	l := &c.Listeners[0]
	l.Timeouts.MaxLifetime, l.Timeouts.LifetimeJitter, l.Timeouts.Stall = time.Hour, 20, time.Minute
	l.UserTimeout = 9 * time.Second
	want := splice.Timeouts{
		HalfClose: 30 * time.Second, Stall: time.Minute, Lifetime: time.Hour, LifetimeJitter: 12 * time.Minute,
		Keepalive: splice.Keepalive{Idle: time.Minute, Interval: 10 * time.Second, Count: 6, UserTimeout: 9 * time.Second},
	}
	if got := timeouts(l); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
}
