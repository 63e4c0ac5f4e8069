package standing

import (
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func breakerOptions() BreakerOptions {
	return BreakerOptions{Enabled: true, Ejection: 10 * time.Second, MaxEjection: time.Minute, MaxEjectedPercent: 50, TrustProbe: true}
}

// seeded is a source of chance that a failed test names.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

func TestEjectionDoublesUpToTheMost(t *testing.T) {
	o, now := breakerOptions(), epoch
	var b Breaker
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		if i == 0 {
			b.Trip(&o, now)
		} else if !b.Expire(b.Until()) || !b.Fail(&o, now) {
			t.Fatalf("opening %d: the trial did not come or fail", i+1)
		}
		if got := b.Until().Sub(now); got != want {
			t.Errorf("opening %d lasts %s; want %s", i+1, got, want)
		}
		now = b.Until()
	}
}

func TestEjectionsAreForgotten(t *testing.T) {
	o, now := breakerOptions(), epoch
	b := Breaker{level: 3, since: now}
	tests := []struct {
		name string
		calm time.Duration
		want time.Duration
	}{
		{"at once: one more", 0, time.Minute},
		{"not quite as long as the last one", 40*time.Second - 1, time.Minute},
		{"as long as the last one", 40 * time.Second, 40 * time.Second},
		{"as long as all of them", 70 * time.Second, 10 * time.Second},
	}
	for _, test := range tests {
		c := b
		c.Trip(&o, now.Add(test.calm))
		if got := c.Until().Sub(now.Add(test.calm)); got != test.want {
			t.Errorf("%s: the next lasts %s; want %s", test.name, got, test.want)
		}
	}
}

func TestProbes(t *testing.T) {
	o := breakerOptions()
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	open := func() *Breaker {
		b := &Breaker{}
		b.Trip(&o, at(0))
		return b
	}
	t.Run("a good one closes early", func(t *testing.T) {
		if b := open(); !b.Probe(&o, at(1), at(2)) || b.State() != Closed {
			t.Errorf("got %s; want closed", b.State())
		}
	})
	t.Run("one that began before the trip has no say", func(t *testing.T) {
		if b := open(); b.Probe(&o, at(-1), at(2)) {
			t.Error("the breaker closed")
		}
	})
	t.Run("without trust none has a say", func(t *testing.T) {
		distrust := o
		distrust.TrustProbe = false
		if b := open(); b.Probe(&distrust, at(1), at(2)) {
			t.Error("the breaker closed")
		}
	})
	t.Run("after one that was wrong none has a say, until a trial passed", func(t *testing.T) {
		b := open()
		b.Probe(&o, at(1), at(1))
		b.Trip(&o, at(2))
		if b.Probe(&o, at(3), at(3)) {
			t.Fatal("the breaker closed")
		}
		b.Expire(b.Until())
		if b.Probe(&o, b.since, b.since) {
			t.Fatal("the half-open breaker closed")
		}
		b.Pass(at(60))
		b.Trip(&o, at(61))
		if !b.Probe(&o, at(62), at(62)) {
			t.Error("a probe after a good trial had no say")
		}
	})
}

// event is what can happen to a breaker, and from where it may lead where.
var breakerEvents = []struct {
	name  string
	do    func(b *Breaker, o *BreakerOptions, now time.Time, r *rand.Rand) bool
	legal map[State]State
}{
	{"trip", func(b *Breaker, o *BreakerOptions, now time.Time, _ *rand.Rand) bool { return b.Trip(o, now) }, map[State]State{Closed: Open}},
	{"expire", func(b *Breaker, _ *BreakerOptions, now time.Time, _ *rand.Rand) bool { return b.Expire(now) }, map[State]State{Open: HalfOpen}},
	{"pass", func(b *Breaker, _ *BreakerOptions, now time.Time, _ *rand.Rand) bool { return b.Pass(now) }, map[State]State{HalfOpen: Closed}},
	{"fail", func(b *Breaker, o *BreakerOptions, now time.Time, _ *rand.Rand) bool { return b.Fail(o, now) }, map[State]State{HalfOpen: Open}},
	{"probe", func(b *Breaker, o *BreakerOptions, now time.Time, r *rand.Rand) bool {
		return b.Probe(o, now.Add(-time.Duration(r.IntN(3000))*time.Millisecond), now)
	}, map[State]State{Open: Closed, HalfOpen: Closed}},
	{"reset", func(b *Breaker, _ *BreakerOptions, now time.Time, _ *rand.Rand) bool { return b.Reset(now) }, map[State]State{Open: Closed, HalfOpen: Closed}},
}

// Every transition of a long history is one of the drawing, and every ejection is
// within its bounds.
func TestBreakerHistory(t *testing.T) {
	r, o := seeded(t), breakerOptions()
	var b Breaker
	now, seen := epoch, map[string]int{}
	var last time.Duration // the ejection before
	for step := range 100_000 {
		now = now.Add(time.Duration(r.IntN(8000)) * time.Millisecond)
		e := breakerEvents[min(r.IntN(len(breakerEvents)*4)/4, r.IntN(len(breakerEvents)))]
		before, ejections, since := b.State(), b.Ejections, b.since
		changed := e.do(&b, &o, now, r)
		after := b.State()
		if want, legal := e.legal[before]; changed != (after != before) || changed && (!legal || after != want) {
			t.Fatalf("step %d: %s led from %s to %s (changed: %v)", step, e.name, before, after, changed)
		}
		if !changed {
			if b.Ejections != ejections {
				t.Fatalf("step %d: %s counted an ejection", step, e.name)
			}
			continue
		}
		seen[e.name+" "+before.String()]++
		if after == HalfOpen && now.Sub(since) < o.Ejection {
			t.Fatalf("step %d: half-open after %s; want %s at least", step, now.Sub(since), o.Ejection)
		}
		if after != Open {
			continue
		}
		ejection := b.Until().Sub(now)
		switch {
		case b.Ejections != ejections+1:
			t.Fatalf("step %d: an opening was not counted", step)
		case ejection < o.Ejection || ejection > o.MaxEjection || ejection > 2*max(last, o.Ejection):
			t.Fatalf("step %d: an ejection of %s after one of %s", step, ejection, last)
		case before == HalfOpen && ejection < last:
			t.Fatalf("step %d: a failed trial made %s of %s; want no less", step, ejection, last)
		}
		last = ejection
	}
	for _, e := range breakerEvents {
		for from := range e.legal {
			if seen[e.name+" "+from.String()] == 0 {
				t.Errorf("the history had no %s when %s", e.name, from)
			}
		}
	}
}

func TestStreaks(t *testing.T) {
	l := &Limits{Failures: 3, Resets: 2, Slow: time.Second}
	var s Streaks
	steps := []struct {
		name string
		do   func() bool
		want bool
	}{
		{"a failure", func() bool { return s.Failed(l) }, false},
		{"a slow connect", func() bool { return s.Connected(2*time.Second, l) }, false},
		{"a third", func() bool { return s.Failed(l) }, true},
		{"a fourth", func() bool { return s.Failed(l) }, false},
		{"a good connect", func() bool { return s.Connected(time.Millisecond, l) }, false},
		{"a failure after it", func() bool { return s.Failed(l) }, false},
		{"a reset", func() bool { return s.Reset(l) }, false},
		{"a good end", func() bool { s.Ended(); return false }, false},
		{"a reset after it", func() bool { return s.Reset(l) }, false},
		{"a second", func() bool { return s.Reset(l) }, true},
		{"a limit of 0", func() bool { return s.Reset(&Limits{}) }, false},
	}
	for _, step := range steps {
		if got := step.do(); got != step.want {
			t.Errorf("%s is worth a word: %v; want %v", step.name, got, step.want)
		}
	}
}
