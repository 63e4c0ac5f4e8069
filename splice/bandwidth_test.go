package splice

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever flows ask, wait and move, a Bandwidth lets no more pass than rate x t +
// burst, of all together and of each.
func TestBandwidthBounds(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		runPaces(t, seed, func(h *paceHistory) {
			if most := int64(h.worth(h.shared)) + h.burst(h.shared); h.shared > 0 && h.moved > most {
				t.Fatalf("seed %d: after %v %d bytes have moved; want %d at most", seed, time.Duration(h.now), h.moved, most)
			}
			for i, f := range h.flows {
				if most := int64(h.worth(h.each)) + h.burst(h.each); h.each > 0 && f.moved > most {
					t.Fatalf("seed %d: after %v flow %d has moved %d bytes; want %d at most", seed, time.Duration(h.now), i, f.moved, most)
				}
			}
		})
	}
}

// paceHistory is flows that share a lane, over a clock of the test's.
type paceHistory struct {
	lane         lane
	shared, each int64
	now, moved   int64
	flows        []*pacedFlow
}

type pacedFlow struct {
	pace
	moved int64
}

func (h *paceHistory) worth(rate int64) int { return worth(h.now, rate) }
func (h *paceHistory) burst(rate int64) int64 {
	return max(int64(worth(int64(burstTime), rate)), leastBurst) + 1
}

func runPaces(t *testing.T, seed uint64, check func(*paceHistory)) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	h := &paceHistory{shared: r.Int64N(3) * (1000 + r.Int64N(1<<r.IntN(31))), each: r.Int64N(3) * (1000 + r.Int64N(1<<r.IntN(31)))}
	h.lane.set(h.shared, h.each)
	for range 1 + r.IntN(20) {
		h.flows = append(h.flows, &pacedFlow{})
	}
	for range 2000 {
		h.now += r.Int64N(int64(5 * time.Millisecond))
		f := h.flows[r.IntN(len(h.flows))]
		if !h.lane.bounded.Load() || f.waits(&h.lane, h.now) {
			continue
		}
		pending := 1 + r.IntN(1<<r.IntN(20))
		n := f.reserve(&h.lane, h.now, 1+r.IntN(1<<18), func() int { return pending })
		if n == 0 {
			if f.due <= h.now {
				t.Fatalf("seed %d: a flow that has to wait is due at %d, now is %d", seed, f.due, h.now)
			}
			continue
		}
		used := min(n, pending)
		f.settle(&h.lane, used)
		f.moved += int64(used)
		h.moved += int64(used)
		check(h)
	}
}

// Flows that always have bytes get what the bound allows, in equal parts.
func TestBandwidthIsFairAndUsed(t *testing.T) {
	const rate, flows = 10_000_000, 7
	var l lane
	l.set(rate, 0)
	all := make([]pacedFlow, flows)
	for now := int64(0); now < int64(20*time.Second); now += int64(time.Millisecond) {
		for i := range all {
			f := &all[i]
			for !f.waits(&l, now) {
				n := f.reserve(&l, now, 64<<10, func() int { return 1 << 20 })
				if n == 0 {
					break
				}
				f.settle(&l, n)
				f.moved += int64(n)
			}
		}
	}
	var sum int64
	for i := range all {
		sum += all[i].moved
	}
	if sum < 20*rate*95/100 {
		t.Errorf("got %d bytes in 20 s; want next to %d", sum, 20*rate)
	}
	for i := range all {
		if got, want := all[i].moved, sum/flows; got < want*9/10 || got > want*11/10 {
			t.Errorf("flow %d got %d bytes; want about %d as each of the others", i, got, want)
		}
	}
}

// A flow that has used up what a low rate gives waits no longer than a new one once the rate
// is raised.
func TestBandwidthRaised(t *testing.T) {
	for _, c := range []struct {
		name         string
		shared, each int64
	}{{"of all", 1, 0}, {"of each", 0, 1}} {
		var l lane
		l.set(c.shared, c.each)
		var f pacedFlow
		now := int64(time.Second)
		for range 2 { // the burst, and then a turn that is hours away
			if !f.waits(&l, now) && f.reserve(&l, now, 64<<10, func() int { return 1 << 20 }) > 0 {
				f.settle(&l, f.grant)
			}
		}
		if !f.waits(&l, now+int64(time.Hour/4)) {
			t.Errorf("%s: got a turn at 1 B/s; want it to be far away", c.name)
		}
		l.set(c.shared*1_000_000, c.each*1_000_000)
		if f.waits(&l, now) || f.reserve(&l, now, 64<<10, func() int { return 1 << 20 }) == 0 {
			t.Errorf("%s: at 1 MB/s got the next turn in %v; want it at once", c.name, time.Duration(f.due-now))
		}
	}
}

// Beside flows that always have bytes, one with few waits for no more than their turns.
func TestBandwidthShortTurns(t *testing.T) {
	const rate, flows = 1_000_000, 10
	var l lane
	l.set(rate, 0)
	elephants, mouse := make([]pacedFlow, flows), pacedFlow{}
	most := time.Duration(cost(flows*turn(rate)+100, rate)) + time.Millisecond
	asked := int64(-1)
	for now := int64(0); now < int64(5*time.Second); now += int64(time.Millisecond) {
		for i := range elephants {
			f := &elephants[i]
			for !f.waits(&l, now) && f.reserve(&l, now, 64<<10, func() int { return 1 << 20 }) > 0 {
				f.settle(&l, f.grant)
			}
		}
		if asked < 0 {
			asked = now
		}
		if mouse.waits(&l, now) || mouse.reserve(&l, now, 64<<10, func() int { return 100 }) == 0 {
			if waited := time.Duration(now - asked); waited > most {
				t.Fatalf("100 bytes wait for %v; want %v at most", waited, most)
			}
			continue
		}
		mouse.settle(&l, 100)
		asked = -1
	}
}

// A change ends every wait, and what was reserved before counts no more.
func TestBandwidthChange(t *testing.T) {
	var b Bandwidth
	b.Set(Rates{Up: 1000})
	l, now := &b.lanes[0], int64(time.Second)
	var p pace
	for p.reserve(l, now, 64<<10, func() int { return 1 << 20 }) > 0 {
		p.settle(l, p.grant)
	}
	if !p.waits(l, now) {
		t.Fatal("nothing waits at 1 kB/s; want a wait")
	}
	b.Set(Rates{Up: 1_000_000_000})
	if p.waits(l, now) {
		t.Error("waits after the bound was raised")
	}
	if n := p.reserve(l, now, 64<<10, func() int { return 1 << 20 }); n != 64<<10 {
		t.Errorf("got %d bytes; want %d at once", n, 64<<10)
	}
	if got := b.Rates(); got != (Rates{Up: 1_000_000_000}) {
		t.Errorf("got rates %+v", got)
	}
}

// The bound is a maximum, and the parts by which it is shortened are spread.
func TestLifetimeJitter(t *testing.T) {
	c := Timeouts{Lifetime: time.Hour, LifetimeJitter: 6 * time.Minute}
	var tenths [10]int
	const n = 100_000
	for seed := range uint64(n) {
		got := c.lifetime(seed)
		if got > time.Hour || got < 54*time.Minute {
			t.Fatalf("seed %d got %v; want 54m to 1h", seed, got)
		}
		tenths[min(int((time.Hour-got)*10/(6*time.Minute)), 9)]++
	}
	for i, got := range tenths {
		if got < n/12 || got > n/8 {
			t.Errorf("%d of %d sessions are in tenth %d; want about %d", got, n, i, n/10)
		}
	}
	if got := (&Timeouts{Lifetime: time.Hour}).lifetime(7); got != time.Hour {
		t.Errorf("without jitter got %v; want 1h", got)
	}
	if got := (&Timeouts{LifetimeJitter: time.Hour}).lifetime(7); got != 0 {
		t.Errorf("without a lifetime got %v; want none", got)
	}
}
