//go:build linux && simkernel

package splice

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The tests of sim_*_test.go run one loop of the reactor, single-threaded, over the
// simulated kernel of internal/sys: every decision of the network, of the far ends,
// of the sessions and of the clock is a throw of the dice, so that a seed, or the
// byte string of a fuzzer, is a history that can be repeated.
//
//	go test -tags simkernel -run Sim ./splice
//	go test -tags simkernel -run Sim ./splice -sim.seed 1234 -sim.histories 1
//	go test -tags simkernel -run '^$' -fuzz FuzzPair -fuzzminimizetime 10x ./splice
//
// A history is long: without that limit the fuzzer spends its time on shortening the
// ones that it finds interesting.
//
// What is held against the reactor stands in sim_world_test.go (the loop: progress,
// spinning, descriptors, permits), sim_session_test.go (the calls of a Session, the
// deadlines) and sim_host_test.go (what each end of a connection sees).

var (
	simSeed      = flag.Uint64("sim.seed", 0, "seed of the first simulated history; 0 = the time")
	simHistories = flag.Int("sim.histories", 5000, "number of simulated histories")
)

// TestSim plays histories with consecutive seeds.
func TestSim(t *testing.T) {
	first := *simSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	t.Logf("%d histories from seed %d", *simHistories, first)
	var all tally
	for seed := first; seed < first+uint64(*simHistories); seed++ {
		seen, err := play(func() *dice { return seeded(seed) })
		if err != nil {
			t.Fatalf("seed %d: %v\nrepeat: go test -tags simkernel -run Sim ./splice -sim.seed %d -sim.histories 1", seed, err, seed)
		}
		all.add(seen)
	}
	t.Log(all)
	if *simHistories >= 2000 {
		all.wantAll(t)
	}
}

// FuzzPair plays the history that the bytes decide.
func FuzzPair(f *testing.F) {
	for seed := range uint64(8) {
		tape := make([]byte, 2000)
		rng := rand.New(rand.NewPCG(seed, 1))
		for i := 0; i < len(tape); i += 8 {
			binary.LittleEndian.PutUint64(tape[i:], rng.Uint64())
		}
		f.Add(tape)
	}
	f.Fuzz(func(t *testing.T, tape []byte) {
		if _, err := play(func() *dice { return taped(tape) }); err != nil {
			t.Fatal(err)
		}
	})
}

// play plays one history. One that breaks a rule is played again, to tell what led
// to it.
func play(throw func() *dice) (tally, error) {
	w := newWorld(throw(), false)
	broken := w.live()
	if broken == nil {
		return w.seen, nil
	}
	w = newWorld(throw(), true)
	if again := w.live(); again == nil || again.Error() != broken.Error() {
		return w.seen, fmt.Errorf("%v, and when played again: %v", broken, again)
	}
	last := w.trace[max(0, len(w.trace)-120):]
	return w.seen, fmt.Errorf("%w\n%s", broken, strings.Join(last, "\n"))
}

// tally counts what happened, so that a change of the dice that makes them miss a
// part of the reactor is noticed.
type tally struct {
	relayed  [2]int // bytes copied and spliced
	reasons  [NumReasons]int
	sessions int
	turns    int // flows that used up their turn
	pauses   int // of accepting
	resets   int // rounds after which one was put off
	held     int // flows that waited for their turn of the bandwidth, when all was at rest

	deliveries int // rounds after which a side that is left had bytes to acknowledge

	refusedAdd bool // an epoll_ctl failed
}

func (a *tally) add(b tally) {
	for i := range a.relayed {
		a.relayed[i] += b.relayed[i]
	}
	for i := range a.reasons {
		a.reasons[i] += b.reasons[i]
	}
	a.sessions += b.sessions
	a.turns += b.turns
	a.pauses += b.pauses
	a.resets += b.resets
	a.held += b.held
	a.deliveries += b.deliveries
}

func (a tally) String() string {
	s := fmt.Sprintf("%d sessions, %d bytes copied, %d spliced, %d turns used up, %d pauses, %d resets put off, %d held to their bandwidth;",
		a.sessions, a.relayed[0], a.relayed[1], a.turns, a.pauses, a.resets, a.held)
	for _, r := range Reasons() {
		if a.reasons[r] > 0 {
			s += fmt.Sprintf(" %v %d", r, a.reasons[r])
		}
	}
	return s
}

func (a tally) wantAll(t *testing.T) {
	for r, n := range a.reasons {
		switch r := Reason(r); r {
		case ReasonNoBackend, ReasonLimit, ReasonDrained: // not this package's
		default:
			if n == 0 {
				t.Errorf("no session ended with %v", r)
			}
		}
	}
	if a.relayed[0] == 0 || a.relayed[1] == 0 || a.turns == 0 || a.pauses == 0 || a.resets == 0 || a.held == 0 || a.deliveries == 0 {
		t.Error("a part of the reactor was never reached")
	}
}

// dice decide everything. Those of a tape that is over decide 0.
type dice struct {
	rng  *rand.Rand
	tape []byte
	over bool
}

func seeded(seed uint64) *dice   { return &dice{rng: rand.New(rand.NewPCG(seed, 0))} }
func taped(tape []byte) *dice    { return &dice{tape: tape} }
func (d *dice) oneIn(n int) bool { return d.below(n) == n-1 }

// below is a number from 0 to n-1.
func (d *dice) below(n int) int {
	if d.rng != nil {
		return d.rng.IntN(n)
	}
	v := 0
	for size := 1; size < n; size <<= 8 {
		if len(d.tape) == 0 {
			d.over = true
			return 0
		}
		v = v<<8 | int(d.tape[0])
		d.tape = d.tape[1:]
	}
	return v % n
}

// oneOf is one of the values.
func oneOf[T any](d *dice, values ...T) T { return values[d.below(len(values))] }

// size is a number from 1 to about n, with a liking for the edges.
func (d *dice) size(n int) int {
	switch d.below(5) {
	case 0:
		return 1
	case 1:
		return 1 + d.below(16)
	case 2:
		return n
	case 3:
		return max(1, n-1+d.below(3))
	}
	return 1 + d.below(n)
}
