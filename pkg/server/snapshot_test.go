package server

import (
	"testing"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// A session of days is in the figures from its first byte on, and stays in them.
func TestBytesOfLiveSessionsCount(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := start(t, simple(t, engine, newEcho(t, "127.0.0.1:0").Addr().String(), ""))
		c := dial(t, s)
		counted := func(n uint64) func() bool {
			return func() bool {
				snap := s.Snapshot()
				l, p := snap.Listeners[0], snap.Pools[0]
				b := p.Backends[0]
				return [6]uint64{l.Up, l.Down, p.Up, p.Down, b.Up, b.Down} == [6]uint64{n, n, n, n, n, n}
			}
		}
		for i := range uint64(3) {
			if err := exchange(c); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the bytes of the live session are counted", counted(4*(i+1)))
		}
		c.Close()
		eventually(t, "the session has ended", func() bool {
			return s.Snapshot().Listeners[0].Ended[splice.ReasonClientClosed] == 1
		})
		if !counted(12)() {
			t.Errorf("after the session: got %+v; want 12 bytes each way", s.Snapshot().Listeners[0])
		}
		snap := s.Snapshot()
		if n := snap.Listeners[0].Duration.Count(); n != 1 {
			t.Errorf("durations of ended sessions: got %d; want 1", n)
		}
		if n := snap.Pools[0].Connect.Count(); n != 1 {
			t.Errorf("durations of connects: got %d; want 1", n)
		}
	})
}

func TestFailuresAndProbesAreCountedByKind(t *testing.T) {
	s := start(t, simple(t, splice.TypeAuto, "127.0.0.1:1", "connect = { attempts = 1 }"))
	backend := func() BackendSnapshot { return s.Snapshot().Pools[0].Backends[0] }
	eventually(t, "a probe found it down", func() bool { return backend().Probes[healthcheck.Down] > 0 && backend().HealthChanges == 1 })

	p := s.state.Load().pools[0]
	p.balancer.SetHealth(backend().Backend, health(healthcheck.StateUp)) // so that a session tries it
	eventually(t, "a dial was refused", func() bool {
		ask(s)
		p.balancer.SetHealth(backend().Backend, health(healthcheck.StateUp))
		return backend().DialFailedBy[proxy.CauseRefused] > 0
	})
	if b := backend(); b.DialFailures != b.DialFailedBy[proxy.CauseRefused] {
		t.Errorf("dials that failed: got %d, by cause %v; want all refused", b.DialFailures, b.DialFailedBy)
	}
}
