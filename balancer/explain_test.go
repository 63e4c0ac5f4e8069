package balancer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Whatever state a pool is in, the next Acquire picks what Explain said, and Explain
// changes nothing: asked twice, it says the same.
func TestExplainIsTheNextPick(t *testing.T) {
	chains := [][]string{{"ip-hash", "least-connections"}, {"round-robin", "random-two"}, {"random-two", "first"}, {"first", "ip-hash"}}
	for _, name := range Algorithms() {
		chains = append(chains, []string{name})
	}
	for _, chain := range chains {
		t.Run(strings.Join(chain, ","), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range 8 {
				explainHistory(t, rnd, chain)
			}
		})
	}
}

// explainHistory drives one random pool through random changes and picks.
func explainHistory(t *testing.T, rnd *rand.Rand, chain []string) {
	t.Helper()
	p, err := New(Options{Algorithms: chain, HashSlots: 251}, randomSpecs(rnd)) // few slots: tables are built often
	if err != nil {
		t.Fatal(err)
	}
	var held []*Backend
	for step := range 300 {
		switch b := p.Backends()[rnd.IntN(len(p.members))].Backend; rnd.IntN(10) {
		case 0:
			p.SetHealth(b, Health(rnd.IntN(3)))
		case 1:
			p.SetMode(b, Mode(rnd.IntN(3)))
		case 2:
			p.SetWeight(b, rnd.IntN(4))
		case 3, 4, 5:
			if len(held) > 0 {
				i := rnd.IntN(len(held))
				held[i].Release()
				held = slices.Delete(held, i, i+1)
			}
		default:
			client := netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(256))})
			if rnd.IntN(8) == 0 {
				client = noClient
			}
			e, again := p.Explain(client, nil), p.Explain(client, nil)
			if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", again) {
				t.Fatalf("step %d: explained twice:\n%+v\n%+v", step, e, again)
			}
			b, err := p.Acquire(client, nil)
			if b != e.Backend {
				t.Fatalf("step %d: explained %s; then got %s, %v", step, nameOr(e.Backend), nameOr(b), err)
			}
			if b != nil {
				held = append(held, b)
			}
		}
	}
}

func randomSpecs(rnd *rand.Rand) (specs []Spec) {
	for i := range 1 + rnd.IntN(8) {
		s := Spec{Name: fmt.Sprint("b", i), Address: fmt.Sprint("a", i), Weight: rnd.IntN(4), Backup: rnd.IntN(4) == 0, NeedsProbe: rnd.IntN(5) == 0}
		if rnd.IntN(2) == 0 {
			s.MaxConnections = 1 + rnd.IntN(5)
		}
		specs = append(specs, s)
	}
	return specs
}

func nameOr(b *Backend) string {
	if b == nil {
		return "nobody"
	}
	return b.Name()
}

func TestExplanation(t *testing.T) {
	p := mustNew(t, "first,least-connections", "a max=1", "b weight=2", "c backup", "d weight=0", "e probe")
	for _, name := range []string{"a", "b", "c"} {
		p.SetHealth(named(t, p, name), Up)
	}
	acquire(t, p)
	acquire(t, p)
	e := p.Explain(noClient, nil)
	if e.Backend != named(t, p, "b") || e.Algorithm != "least-connections" || !slices.Equal(e.Passed, []string{"first"}) || e.Tier != TierUp {
		t.Errorf("got %s of tier %q by %s after %q; want b of tier up by least-connections after first", nameOr(e.Backend), e.Tier, e.Algorithm, e.Passed)
	}
	var got strings.Builder
	for _, c := range e.Candidates {
		fmt.Fprintf(&got, "%s tier=%s full=%v load=%v\n", c.Name, c.Tier, c.Full, c.Load)
	}
	const want = `a tier=up full=true load=2
b tier=up full=false load=1
c tier=backup-up full=false load=1
d tier= full=false load=0
e tier= full=false load=1
`
	if got.String() != want {
		t.Errorf("got\n%s want\n%s", got.String(), want)
	}
}

// Home is a client's backend by ip-hash, whether that is usable or not.
func TestExplanationTellsTheHome(t *testing.T) {
	p := mustNew(t, "ip-hash", "a", "b", "c")
	client := netip.MustParseAddr("10.1.2.3")
	home := p.Explain(client, nil).Backend
	p.SetHealth(home, Down)
	if e := p.Explain(client, nil); e.Home != home || e.Backend == home {
		t.Errorf("with %s down: got home %s and pick %s; want that home and another pick", nameOr(home), nameOr(e.Home), nameOr(e.Backend))
	}
	if e := p.Explain(noClient, nil); e.Home != nil || e.Backend == nil {
		t.Errorf("without an address: got home %s and pick %s; want no home and a pick", nameOr(e.Home), nameOr(e.Backend))
	}
}

// The draws of a pool are spread evenly.
func TestDrawsAreUniform(t *testing.T) {
	const draws, sides = 60_000, 6
	var r rotation
	seed := rand.Uint64()
	r.draws.Store(seed)
	var counts [sides]int
	for range draws {
		counts[r.draw(sides)]++
	}
	// The standard deviation of a count is 91: six of them do not happen in a lifetime.
	for side, n := range counts {
		if n < draws/sides-550 || n > draws/sides+550 {
			t.Errorf("seed %d: got %d times %d; want about %d", seed, n, side, draws/sides)
		}
	}
}

// Backends on which the session would fail are passed over as the session itself would,
// with the turns that this takes.
func TestExplainPassesOverFailures(t *testing.T) {
	for _, algorithm := range Algorithms() {
		p := mustNew(t, algorithm, "a", "b", "c", "d")
		bad := map[*Backend]bool{named(t, p, "a"): true, named(t, p, "b"): true}
		for i := range 20 {
			e := p.Explain(noClient, func(b *Backend) bool { return bad[b] })
			var tried Tried
			b, err := p.Acquire(noClient, &tried)
			for err == nil && bad[b] {
				b.Release()
				tried.Add(b)
				b, err = p.Acquire(noClient, &tried)
			}
			if b != e.Backend {
				t.Errorf("%s, pick %d: explained %s; got %s, %v", algorithm, i, nameOr(e.Backend), nameOr(b), err)
			}
		}
	}
	p := mustNew(t, "first", "a")
	if e := p.Explain(noClient, func(*Backend) bool { return true }); e.Backend != nil {
		t.Errorf("all fail: got %s; want nobody", nameOr(e.Backend))
	}
}

func BenchmarkExplain(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n, " backends"), func(b *testing.B) {
			specs := make([]Spec, n)
			for i := range specs {
				specs[i] = Spec{Name: fmt.Sprint(i), Address: fmt.Sprint(i), Weight: 1}
			}
			p, err := New(Options{}, specs)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				p.Explain(noClient, nil)
			}
		})
	}
}
