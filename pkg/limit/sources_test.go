package limit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// check holds a table to what must always be true of it.
func (t *Sources) check(test *testing.T) {
	test.Helper()
	for n := range t.shards {
		s := &t.shards[n]
		idle := 0
		for i, older := s.oldest, uint32(0); i != 0; i, older = s.at(i).newer, i {
			if s.at(i).live != 0 || s.at(i).older != older {
				test.Fatalf("entry %d is in the list of idle ones with %d live, after %d instead of %d", i, s.at(i).live, s.at(i).older, older)
			}
			idle++
		}
		live, chained := 0, 0
		for i := uint32(1); i <= s.used; i++ {
			if s.at(i).live > 0 {
				live++
			}
			if s.find(s.at(i).Source, s.at(i).hash) != i {
				test.Fatalf("entry %d is not found", i)
			}
		}
		for _, i := range s.heads {
			for ; i != 0; i = s.at(i).next {
				chained++
			}
		}
		if live+idle != int(s.used) || chained != int(s.used) || s.used > s.limit {
			test.Fatalf("%d live, %d idle, %d chained, of %d used, of %d", live, idle, chained, s.used, s.limit)
		}
	}
}

// A random history of sources that come, go and are forgotten, beside a plain model:
// no source ever has more connections than its limit, nor more in any window than its
// rate and burst, although the table is far too small for all of them.
func TestSourcesHoldEverySource(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		entries, sources := 1+r.IntN(40), 1+r.IntN(80)
		q := Quota{Connections: 1 + r.IntN(4)}
		rate, burst := 1+r.IntN(1000), 1+r.IntN(6)
		q.Rate = PerSecond(rate, burst)
		table, now := NewSources(entries), int64(0)
		model := make([]struct {
			slots []Slot
			history
		}, sources)
		live := 0 // sources
		for range 3000 {
			now += step(r, q.Rate.Interval()/4)
			k := r.IntN(sources)
			m := &model[k]
			src := NewSource(7, address(uint32(k)<<8, k%2 == 0), 32, 64)
			if len(m.slots) > 0 && r.IntN(3) == 0 {
				table.Release(m.slots[0])
				if m.slots = m.slots[1:]; len(m.slots) == 0 {
					live--
				}
				continue
			}
			foreseen, seen, _ := table.Look(src, q, now)
			slot, outcome := table.Take(src, q, now)
			switch {
			case foreseen != outcome || seen != len(m.slots):
				t.Fatalf("seed %d: Look said %v and %d, Take %v with %d live", seed, foreseen, seen, outcome, len(m.slots))
			case outcome == TooMany && len(m.slots) < q.Connections:
				t.Fatalf("seed %d: too many with %d of %d", seed, len(m.slots), q.Connections)
			case outcome == NoRoom && live < entries:
				t.Fatalf("seed %d: no room with %d live sources of %d", seed, live, entries)
			case outcome != Taken:
				continue
			case len(m.slots) >= q.Connections:
				t.Fatalf("seed %d: a connection beyond %d", seed, q.Connections)
			}
			if table.Of(slot) != src {
				t.Fatalf("seed %d: the slot of %v is that of %v", seed, src, table.Of(slot))
			}
			if r.IntN(8) == 0 {
				table.Return(slot, q.Rate) // it did not happen
				continue
			}
			if len(m.slots) == 0 {
				live++
			}
			m.slots, m.at = append(m.slots, slot), append(m.at, now)
		}
		table.check(t)
		for i := range model {
			model[i].rate, model[i].burst = rate, burst
			model[i].check(t, "a source")
		}
	}
}

// A flood of sources does not buy one with live connections another one, nor one that
// has used its burst a new one.
func TestSourcesUnderFlood(t *testing.T) {
	flood := uint32(10_000_000)
	if testing.Short() {
		flood = 100_000
	}
	table := NewSources(1 << 14)
	q := Quota{Connections: 3, Rate: PerSecond(1, 3)}
	now := int64(time.Hour)
	holder := NewSource(1, netip.MustParseAddr("192.0.2.1"), 32, 64)
	spent := NewSource(1, netip.MustParseAddr("192.0.2.2"), 32, 64)
	for range 3 {
		table.Take(holder, q, now)
		slot, _ := table.Take(spent, q, now)
		table.Release(slot)
	}
	if _, outcome := table.Take(spent, q, now); outcome != TooFast {
		t.Fatalf("before the flood: got %v; want too fast", outcome)
	}
	admitted := 0
	for n := range flood {
		src := NewSource(1, address(n, true), 32, 64)
		if slot, outcome := table.Take(src, q, now); outcome == Taken {
			admitted++
			table.Release(slot)
		}
	}
	if s := table.Stats(); s.Forgotten == 0 || s.Entries > 1<<14 {
		t.Errorf("the flood made %+v; want a full table that forgets", s)
	}
	if _, outcome := table.Take(holder, q, now+int64(time.Hour)); outcome != TooMany {
		t.Errorf("who has all its connections: got %v; want too many, an hour later as well", outcome)
	}
	if _, outcome := table.Take(spent, q, now); outcome != TooFast {
		t.Errorf("who has spent its burst: got %v; want too fast", outcome)
	}
	t.Logf("%d of %d sources of the flood were admitted, all at one moment", admitted, flood)
	if slot, outcome := table.Take(NewSource(1, netip.MustParseAddr("192.0.2.3"), 32, 64), q, now+int64(4*time.Second)); outcome != Taken {
		t.Errorf("a newcomer after the flood: got %v; want it taken", outcome)
	} else {
		table.Release(slot)
	}
	table.check(t)
}

// When every source is live there is no room for another one, until one leaves.
func TestSourcesAllLive(t *testing.T) {
	table := NewSources(100)
	var slots []Slot
	for n := range uint32(100) {
		slot, outcome := table.Take(NewSource(1, address(n, false), 32, 64), Quota{}, 0)
		if outcome != Taken {
			t.Fatalf("source %d of 100: got %v", n, outcome)
		}
		slots = append(slots, slot)
	}
	other := NewSource(1, address(1000, false), 32, 64)
	if _, outcome := table.Take(other, Quota{}, 0); outcome != NoRoom {
		t.Errorf("the 101st: got %v; want no room", outcome)
	}
	if _, outcome := table.Take(NewSource(1, address(5, false), 32, 64), Quota{}, 0); outcome != Taken {
		t.Errorf("one that is known: got %v; want it taken", outcome)
	}
	table.Release(slots[7])
	if _, outcome := table.Take(other, Quota{}, 0); outcome != Taken {
		t.Errorf("after one left: got %v; want it taken", outcome)
	}
	table.check(t)
}

// Who was used last is forgotten last.
func TestSourcesForgetsTheOldest(t *testing.T) {
	table := NewSources(3)
	use := func(n uint32) {
		slot, _ := table.Take(NewSource(1, address(n, false), 32, 64), Quota{}, 0)
		table.Release(slot)
	}
	for _, n := range []uint32{1, 2, 3, 1, 4} { // 4 in place of 2
		use(n)
	}
	known := func(n uint32) bool {
		src := NewSource(1, address(n, false), 32, 64)
		_, hash := table.locate(src)
		return table.shards[0].find(src, hash) != 0
	}
	if !known(1) || known(2) || !known(3) || !known(4) {
		t.Errorf("known: %v %v %v %v; want 1, 3 and 4", known(1), known(2), known(3), known(4))
	}
}

func TestSourcePrefixes(t *testing.T) {
	for _, test := range []struct {
		address string
		v4, v6  int
		want    string
	}{
		{"192.0.2.77", 32, 64, "192.0.2.77/32"},
		{"192.0.2.77", 24, 64, "192.0.2.0/24"},
		{"192.0.2.77", 1, 64, "128.0.0.0/1"},
		{"2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64"},
		{"2001:db8:1:2:3:4:5:6", 32, 128, "2001:db8:1:2:3:4:5:6/128"},
		{"2001:db8:1:2:3:4:5:6", 32, 100, "2001:db8:1:2:3:4::/100"},
		{"2001:db8:1:2:3:4:5:6", 32, 48, "2001:db8:1::/48"},
		{"8001::1", 32, 1, "8000::/1"},
	} {
		s := NewSource(3, netip.MustParseAddr(test.address), test.v4, test.v6)
		if got := s.Prefix().String(); got != test.want {
			t.Errorf("%s by /%d and /%d: got %s; want %s", test.address, test.v4, test.v6, got, test.want)
		}
	}
	a := netip.MustParseAddr("192.0.2.77")
	if NewSource(1, a, 32, 64) == NewSource(2, a, 32, 64) || NewSource(1, a, 32, 64) == NewSource(1, a, 31, 64) {
		t.Error("two scopes, or two lengths, share a source")
	}
}

// Loops at one time: never more than the limit for any source.
func TestSourcesShared(t *testing.T) {
	const loops, sources, most = 8, 20, 3
	table := NewSources(10) // fewer than there are sources
	var live [sources]atomic.Int32
	var loop sync.WaitGroup
	for n := range uint64(loops) {
		loop.Go(func() {
			r := rand.New(rand.NewPCG(n, 0))
			for range 20_000 {
				k := r.IntN(sources)
				slot, outcome := table.Take(NewSource(1, address(uint32(k), false), 32, 64), Quota{Connections: most}, Now())
				if outcome != Taken {
					continue
				}
				if got := live[k].Add(1); got > most {
					t.Errorf("source %d has %d connections; want at most %d", k, got, most)
				}
				live[k].Add(-1)
				table.Release(slot)
			}
		})
	}
	loop.Wait()
	table.check(t)
}

func TestSourcesTakeNoMemory(t *testing.T) {
	table := NewSources(1000)
	q := Quota{Connections: 5, Rate: PerSecond(1_000_000, 1_000_000)}
	n := uint32(0)
	for range 2000 {
		n++
		slot, _ := table.Take(NewSource(1, address(n, false), 32, 64), q, Now())
		table.Release(slot)
	}
	if a := testing.AllocsPerRun(1000, func() {
		n++
		slot, _ := table.Take(NewSource(1, address(n, false), 32, 64), q, Now())
		table.Release(slot)
	}); a != 0 {
		t.Errorf("got %v allocations for a source in a full table; want 0", a)
	}
}
