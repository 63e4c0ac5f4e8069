package healthcheck

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of Monitor run in synctest's bubble, where time passes only while
// everybody waits: they fake the clock and the prober, and nothing else. They
// keep to some hundred checks: with Go 1.26 the race detector's runtime aborts
// (CHECK failed in tsan_rtl.cpp) when many goroutines use timers in a bubble.

// script is a Prober that gives verdicts in order, the last one for ever, and
// notes when it was asked.
type script struct {
	takes time.Duration // how long a probe lasts

	mu       sync.Mutex
	verdicts []Verdict
	asked    []time.Time
	running  int
	most     int // probes at once
}

func newScript(history string) *script { return &script{verdicts: verdicts(history)} }

func (s *script) Probe(ctx context.Context, a Address) Result {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	s.running++
	s.most = max(s.most, s.running)
	v := s.verdicts[0]
	s.verdicts = s.verdicts[min(1, len(s.verdicts)-1):]
	s.mu.Unlock()

	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(s.takes):
		return Result{Address: a, Verdict: v}
	case <-ctx.Done():
		return newResult(ctx, a, "script", time.Now(), ctx.Err())
	}
}

// startsAfter are the starts of all probes so far, counted from begin.
func (s *script) startsAfter(begin time.Time) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var starts []time.Duration
	for _, at := range s.asked {
		starts = append(starts, at.Sub(begin))
	}
	return starts
}

func (s *script) probes() int { return len(s.startsAfter(time.Time{})) }

// check is a check of one address by p.
func check(id string, p Prober) Check {
	return Check{ID: id, Prober: p, Addresses: func() []Address { return []Address{{Path: id}} }}
}

// middle draws the middle: the second probe comes after half an interval, the
// later ones after a whole one.
func middle() float64 { return 0.5 }

// bubble runs f with a running Monitor in a bubble, and stops it afterwards.
func bubble(t *testing.T, o Options, f func(t *testing.T, m *Monitor)) {
	t.Helper()
	if o.Rand == nil {
		o.Rand = middle
	}
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(o)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			m.Run(ctx)
		}()
		f(t, m)
		stop()
		<-stopped
	})
}

// pass lets d go by, and then everything happen that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func seconds(ss ...float64) []time.Duration {
	var ds []time.Duration
	for _, s := range ss {
		ds = append(ds, time.Duration(s*float64(time.Second)))
	}
	return ds
}

func TestMonitorSchedule(t *testing.T) {
	tests := []struct {
		name    string
		history string
		check   Check
		want    []time.Duration
	}{
		{
			"at once, then within the first interval, then at intervals",
			"O", Check{Interval: 4 * time.Second}, seconds(0, 2, 6, 10, 14),
		},
		{
			"fast between states, down when down",
			"O F F F F O O", Check{Interval: 4 * time.Second, FastInterval: time.Second, DownInterval: 8 * time.Second},
			// up, 1st, 2nd, 3rd failure = down, still down, 1st success, 2nd = up
			seconds(0, 2, 3, 4, 12, 20, 21, 25),
		},
		{
			"fast while unchecked",
			"? ? ? O", Check{Interval: 4 * time.Second, FastInterval: time.Second}, seconds(0, 0.5, 1.5, 2.5, 6.5),
		},
		{
			"without others, interval is for all states",
			"? O F F F F O O", Check{Interval: 4 * time.Second}, seconds(0, 2, 6, 10, 14, 18, 22, 26, 30),
		},
		{
			"2 s by default",
			"O", Check{}, seconds(0, 1, 3, 5),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, m *Monitor) {
				s, begin := newScript(tt.history), time.Now()
				c := check("a", s)
				c.Interval, c.FastInterval, c.DownInterval = tt.check.Interval, tt.check.FastInterval, tt.check.DownInterval
				m.Put(c)
				pass(tt.want[len(tt.want)-1])
				if got := s.startsAfter(begin); !slices.Equal(got, tt.want) {
					t.Errorf("probes of %s: got %v; want %v", tt.history, got, tt.want)
				}
			})
		})
	}
}

func TestMonitorRunsOneProbeOfACheckAtATime(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s, begin := newScript("O"), time.Now()
		s.takes = 3 * time.Second
		c := check("a", s)
		c.Interval, c.Timeout = time.Second, time.Minute
		m.Put(c)
		pass(10 * time.Second)
		if got, want := s.startsAfter(begin), seconds(0, 3, 6, 9); !slices.Equal(got, want) {
			t.Errorf("probes of 3 s at an interval of 1 s: got %v; want %v", got, want)
		}
		if s.most != 1 {
			t.Errorf("probes at once: got %d; want 1", s.most)
		}
	})
}

func TestMonitorBoundsConcurrencyAndStarvesNobody(t *testing.T) {
	bubble(t, Options{Concurrency: 7}, func(t *testing.T, m *Monitor) {
		all := newScript("O") // over all checks
		all.takes = 100 * time.Millisecond
		counts := make(map[string]int)
		for i := range 70 {
			c := check(fmt.Sprint(i), all)
			c.Interval = 100 * time.Millisecond
			c.OnResult = func(Result) {
				all.mu.Lock()
				counts[c.ID]++
				all.mu.Unlock()
			}
			m.Put(c)
		}
		pass(20 * time.Second)
		if all.most != 7 {
			t.Errorf("probes at once: got %d; want 7", all.most)
		}
		all.mu.Lock()
		defer all.mu.Unlock()
		if few, many := slices.Min(slices.Collect(maps.Values(counts))), slices.Max(slices.Collect(maps.Values(counts))); len(counts) != 70 || many-few > 1 {
			t.Errorf("probes of %d overdue checks: got %d to %d each; want the same for each of 70", len(counts), few, many)
		}
	})
}

func TestMonitorConcurrencyChanges(t *testing.T) {
	bubble(t, Options{Concurrency: 2}, func(t *testing.T, m *Monitor) {
		var old []string
		for _, limit := range []int{2, 9, 4} {
			m.SetConcurrency(limit)
			pass(10 * time.Second)
			s := newScript("O")
			s.takes = 100 * time.Millisecond
			var checks []Check
			for i := range 20 {
				checks = append(checks, check(fmt.Sprint(limit, "/", i), s))
			}
			m.Replace(old, checks)
			old = nil
			for _, c := range checks {
				old = append(old, c.ID)
			}
			pass(10 * time.Second)
			if s.most != limit {
				t.Errorf("probes at once: got %d; want %d", s.most, limit)
			}
		}
	})
}

func TestMonitorSpreadsLaterProbes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	bubble(t, Options{Rand: rand.New(rand.NewPCG(seed, 0)).Float64}, func(t *testing.T, m *Monitor) {
		s, begin := newScript("O"), time.Now()
		var checks []Check
		for i := range 300 {
			checks = append(checks, check(fmt.Sprint(i), s))
		}
		m.Put(checks...)
		pass(10 * time.Second)
		inSlot := make(map[time.Duration]int) // of 200 ms: 30 on average
		for _, at := range s.startsAfter(begin) {
			inSlot[at/(200*time.Millisecond)]++
		}
		for slot, n := range inSlot {
			if slot > 0 && slot < 50 && (n < 5 || n > 70) {
				t.Errorf("seed %d: probes in 200 ms from %v on: got %d; want about 30", seed, slot*200*time.Millisecond, n)
			}
		}
		if inSlot[0] < 300 {
			t.Errorf("probes at once: got %d; want one of each of 300 checks", inSlot[0])
		}
	})
}

func TestMonitorReportsResultsThenChanges(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		begin := time.Now()
		var got []string
		c := check("a", newScript("O F ? F O O"))
		c.Interval, c.Rise, c.Fall = 2*time.Second, 2, 2
		c.OnResult = func(r Result) { got = append(got, r.Verdict.String()) }
		c.OnChange = func(ch Change) {
			got = append(got, fmt.Sprintf("%v>%v after %v by %v", ch.Old, ch.New, ch.At.Sub(ch.Since), ch.Result.Verdict))
		}
		m.Put(c)
		pass(9 * time.Second)
		want := []string{
			"up", "unchecked>up after 0s by up", "down", "unknown", "down", "up>down after 5s by down",
			"up", "up", "down>up after 4s by up",
		}
		if !slices.Equal(got, want) {
			t.Errorf("callbacks: got %q; want %q", got, want)
		}
		st, ok := m.Status("a")
		if !ok || st.State != StateUp || !st.Since.Equal(begin.Add(9*time.Second)) || st.Verdict != Up || st.Streak != 2 {
			t.Errorf("status: got %+v, %v; want up for 0 s, 2 times up in a row", st, ok)
		}
	})
}

func TestMonitorShowsUnknownAndKeepsCounting(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		m.Put(check("a", newScript("O F ?")))
		pass(3 * time.Second)
		st, _ := m.Status("a")
		if st.State != StateUp || st.Last.Verdict != Unknown || st.Verdict != Down || st.Streak != 1 {
			t.Errorf("status after O F ?: got %+v; want up, last unknown, 1 down in a row", st)
		}
		if !st.LastAt.Equal(time.Now()) {
			t.Errorf("last result: got %v; want now, %v", st.LastAt, time.Now())
		}
	})
}

func TestMonitorCheckWithoutAddressIsDown(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		c := check("a", newScript("O"))
		c.Addresses = func() []Address { return nil }
		m.Put(c)
		pass(0)
		if st, _ := m.Status("a"); st.State != StateDown || st.Last.Reason != ReasonDNS {
			t.Errorf("status: got %v, %q; want down, dns", st.State, st.Last.Reason)
		}
	})
}

func TestMonitorProbeThatOutlastsItsTimeoutIsDown(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s := newScript("O")
		s.takes = time.Hour
		c := check("a", s)
		c.Timeout = 300 * time.Millisecond
		m.Put(c)
		pass(300 * time.Millisecond)
		if st, _ := m.Status("a"); st.State != StateDown || st.Last.Reason != ReasonTimeout {
			t.Errorf("status: got %v, %q; want down, timeout", st.State, st.Last.Reason)
		}
	})
}

func TestMonitorTrigger(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s, begin := newScript("O"), time.Now()
		s.takes = 500 * time.Millisecond
		c := check("a", s)
		c.Interval = 10 * time.Second
		m.Put(c)
		pass(6 * time.Second) // probes at 0 and 5
		m.Trigger("a")
		pass(200 * time.Millisecond)
		m.Trigger("a") // while the probe of 6 s is under way: one more follows it
		m.Trigger("a")
		pass(10*time.Second + 300*time.Millisecond)
		if got, want := s.startsAfter(begin), seconds(0, 5, 6, 6.5, 16.5); !slices.Equal(got, want) {
			t.Errorf("probes: got %v; want %v", got, want)
		}
		if m.Trigger("b") {
			t.Error("trigger of a check that is not there: got true; want false")
		}
	})
}

func TestMonitorTriggerStormIsNoFlood(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s := newScript("F")
		c := check("a", s)
		c.Interval = 10 * time.Second
		c.OnResult = func(Result) { m.Trigger("a") }
		m.Put(c)
		pass(time.Second)
		if got := s.probes(); got != 11 {
			t.Errorf("probes in a second of triggers: got %d; want 11, one each 100 ms", got)
		}
	})
}

func TestMonitorPutAgainKeepsStateAndSchedule(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		before, after, begin := newScript("O F"), newScript("F"), time.Now()
		c := check("a", before)
		c.Interval, c.Fall = 10*time.Second, 3
		m.Put(c)
		pass(6 * time.Second) // probes at 0 and 5: up, one failure
		was, _ := m.Status("a")
		var changes []Change
		c.Prober, c.Fall = after, 2
		c.OnChange = func(ch Change) { changes = append(changes, ch) }
		m.Put(c)
		pass(0)
		if st, _ := m.Status("a"); st.State != StateUp || st.Streak != 1 || !st.Since.Equal(was.Since) {
			t.Errorf("status: got %+v; want as before, %+v", st, was)
		}
		pass(9 * time.Second)
		if got, want := after.startsAfter(begin), seconds(15); !slices.Equal(got, want) {
			t.Errorf("probes of the new definition: got %v; want %v", got, want)
		}
		if len(changes) != 1 || changes[0].New != StateDown {
			t.Errorf("changes told to the new definition: got %+v; want one to down, by the second failure", changes)
		}
	})
}

func TestMonitorPutWithShorterIntervalCountsAtOnce(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s, begin := newScript("O"), time.Now()
		c := check("a", s)
		c.Interval = time.Hour
		m.Put(c)
		pass(10 * time.Second)
		c.Interval = 30 * time.Second
		m.Put(c)
		pass(50 * time.Second)
		if got, want := s.startsAfter(begin), seconds(0, 30, 60); !slices.Equal(got, want) {
			t.Errorf("probes: got %v; want %v", got, want)
		}
	})
}

func TestMonitorRemoveCancelsAndDropsTheResult(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		s := newScript("O")
		s.takes = 500 * time.Millisecond
		c := check("a", s)
		c.OnResult = func(r Result) { t.Errorf("result of a removed check: got %+v; want none", r) }
		m.Put(c)
		pass(100 * time.Millisecond)
		m.Remove("a", "b")
		synctest.Wait()
		if s.running != 0 {
			t.Errorf("probes under way: got %d; want 0", s.running)
		}
		if st, ok := m.Status("a"); ok {
			t.Errorf("status of a removed check: got %+v; want none", st)
		}
		pass(time.Minute)
		if got := s.probes(); got != 1 {
			t.Errorf("probes: got %d; want the one before the removal", got)
		}
	})
}

func TestMonitorReplace(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, m *Monitor) {
		m.Put(check("a", newScript("O")), check("b", newScript("F")))
		pass(0)
		m.Put(check("d", newScript("?")))
		m.Replace([]string{"a", "b"}, []Check{check("c", newScript("?")), check("b", newScript("F"))})
		var got []string
		for _, st := range m.Statuses() {
			got = append(got, fmt.Sprintf("%s %v", st.ID, st.State))
		}
		if want := []string{"b down", "c unchecked", "d unchecked"}; !slices.Equal(got, want) {
			t.Errorf("statuses: got %q; want %q", got, want)
		}
	})
}

func TestMonitorRunWaitsForCallbacksAndMayRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(Options{Rand: middle})
		returned := 0
		c := check("a", newScript("O"))
		c.OnResult = func(Result) {
			time.Sleep(time.Second)
			returned++
		}
		m.Put(c)
		for want := 1; want <= 2; want++ {
			ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
			m.Run(ctx)
			stop()
			if returned != want {
				t.Errorf("callbacks returned before Run: got %d; want %d", returned, want)
			}
		}
	})
}

func TestMonitorWaitingChecksHoldNoGoroutine(t *testing.T) {
	const checks = 10_000
	m, p := NewMonitor(Options{Concurrency: 100, Rand: middle}), instant{answered: make(chan struct{}, checks)}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	before := runtime.NumGoroutine()
	for i := range checks {
		c := check(fmt.Sprint(i), p)
		c.Interval = time.Hour
		m.Put(c)
	}
	for range checks {
		<-p.answered
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines with %d waiting checks: got %d; want at most %d, as before",
				checks, runtime.NumGoroutine(), before)
		}
	}
	stop()
	running.Wait()
}

// guard is a Prober that fails the test when two probes of a check overlap.
type guard struct {
	t       *testing.T
	mu      sync.Mutex
	rnd     *rand.Rand
	running map[Address]bool
	last    map[Address]time.Time
}

func (g *guard) Probe(ctx context.Context, a Address) Result {
	g.mu.Lock()
	if g.running[a] {
		g.t.Errorf("%s is probed twice at a time", a)
	}
	g.running[a], g.last[a] = true, time.Now()
	takes := time.Duration(g.rnd.Int64N(int64(2 * time.Second)))
	v := Verdict(g.rnd.IntN(3))
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running[a] = false
		g.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
		return Result{Address: a, Verdict: v}
	case <-ctx.Done():
		return newResult(ctx, a, "guard", time.Now(), ctx.Err())
	}
}

func TestMonitorOverRandomHistories(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	g := &guard{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)),
		running: make(map[Address]bool), last: make(map[Address]time.Time),
	}
	bubble(t, Options{Rand: rand.New(rand.NewPCG(seed, 2)).Float64}, func(t *testing.T, m *Monitor) {
		present := make(map[string]bool)
		for range 5000 {
			id := fmt.Sprint(rnd.IntN(30))
			switch rnd.IntN(4) {
			case 0:
				c := check(id, g)
				c.Interval = time.Second + time.Duration(rnd.IntN(5))*time.Second
				m.Put(c)
				present[id] = true
			case 1:
				m.Remove(id)
				delete(present, id)
				synctest.Wait() // or a probe of its successor could begin before its own has ended
			case 2:
				if got := m.Trigger(id); got != present[id] {
					t.Errorf("trigger %s: got %v; want %v", id, got, present[id])
				}
			case 3:
				pass(time.Duration(rnd.IntN(500)) * time.Millisecond)
			}
		}
		pass(8 * time.Second) // 1.1 times the longest interval, and a probe
		now, got := time.Now(), make(map[string]bool)
		for _, st := range m.Statuses() {
			got[st.ID] = true
			if since := now.Sub(g.last[Address{Path: st.ID}]); since > 8*time.Second {
				t.Errorf("check %s: got its last probe %v ago; want at most 8 s", st.ID, since)
			}
		}
		if !maps.Equal(got, present) {
			t.Errorf("checks: got %v; want %v", got, present)
		}
	})
}

// instant is a Prober that answers at once and counts.
type instant struct{ answered chan struct{} }

func (p instant) Probe(_ context.Context, a Address) Result {
	p.answered <- struct{}{}
	return Result{Address: a, Verdict: Up}
}

// BenchmarkMonitor is the cost of one probe, without the probing, among 10 000
// checks that are all overdue.
func BenchmarkMonitor(b *testing.B) {
	const checks = 10_000
	p := instant{answered: make(chan struct{}, 1024)}
	m := NewMonitor(Options{})
	before := heapInUse()
	for i := range checks {
		c := check(fmt.Sprint(i), p)
		c.Interval = time.Microsecond
		m.Put(c)
	}
	perCheck := float64(heapInUse()-before) / checks
	ctx, stop := context.WithCancel(b.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.Run(ctx)
	}()
	b.ReportAllocs()
	for b.Loop() {
		<-p.answered
	}
	b.ReportMetric(perCheck, "B/check")
	stop()
	for {
		select {
		case <-p.answered:
		case <-stopped:
			return
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
