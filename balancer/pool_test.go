package balancer

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// parseSpec reads "name [weight=N] [max=N] [backup] [probe]"; the weight is 1 if nothing is said.
func parseSpec(t *testing.T, line string) Spec {
	t.Helper()
	words := strings.Fields(line)
	s := Spec{Name: words[0], Address: words[0] + ":1", Weight: 1}
	for _, w := range words[1:] {
		switch {
		case w == "backup":
			s.Backup = true
		case w == "probe":
			s.NeedsProbe = true
		default:
			if n, _ := fmt.Sscanf(w, "weight=%d", &s.Weight); n == 1 {
				continue
			}
			if n, _ := fmt.Sscanf(w, "max=%d", &s.MaxConnections); n != 1 {
				t.Fatalf("spec %q: what is %q?", line, w)
			}
		}
	}
	return s
}

func parseSpecs(t *testing.T, lines ...string) (specs []Spec) {
	t.Helper()
	for _, l := range lines {
		specs = append(specs, parseSpec(t, l))
	}
	return specs
}

// mustNew makes a pool with a chain such as "ip-hash,first" and a backend a line.
func mustNew(t *testing.T, chain string, lines ...string) *Pool {
	t.Helper()
	p, err := New(Options{Algorithms: strings.Split(chain, ",")}, parseSpecs(t, lines...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func named(t *testing.T, p *Pool, name string) *Backend {
	t.Helper()
	for _, s := range p.Backends() {
		if s.Name == name {
			return s.Backend
		}
	}
	t.Fatalf("no backend %q", name)
	return nil
}

var noClient netip.Addr

func acquire(t *testing.T, p *Pool) *Backend {
	t.Helper()
	b, err := p.Acquire(noClient, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picks acquires and releases n times and joins the names.
func picks(t *testing.T, p *Pool, n int) string {
	t.Helper()
	var names strings.Builder
	for range n {
		b := acquire(t, p)
		names.WriteString(b.Name())
		b.Release()
	}
	return names.String()
}

// holds acquires n times, keeps the sessions and joins the names.
func holds(t *testing.T, p *Pool, n int) string {
	t.Helper()
	var names strings.Builder
	for range n {
		names.WriteString(acquire(t, p).Name())
	}
	return names.String()
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

func TestLeastConnections(t *testing.T) {
	for _, c := range []struct {
		name  string
		specs []string
		want  string
	}{
		{"equal backends in turn", []string{"a", "b", "c"}, "abcabc"},
		{"twice the weight, twice the sessions", []string{"a weight=2", "b weight=1"}, "abaaba"},
		{"a full one is left out", []string{"a max=1", "b"}, "abbb"},
		{"weight 0 gets none", []string{"a weight=0", "b"}, "bbb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustNew(t, "least-connections", c.specs...)
			if got := holds(t, p, len(c.want)); sorted(got) != sorted(c.want) || got[0] != c.want[0] {
				t.Errorf("got %s; want %s", got, c.want)
			}
		})
	}
}

func TestLeastConnectionsTiesGoRound(t *testing.T) {
	p := mustNew(t, "least-connections", "a", "b", "c", "d")
	if got := picks(t, p, 8); got != "abcdabcd" {
		t.Errorf("idle: got %s; want abcdabcd", got)
	}
	held := []*Backend{named(t, p, "b"), named(t, p, "c")}
	for _, b := range held { // only a and d are least now
		b.reserve(unlimited)
	}
	if got := picks(t, p, 6); got != "adadad" {
		t.Errorf("b and c busy: got %s; want adadad", got)
	}
}

// Without releases no order of exact picks leaves the counts more than one apart.
func TestLeastConnectionsIsExactUnderConcurrency(t *testing.T) {
	p := mustNew(t, "least-connections", "a", "b", "c", "d", "e", "f", "g")
	var picking sync.WaitGroup
	for range 8 {
		picking.Go(func() {
			for range 1000 {
				if _, err := p.Acquire(noClient, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	picking.Wait()
	for _, s := range p.Backends() {
		if s.Active != 8000/7 && s.Active != 8000/7+1 {
			t.Errorf("%s: got %d sessions; want %d or one more", s.Name, s.Active, 8000/7)
		}
	}
}

func TestRandomTwo(t *testing.T) {
	t.Run("draws follow the weights", func(t *testing.T) {
		p := mustNew(t, "random-two", "a weight=3", "b weight=1", "c weight=4", "d weight=2")
		tier := &p.table.Load().tiers[primaryUnchecked]
		counts := make(map[string]int)
		for unit := range tier.shares.total {
			for other := range tier.shares.total { // every answer of the two draws, below what they ask
				answers := []uint64{unit, other}
				tier.random = func(n uint64) uint64 {
					u := answers[0]
					answers = answers[1:]
					return u % n
				}
				a, b := tier.drawTwo()
				if a == b {
					t.Fatalf("units %d, %d: drew %s twice", unit, other, a.backend.Name())
				}
				counts[a.backend.Name()]++
			}
		}
		want := map[string]int{"a": 30, "b": 10, "c": 40, "d": 20}
		if !maps.Equal(counts, want) {
			t.Errorf("first draws: got %v; want %v", counts, want)
		}
	})
	t.Run("the less loaded of two wins", func(t *testing.T) {
		p := mustNew(t, "random-two", "a", "b")
		for range 3 {
			named(t, p, "a").reserve(unlimited)
		}
		if got := picks(t, p, 20); got != strings.Repeat("b", 20) {
			t.Errorf("got %s; want b only", got)
		}
	})
	t.Run("finds the only one that is not full", func(t *testing.T) {
		specs := []string{"x"}
		for i := range 500 {
			specs = append(specs, fmt.Sprintf("f%d max=1", i))
		}
		p := mustNew(t, "random-two", specs...)
		for _, s := range p.Backends()[1:] {
			s.Backend.reserve(unlimited)
		}
		if got := picks(t, p, 20); got != strings.Repeat("x", 20) {
			t.Errorf("got %s; want x only", got)
		}
	})
}

func TestFirstFillsInOrder(t *testing.T) {
	p := mustNew(t, "first", "a max=2", "b max=3", "c")
	if got := holds(t, p, 8); got != "aabbbccc" {
		t.Errorf("got %s; want aabbbccc", got)
	}
	named(t, p, "a").Release()
	if got := holds(t, p, 2); got != "ac" {
		t.Errorf("after a release of a: got %s; want ac", got)
	}
}

func TestTiers(t *testing.T) {
	p := mustNew(t, "first", "a", "b", "c probe", "d backup", "e backup")
	a, b, c, d, e := named(t, p, "a"), named(t, p, "b"), named(t, p, "c"), named(t, p, "d"), named(t, p, "e")
	step := func(what, want string) {
		t.Helper()
		got, err := p.Acquire(noClient, nil)
		if err != nil {
			if want != "" {
				t.Errorf("%s: got %v; want %s", what, err, want)
			}
			return
		}
		got.Release()
		if got.Name() != want {
			t.Errorf("%s: got %s; want %q", what, got.Name(), want)
		}
	}
	step("all unchecked: the first", "a")
	p.SetHealth(b, Up)
	step("up before unchecked", "b")
	p.SetHealth(b, Down)
	step("unchecked again", "a")
	p.SetHealth(a, Down)
	step("unchecked that needs a probe: none; backup", "d")
	p.SetHealth(e, Up)
	step("a backup that is up before one that is unchecked", "e")
	p.SetHealth(c, Up)
	step("a primary before any backup", "c")
	p.SetMode(c, Drain)
	step("drained", "e")
	p.SetMode(c, Maintenance)
	step("under maintenance", "e")
	p.SetMode(e, Drain)
	p.SetHealth(d, Down)
	step("nothing", "")
	p.SetMode(c, Ready)
	step("ready again", "c")
}

func TestFullPrimariesOverflowToBackups(t *testing.T) {
	p := mustNew(t, "least-connections", "a max=1", "b max=1", "c backup")
	if got := holds(t, p, 4); got != "abcc" {
		t.Errorf("got %s; want abcc", got)
	}
}

func TestChain(t *testing.T) {
	for _, c := range []struct {
		chain string
		specs []string
		want  string
	}{
		{"round-robin,first", []string{"a", "b max=1", "c"}, "abcaacaac"}, // b's later turns go to a
		{"first,least-connections", []string{"a max=2", "b", "c"}, "aabcbc"},
		{"ip-hash,first", []string{"a", "b"}, "aaa"},       // no address: the next algorithm
		{"ip-hash", []string{"a", "b", "c"}, "abcabc"},     // no next one: round-robin
		{"first,ip-hash", []string{"a max=1", "b"}, "abb"}, // the last one
	} {
		t.Run(c.chain, func(t *testing.T) {
			p := mustNew(t, c.chain, c.specs...)
			if got := holds(t, p, len(c.want)); got != c.want {
				t.Errorf("got %s; want %s", got, c.want)
			}
		})
	}
}

func TestAcquireErrors(t *testing.T) {
	p := mustNew(t, "least-connections", "a max=1", "b", "c backup")
	var tried Tried
	for _, want := range []string{"a", "b", "c"} {
		b, err := p.Acquire(noClient, &tried)
		if err != nil || b.Name() != want {
			t.Fatalf("got %v, %v; want %s", b, err, want)
		}
		tried.Add(b)
		b.Release()
	}
	if _, err := p.Acquire(noClient, &tried); !errors.Is(err, ErrTried) {
		t.Errorf("all tried: got %v; want ErrTried", err)
	}
	tried.Reset()
	if b, err := p.Acquire(noClient, &tried); err != nil {
		t.Errorf("after a reset: got %v; want a backend", err)
	} else {
		b.Release()
	}

	a := named(t, p, "a")
	tried.Add(a)
	p.SetHealth(named(t, p, "b"), Down)
	p.SetHealth(named(t, p, "c"), Down)
	a.reserve(1)
	if _, err := p.Acquire(noClient, &tried); !errors.Is(err, ErrNoBackend) {
		t.Errorf("the tried one is full: got %v; want ErrNoBackend", err)
	}
	a.Release()
	if _, err := p.Acquire(noClient, &tried); !errors.Is(err, ErrTried) {
		t.Errorf("the tried one is free: got %v; want ErrTried", err)
	}
	p.SetMode(a, Drain)
	if _, err := p.Acquire(noClient, &tried); !errors.Is(err, ErrNoBackend) {
		t.Errorf("the tried one drains: got %v; want ErrNoBackend", err)
	}
	empty := mustNew(t, "ip-hash")
	if _, err := empty.Acquire(noClient, nil); !errors.Is(err, ErrNoBackend) {
		t.Errorf("no backends: got %v; want ErrNoBackend", err)
	}
}

func TestNewReportsEveryProblem(t *testing.T) {
	_, err := New(Options{Algorithms: []string{"best"}, HashSlots: 100}, []Spec{
		{Name: "a", Weight: 300}, {Name: "a", Weight: -1, MaxConnections: -2}, {},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		`balance with "best": unknown algorithm`,
		"hash slots 100 is not a prime",
		`backend 0 "a": weight 300 is out of range 0..256`,
		`backend 1 "a": another backend has this name`,
		"max connections -2 is negative",
		"weight -1 is out of range",
		`backend 2 "": no name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q; want %q in it", err, want)
		}
	}
	if _, err := New(Options{HashSlots: 2}, parseSpecs(t, "a", "b", "c")); err == nil {
		t.Error("fewer slots than backends: got no error")
	}
}

func TestApplyKeepsWhomItKnows(t *testing.T) {
	p := mustNew(t, "least-connections", "a", "b", "c")
	a, b, c := named(t, p, "a"), named(t, p, "b"), named(t, p, "c")
	for _, x := range []*Backend{a, b, c} {
		p.SetHealth(x, Up)
		x.reserve(unlimited)
	}
	p.SetMode(b, Drain)

	specs := parseSpecs(t, "d", "b weight=7", "a", "c")
	specs[2].Value = "new"
	specs[3].Address = "elsewhere:1"
	d, err := p.Apply(Options{}, specs)
	if err != nil {
		t.Fatal(err)
	}
	newD, newC := named(t, p, "d"), named(t, p, "c")
	if !slices.Equal(d.Added, []*Backend{newD, newC}) || !slices.Equal(d.Removed, []*Backend{c}) ||
		!slices.Equal(d.Changed, []*Backend{b}) {
		t.Errorf("got %+v; want d and the moved c added, the old c removed, b changed", d)
	}
	rows := p.Backends()
	want := []State{
		{Backend: newD, Spec: specs[0], Usable: true},
		{Backend: b, Spec: specs[1], Standing: Standing{Health: Up}, Mode: Drain, Active: 1},
		{Backend: a, Spec: specs[2], Standing: Standing{Health: Up}, Active: 1, Usable: true},
		{Backend: newC, Spec: specs[3], Usable: true},
	}
	if !slices.Equal(rows, want) {
		t.Errorf("got %+v; want %+v", rows, want)
	}
	if a.Value() != "new" || b.Value() != nil {
		t.Errorf("values: got %v, %v; want new, <nil>", a.Value(), b.Value())
	}
	c.Release()
	if p.SetHealth(c, Down) || p.SetMode(c, Drain) {
		t.Error("a removed backend has news")
	}
	if _, err := p.Apply(Options{}, parseSpecs(t, "a", "a")); err == nil || len(p.Backends()) != 4 {
		t.Errorf("a wrong configuration: got %v and %d backends; want an error and the 4 of before", err, len(p.Backends()))
	}
}

func TestSettersTellNews(t *testing.T) {
	p := mustNew(t, "ip-hash", "a", "b")
	a := named(t, p, "a")
	for i, want := range []bool{true, false} {
		if got := p.SetHealth(a, Up); got != want {
			t.Errorf("health, call %d: got %v", i, got)
		}
		if got := p.SetMode(a, Drain); got != want {
			t.Errorf("mode, call %d: got %v", i, got)
		}
		if got, err := p.SetWeight(a, 9); got != want || err != nil {
			t.Errorf("weight, call %d: got %v, %v", i, got, err)
		}
	}
	if _, err := p.SetWeight(a, 257); err == nil {
		t.Error("weight 257: got no error")
	}
}

func TestReleaseWithoutAcquirePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	named(t, mustNew(t, "first", "a"), "a").Release()
}

func TestOnUsable(t *testing.T) {
	p := mustNew(t, "first", "a", "b backup")
	a, b := named(t, p, "a"), named(t, p, "b")
	var heard []bool
	p.OnUsable(func(usable bool) {
		if usable != (p.Usable() > 0) { // also: the lock is not held
			t.Errorf("told %v with %d usable", usable, p.Usable())
		}
		heard = append(heard, usable)
	})
	p.SetHealth(a, Down) // b is left
	p.SetMode(b, Drain)
	p.SetHealth(a, Up)
	p.SetWeight(a, 0)
	p.Apply(Options{}, parseSpecs(t, "a"))
	p.Apply(Options{}, nil)
	if want := []bool{false, true, false, true, false}; !slices.Equal(heard, want) {
		t.Errorf("got %v; want %v", heard, want)
	}
}

func TestOnUsableMayChangeThePool(t *testing.T) {
	p := mustNew(t, "first", "a")
	a := named(t, p, "a")
	var heard []bool
	var inside bool
	p.OnUsable(func(usable bool) {
		if inside {
			t.Error("called while it runs")
		}
		inside = true
		heard = append(heard, usable)
		if !usable {
			p.SetHealth(a, Up)
		}
		inside = false
	})
	p.SetHealth(a, Down)
	if want := []bool{false, true}; !slices.Equal(heard, want) {
		t.Errorf("got %v; want %v", heard, want)
	}
}

func TestOnUsableEndsWithTheLastState(t *testing.T) {
	p := mustNew(t, "first", "a", "b")
	var last bool
	p.OnUsable(func(usable bool) { // calls never overlap, or the race detector would object
		if usable == last {
			t.Error("told the same twice")
		}
		last = usable
	})
	last = true
	var flips sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		b := named(t, p, name)
		flips.Go(func() {
			for i := range 2000 {
				p.SetHealth(b, Health(1+i%2))
			}
		})
	}
	flips.Wait()
	if last != (p.Usable() > 0) {
		t.Errorf("told %v last; want %v", last, p.Usable() > 0)
	}
}

func TestTried(t *testing.T) {
	var tried, none Tried
	backends := make([]*Backend, 9)
	for i := range backends {
		backends[i] = &Backend{}
	}
	for round := range 2 {
		for i, b := range backends {
			if tried.Has(b) || tried.Len() != i {
				t.Fatalf("round %d, backend %d: has it already, or %d in all", round, i, tried.Len())
			}
			tried.Add(b)
			tried.Add(b)
			if !tried.Has(b) || tried.Len() != i+1 {
				t.Fatalf("round %d, backend %d: not there after Add, or %d in all", round, i, tried.Len())
			}
		}
		tried.Reset()
	}
	if (*Tried)(nil).Has(backends[0]) || (*Tried)(nil).Len() != 0 || none.Len() != 0 {
		t.Error("nil and zero are not empty")
	}
}

func TestAcquireAllocatesNothing(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.1")
	for _, name := range Algorithms() {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, name, "a", "b", "c", "d", "e", "f")
			var tried Tried
			allocs := testing.AllocsPerRun(100, func() {
				tried.Reset()
				for range 4 {
					b, err := p.Acquire(client, &tried)
					if err != nil {
						t.Fatal(err)
					}
					tried.Add(b)
					b.Release()
				}
			})
			if allocs != 0 {
				t.Errorf("got %v allocations a session with four failures; want 0", allocs)
			}
		})
	}
}

func TestCountsLieOnLinesOfTheirOwn(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for 64-bit machines")
	}
	if got := unsafe.Sizeof(Backend{}); got != cacheLine {
		t.Errorf("Backend: got %d bytes; want %d", got, cacheLine)
	}
	if got := unsafe.Sizeof(rotation{}); got != 3*cacheLine {
		t.Errorf("rotation: got %d bytes; want %d", got, 3*cacheLine)
	}
}

func TestWords(t *testing.T) {
	got := fmt.Sprint(Unchecked, Up, Down, Health(9), Ready, Drain, Maintenance, Mode(9))
	if want := "unchecked up down health(9) ready drain maintenance mode(9)"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}
