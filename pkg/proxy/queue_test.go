package proxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// A random history of clients who come, change lines and go, beside a plain model.
func TestQueueHistory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var q queue
	const most = 20
	lines := []line{{limit: LimitConnections}, {limit: LimitRate}, {limit: LimitSourceRate, source: limit.Source{}}}
	var standing []spot // by ticket
	for range 20_000 {
		l := lines[r.IntN(len(lines))]
		switch k := r.IntN(3); {
		case k == 0:
			s, ok := q.join(l, most)
			if ok != (len(standing) < most) {
				t.Fatalf("seed %d: joined %v with %d of %d", seed, ok, len(standing), most)
			}
			if ok {
				standing = append(standing, s)
			}
		case len(standing) == 0:
		case k == 1:
			q.move(&standing[r.IntN(len(standing))], l)
		default:
			i := r.IntN(len(standing))
			q.leave(standing[i])
			standing = slices.Delete(standing, i, i+1)
		}
		if q.Len() != len(standing) {
			t.Fatalf("seed %d: %d are held; want %d", seed, q.Len(), len(standing))
		}
		before := 0
		for _, s := range standing {
			if got := q.ahead(l, s); got != before {
				t.Fatalf("seed %d: %d are ahead of %v in %v; want %d", seed, got, s, l, before)
			}
			if s.line == l {
				before++
			}
		}
		if got := q.ahead(l, spot{}); got != before {
			t.Fatalf("seed %d: %d are ahead of a newcomer; want %d", seed, got, before)
		}
	}
	for _, s := range standing {
		q.leave(s)
	}
	if len(q.lines) != 0 {
		t.Errorf("seed %d: %d lines are left of nobody", seed, len(q.lines))
	}
}

// crowd are clients that are held, in the order in which they came.
func crowd(t *testing.T, r *rig, n int, from func(i int) string) (all []splice.Session) {
	t.Helper()
	for i := range n {
		s, err := r.come(from(i))
		if err != nil {
			t.Fatalf("client %d: %v; want it held", i, err)
		}
		all = append(all, s)
	}
	return all
}

// knock has clients try, in a random order; it answers who came in.
func knock(t *testing.T, rnd *rand.Rand, crowd []splice.Session) (in []int) {
	t.Helper()
	for _, i := range rnd.Perm(len(crowd)) {
		if crowd[i] == nil {
			continue
		}
		if _, err := crowd[i].Dial(nil); err == nil {
			in = append(in, i)
		} else if !isWait(err) {
			t.Fatalf("client %d: %v; want a wait", i, err)
		}
	}
	return in
}

func one(int) string { return "192.0.2.1" }

// Places go to those who came first, whoever looks first, and none to a newcomer while
// anybody is held.
func TestHeldInOrderOfPlaces(t *testing.T) {
	for _, kind := range []string{"of all", "of a source"} {
		t.Run(kind, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			a := &Admission{Hold: Hold{Longest: time.Minute, Most: 100}}
			q := &a.All
			if kind == "of a source" {
				q = &a.Each
			}
			*q = quota(3, 0, 0)
			q.DelayConnections = true
			r := guarded(t, a)
			inside := crowd(t, r, 3, one)
			held := crowd(t, r, 10, one)
			if in := knock(t, rnd, held); in != nil {
				t.Fatalf("%v came in without a place", in)
			}
			for next := 0; next < len(held); {
				places := min(1+rnd.IntN(len(inside)), len(held)-next)
				for _, s := range inside[:places] {
					leave(s)
				}
				inside = inside[places:]
				late := crowd(t, r, 1, one)[0]
				if _, err := late.Dial(nil); !isWait(err) {
					t.Fatalf("seed %d: a newcomer got %v with %d held and %d places; want a wait", seed, err, len(held)-next, places)
				}
				leave(late)
				var in []int
				for len(in) < places { // who was not among the first may be so at the next look
					for _, i := range knock(t, rnd, held) {
						in, inside, held[i] = append(in, i), append(inside, held[i]), nil
					}
				}
				slices.Sort(in)
				for _, i := range in {
					if i != next {
						t.Fatalf("seed %d: %v came in; want %d next", seed, in, next)
					}
					next++
				}
			}
			for _, s := range inside {
				leave(s)
			}
		})
	}
}

// Tokens go to those who came first, too.
func TestHeldInOrderOfTokens(t *testing.T) {
	unhurried(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		all := quota(0, 20, 1) // a token every 50 ms: turns do not come together
		all.DelayRate = true
		r := guarded(t, &Admission{All: all, Hold: Hold{Longest: time.Minute, Most: 100}})
		first, _ := r.come("192.0.2.1")
		defer leave(first)
		held := crowd(t, r, 5, one)
		var in []int
		for ; len(in) < len(held); time.Sleep(time.Millisecond) {
			for _, i := range knock(t, rnd, held) {
				in = append(in, i)
				leave(held[i])
				held[i] = nil
			}
		}
		if !slices.IsSorted(in) {
			t.Errorf("came in as %v; want those who came first, first", in)
		}
	})
}

// One source's clients do not stand in the way of another's.
func TestHeldForItsOwnSource(t *testing.T) {
	each := quota(1, 0, 0)
	each.DelayConnections = true
	r := guarded(t, &Admission{Each: each, Hold: Hold{Longest: time.Minute, Most: 100}})
	for _, s := range crowd(t, r, 10, one) {
		defer leave(s)
	}
	s, _ := r.come("192.0.2.2")
	defer leave(s)
	if _, err := s.Dial(nil); err != nil || r.Held() != 9 {
		t.Errorf("another source: got %v, %d held; want it let in, and 9 held", err, r.Held())
	}
}

// Before a pool's backends it is the same.
func TestHeldInOrderBeforeBackends(t *testing.T) {
	unhurried(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		r := newRig(t, Dialing{Attempts: 1, Limit: BackendLimit{
			Rate: limit.PerSecond(20, 1), Delay: true, Hold: Hold{Longest: time.Minute, Most: 10},
		}}, target("a", "10.0.0.1:1"))
		first, _ := r.come("192.0.2.1")
		if _, err := first.Dial(nil); err != nil {
			t.Fatal(err)
		}
		defer leave(first)
		held := crowd(t, r, 5, one)
		for i, s := range held { // that is when they come before the backends
			if _, err := s.Dial(nil); !isWait(err) {
				t.Fatalf("client %d: %v; want a wait", i, err)
			}
		}
		var in []int
		for ; len(in) < len(held); time.Sleep(time.Millisecond) {
			for _, i := range knock(t, rnd, held) {
				in = append(in, i)
				leave(held[i])
				held[i] = nil
			}
		}
		if !slices.IsSorted(in) {
			t.Errorf("came in as %v; want those who came first, first", in)
		}
	})
}

func TestTurn(t *testing.T) {
	for _, test := range []struct {
		name           string
		ahead          int
		wait, interval time.Duration
		want           time.Duration
	}{
		{"first, for a token", 0, 70 * time.Millisecond, 100 * time.Millisecond, 70 * time.Millisecond},
		{"second, for a token", 1, 70 * time.Millisecond, 100 * time.Millisecond, 170 * time.Millisecond},
		{"tenth: those before may leave", 9, 70 * time.Millisecond, 100 * time.Millisecond, turnCheck},
		{"tenth, but there is no token for longer", 9, time.Second, time.Second, time.Second},
		{"a token is there", 0, 0, time.Millisecond, leastWait},
		{"first, for a place", 0, 0, 0, freePlaceEvery},
		{"hundredth, for a place", 99, 0, 0, turnCheck},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := time.Duration(turn(test.ahead, test.wait, test.interval)); got != test.want {
				t.Errorf("got %v; want %v", got, test.want)
			}
		})
	}
}

// Who is held costs who is not a look at one number.
func BenchmarkAheadOfNobody(b *testing.B) {
	var q queue
	for b.Loop() {
		q.ahead(line{limit: LimitRate}, spot{})
	}
}
