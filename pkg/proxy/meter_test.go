package proxy

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

func TestBytesOfALiveSessionCount(t *testing.T) {
	backend := target("a", "10.0.0.1:1")
	r := newRig(t, Dialing{Attempts: 1}, backend)
	totals := map[string]*splice.Counters{
		"listener": &r.Counters, "pool": &r.Conf().Pool.Counters, "backend": &backend.Counters,
	}
	check := func(when string, up, down uint64) {
		t.Helper()
		r.Settle()
		for who, c := range totals {
			if gotUp, gotDown := c.Up.Load(), c.Down.Load(); gotUp != up || gotDown != down {
				t.Errorf("%s, the %s's bytes: %d up, %d down; want %d, %d", when, who, gotUp, gotDown, up, down)
			}
		}
	}
	s := r.open(t)
	ep, _ := s.Dial(nil)
	check("while dialing", 0, 0)
	s.(splice.Connected).Connected(time.Millisecond)
	ep.Counters.Up.Add(5)
	ep.Counters.Down.Add(70)
	check("while it lives", 5, 70)
	check("once more", 5, 70)
	ep.Counters.Up.Add(1)
	s.Close(splice.Result{Reason: splice.ReasonClientClosed, Up: 6, Down: 70})
	check("after its end", 6, 70)

	s = r.open(t)
	ep, _ = s.Dial(nil)
	s.(splice.Connected).Connected(time.Millisecond)
	check("in the next session", 6, 70)
	ep.Counters.Up.Add(2)
	check("in the next session", 8, 70)
	s.Close(splice.Result{Reason: splice.ReasonClientClosed, Up: 2})
	check("at the end", 8, 70)
}

// A look takes its time once for all sessions, so some of them are opened after it.
func TestIdleOfASessionThatIsYoungerThanTheLook(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1"))
	look := clock() - int64(time.Second)
	s := r.open(t).(*session)
	ep, _ := s.Dial(nil)
	s.Connected(time.Microsecond)
	ep.Counters.Up.Add(1)
	s.settle(look)
	var record Record
	if s.record(s.opened+int64(time.Minute), &record); record.Idle < time.Minute-time.Second {
		t.Errorf("idle for %v; want about a minute", record.Idle)
	}
	s.Close(splice.Result{Reason: splice.ReasonClientClosed, Up: 1})
}

// Loops open and close sessions while others look: no total ever falls, and in the
// end each is what the sessions have moved.
func TestTotalsUnderConcurrency(t *testing.T) {
	const loops, readers, sessionsPerLoop = 3, 2, 2000
	targets := []*Target{target("a", "10.0.0.1:1"), target("b", "10.0.0.2:1")}
	pool, err := balancer.New(balancer.Options{Algorithms: []string{"round-robin"}}, []balancer.Spec{
		{Name: "a", Address: "a", Weight: 1, Value: targets[0]}, {Name: "b", Address: "b", Weight: 1, Value: targets[1]},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := NewListener("front", zerolog.Nop(), Conf{Pool: NewPool("pool", pool, Dialing{Attempts: 1})})
	totals := []*splice.Counters{&front.Counters, &front.Conf().Pool.Counters, &targets[0].Counters, &targets[1].Counters}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var work, look sync.WaitGroup
	var mu sync.Mutex
	var want [2]uint64 // by target
	for loop := range loops {
		work.Go(func() {
			moved := visits(front, rand.New(rand.NewPCG(seed, uint64(loop))), sessionsPerLoop, targets)
			mu.Lock()
			defer mu.Unlock()
			want[0] += moved[0]
			want[1] += moved[1]
		})
	}
	done := make(chan struct{})
	for range readers {
		look.Go(func() {
			last := make([]uint64, len(totals))
			for {
				front.Settle()
				for i, c := range totals {
					n := c.Up.Load()
					if n < last[i] {
						t.Errorf("total %d fell from %d to %d", i, last[i], n)
					}
					last[i] = n
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	work.Wait()
	close(done)
	look.Wait()
	for i, want := range []uint64{want[0] + want[1], want[0] + want[1], want[0], want[1]} {
		if got := totals[i].Up.Load(); got != want {
			t.Errorf("total %d: got %d bytes; want %d", i, got, want)
		}
	}
}

// visits is a loop with up to four live sessions at a time. It answers the bytes that
// went to each target.
func visits(front *Listener, r *rand.Rand, n int, targets []*Target) (moved [2]uint64) {
	type live struct {
		splice.Session
		counters *splice.Counters
	}
	var all []live
	end := func(i int) {
		up := all[i].counters.Up.Load()
		if all[i].Session.(*session).target == targets[0] {
			moved[0] += up
		} else {
			moved[1] += up
		}
		all[i].Close(splice.Result{Reason: splice.ReasonClientClosed, Up: up})
		all = append(all[:i], all[i+1:]...)
	}
	for range n {
		if len(all) == 4 {
			end(r.IntN(len(all)))
		}
		s, _ := front.Open(splice.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1")})
		ep, _ := s.Dial(nil)
		s.(splice.Connected).Connected(0)
		all = append(all, live{s, ep.Counters})
		for i := range all {
			all[i].counters.Up.Add(r.Uint64N(1000))
		}
	}
	for len(all) > 0 {
		end(0)
	}
	return moved
}
