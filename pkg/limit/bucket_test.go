package limit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// history notes when events were allowed, and holds them to a rate.
type history struct {
	rate, burst int
	at          []int64
}

// check looks at every window that begins and ends with an event: no other can have
// more. A window w may have rate*w + burst.
func (h *history) check(t *testing.T, what string) {
	t.Helper()
	for i := range h.at {
		for j := i; j < len(h.at); j++ {
			w := h.at[j] - h.at[i]
			if n := int64(j - i + 1); (n-int64(h.burst))*int64(time.Second) > int64(h.rate)*w {
				t.Fatalf("%s: %d events in %v; want at most %d/s and %d at once", what, n, time.Duration(w), h.rate, h.burst)
			}
		}
	}
}

// steps are pauses of random histories: many at once, some about as long as a token
// takes, and now and then a long one.
func step(r *rand.Rand, interval time.Duration) int64 {
	switch r.IntN(10) {
	case 0:
		return r.Int64N(int64(20*interval) + 1)
	case 1, 2, 3:
		return r.Int64N(int64(2*interval) + 1)
	}
	return r.Int64N(1000)
}

// No window has more than rate*w + burst, whatever the arrivals, and after any change
// of the rate.
func TestBucketHoldsEveryWindow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var b Bucket
		now := r.Int64N(int64(time.Hour))
		for range 3 { // the rate changes, as at a reload
			h := history{rate: 1 + r.IntN(2000), burst: 1 + r.IntN(20)}
			rate := PerSecond(h.rate, h.burst)
			for range 300 {
				now += step(r, rate.Interval())
				wait := b.Wait(rate, now)
				ok := b.Take(rate, now)
				if ok != (wait == 0) {
					t.Fatalf("seed %d: Wait said %v and Take %v", seed, wait, ok)
				}
				if !ok {
					if b.Take(rate, now+int64(wait)-1) {
						t.Fatalf("seed %d: a token came before Wait said", seed)
					}
					continue
				}
				h.at = append(h.at, now)
			}
			h.check(t, "a bucket")
		}
	}
}

// What was taken under a Rate that lets more be owed does not outlast it: after a reload
// the next token comes as the new Rate has it.
func TestBucketForgetsWhatAnEarlierRateLetOwe(t *testing.T) {
	slow, fast := PerSecond(1, 3600), PerSecond(100, 100)
	var b Bucket
	for b.Take(slow, 0) {
	}
	if b.Take(fast, 0) {
		t.Fatal("a token right after an hour's worth was taken; want none")
	}
	if wait := b.Wait(fast, 0); wait != fast.Interval() {
		t.Errorf("the next token comes in %v; want %v", wait, fast.Interval())
	}
	table := NewSources(1)
	src := NewSource(1, netip.MustParseAddr("192.0.2.1"), 32, 64)
	for taken := Taken; taken == Taken; _, taken = table.Take(src, Quota{Rate: slow}, 0) {
	}
	table.Take(src, Quota{Rate: fast}, 0)
	if o, _, wait := table.Look(src, Quota{Rate: fast}, 0); o != TooFast || wait != fast.Interval() {
		t.Errorf("a source's next token: %v, in %v; want %v, in %v", o, wait, TooFast, fast.Interval())
	}
}

// What the bound allows is given: the burst at once, and then the rate.
func TestBucketGivesWhatItMay(t *testing.T) {
	for _, rate := range []int{1, 3, 7, 1000, 999_999, MaxRate} {
		var b Bucket
		r, n := PerSecond(rate, 5), 0
		for b.Take(r, 0) {
			n++
		}
		if n != 5 {
			t.Errorf("%d/s: %d at once; want the burst of 5", rate, n)
		}
		n = 0
		for now := int64(0); now <= int64(time.Second); now += int64(r.Interval()) {
			if b.Take(r, now) {
				n++
			}
		}
		if n < rate-rate/1000-1 || n > rate {
			t.Errorf("%d/s: %d in a second; want the rate, less a thousandth at most", rate, n)
		}
	}
}

func TestPerSecond(t *testing.T) {
	if r := PerSecond(0, 5); !r.IsZero() || !new(Bucket).Take(r, 0) {
		t.Error("a rate of 0 refuses; want no bound")
	}
	if PerSecond(10, 0) != PerSecond(10, 10) {
		t.Error("a burst of 0 is not one second's worth")
	}
}

// Loops that share a bucket get no more together than one would.
func TestBucketShared(t *testing.T) {
	const rate, burst, loops = 20_000, 50, 8
	var b Bucket
	var n atomic.Int64
	var loop sync.WaitGroup
	r := PerSecond(rate, burst)
	start := Now()
	for range loops {
		loop.Go(func() {
			for Now()-start < int64(50*time.Millisecond) {
				if b.Take(r, Now()) {
					n.Add(1)
				}
			}
		})
	}
	loop.Wait()
	if most := rate*(Now()-start)/int64(time.Second) + burst; n.Load() > most || n.Load() < burst {
		t.Errorf("%d loops took %d tokens; want %d at most, and the burst", loops, n.Load(), most)
	}
}

func TestCeiling(t *testing.T) {
	var none *Ceiling
	if none.Near() {
		t.Error("no ceiling is near")
	}
	var c Ceiling
	if c.Watch(1<<60) || c.Near() {
		t.Error("without a limit it is near")
	}
	c.SetLimit(1600)
	for _, step := range []struct {
		used          int64
		changed, near bool
	}{
		{1499, false, false}, {1500, true, true}, {1499, false, true}, {1400, false, true}, {1399, true, false}, {1450, false, false}, {1 << 40, true, true},
	} {
		if changed := c.Watch(step.used); changed != step.changed || c.Near() != step.near {
			t.Errorf("%d of 1600: changed %v, near %v; want %v, %v", step.used, changed, c.Near(), step.changed, step.near)
		}
	}
	if c.SetLimit(0); c.Near() {
		t.Error("it is near after its limit is gone")
	}
}
