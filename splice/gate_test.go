package splice

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestGateReserve(t *testing.T) {
	for _, tt := range []struct {
		name    string
		gate    *Gate
		granted int // of 5 that ask
	}{
		{"the zero value has no limit", new(Gate), 5},
		{"limit 0 is none", NewGate(0), 5},
		{"limit 1", NewGate(1), 1},
		{"limit 3", NewGate(3), 3},
		{"limit 5", NewGate(5), 5},
		{"limit 6", NewGate(6), 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			granted := 0
			for range 5 {
				if tt.gate.reserve() {
					granted++
				}
			}
			if granted != tt.granted || tt.gate.Used() != tt.granted {
				t.Errorf("got %d permits and %d in use; want %d", granted, tt.gate.Used(), tt.granted)
			}
			for range granted {
				tt.gate.release()
			}
			if used := tt.gate.Used(); used != 0 {
				t.Errorf("after as many releases %d are in use; want 0", used)
			}
		})
	}
}

func TestGateSetLimit(t *testing.T) {
	g := NewGate(2)
	g.reserve()
	g.reserve()
	g.SetLimit(1)
	if g.Limit() != 1 || g.Used() != 2 {
		t.Errorf("lowered: got limit %d, %d in use; want 1 and 2", g.Limit(), g.Used())
	}
	g.release()
	if g.reserve() {
		t.Error("lowered: reserve got a permit beside as many as the limit")
	}
	g.SetLimit(2)
	if !g.reserve() {
		t.Error("raised: reserve got none; want a permit")
	}
	g.SetLimit(0)
	if !g.reserve() {
		t.Error("without a limit: reserve got none; want a permit")
	}
}

func TestGateAwait(t *testing.T) {
	for _, tt := range []struct {
		name string
		wake func(*Gate)
	}{
		{"release", (*Gate).release},
		{"a raised limit", func(g *Gate) { g.SetLimit(2) }},
		{"no limit any more", func(g *Gate) { g.SetLimit(0) }},
	} {
		t.Run(tt.name+" wakes whoever waits, once", func(t *testing.T) {
			g := NewGate(1)
			g.reserve()
			woken := [2]int{}
			for i := range woken {
				g.await(func() { woken[i]++ })
			}
			tt.wake(g)
			tt.wake(g)
			if woken != [2]int{1, 1} {
				t.Errorf("waiters were woken %v times; want once each", woken)
			}
			if !g.reserve() {
				t.Error("reserve got none after waking; want a permit")
			}
		})
	}
}

func TestReserveAll(t *testing.T) {
	free, full, last := NewGate(1), NewGate(1), NewGate(1)
	full.reserve()
	gates := []*Gate{free, full, last}
	if got := reserveAll(gates); got != full {
		t.Errorf("reserveAll got gate %p; want the full one, %p", got, full)
	}
	if free.Used() != 0 || last.Used() != 0 {
		t.Errorf("after a refusal %d and %d are in use; want none", free.Used(), last.Used())
	}
	full.release()
	if got := reserveAll(gates); got != nil {
		t.Errorf("reserveAll got gate %p; want nil", got)
	}
	releaseAll(gates)
	for i, g := range gates {
		if g.Used() != 0 {
			t.Errorf("after releaseAll gate %d has %d in use; want 0", i, g.Used())
		}
	}
	if got := reserveAll(nil); got != nil {
		t.Errorf("reserveAll of no gates got %p; want nil", got)
	}
}

// TestGateConcurrent has many take and return permits, as acceptors do it, while the
// limit changes. Nobody may be left waiting, and the highest limit holds always.
func TestGateConcurrent(t *testing.T) {
	const highest, acceptors, sessions = 4, 16, 500
	g := NewGate(highest)
	var live atomic.Int64
	var work sync.WaitGroup
	for range acceptors {
		work.Go(func() {
			for range sessions {
				for !g.reserve() {
					woken := make(chan struct{})
					g.await(func() { close(woken) })
					if g.reserve() {
						break
					}
					<-woken
				}
				if n := live.Add(1); n > highest {
					t.Errorf("%d permits were held at once; want at most %d", n, highest)
				}
				live.Add(-1)
				g.release()
			}
		})
	}
	for range 200 {
		g.SetLimit(1 + rand.IntN(highest))
	}
	work.Wait()
	if used := g.Used(); used != 0 {
		t.Errorf("in the end %d are in use; want 0", used)
	}
}
