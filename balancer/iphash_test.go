package balancer

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// homesOf maps each of n clients to the backend that it gets from an idle pool.
func homesOf(t *testing.T, p *Pool, n int) []string {
	t.Helper()
	homes := make([]string, n)
	for i := range homes {
		b, err := p.Acquire(benchClient(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		homes[i] = b.Name()
		b.Release()
	}
	return homes
}

func tenBackends() (specs []string) {
	for i := range 10 {
		specs = append(specs, fmt.Sprintf("pg-%d", i))
	}
	return specs
}

// A fleet that is upgraded one by one must agree on homes, so these may never change.
func TestIPHashHomesAreForEver(t *testing.T) {
	p := mustNew(t, "ip-hash", "pg-1", "pg-2", "pg-3 weight=2", "pg-4")
	for client, want := range map[string]string{
		"192.0.2.1":    "pg-3",
		"192.0.2.2":    "pg-2",
		"198.51.100.7": "pg-3",
		"2001:db8::1":  "pg-1",
	} {
		b, err := p.Acquire(netip.MustParseAddr(client), nil)
		if err != nil || b.Name() != want {
			t.Errorf("%s: got %v, %v; want %s", client, b.Name(), err, want)
		}
	}
}

func TestIPHashOnlyTheClientsOfADownBackendMoveAndTheyReturn(t *testing.T) {
	const clients = 10000
	p := mustNew(t, "ip-hash", tenBackends()...)
	before := homesOf(t, p, clients)
	p.SetHealth(named(t, p, "pg-3"), Down)
	during := homesOf(t, p, clients)
	moved := make(map[string]int)
	for i := range before {
		switch {
		case before[i] == "pg-3":
			moved[during[i]]++
		case during[i] != before[i]:
			t.Fatalf("client %d of %s moved to %s", i, before[i], during[i])
		}
	}
	for name, n := range moved { // about 1000 over nine
		if n < 70 || n > 160 {
			t.Errorf("%s took %d of the clients; want about 111", name, n)
		}
	}
	if len(moved) != 9 || moved["pg-3"] != 0 {
		t.Errorf("moved to %v; want all nine others", moved)
	}
	p.SetHealth(named(t, p, "pg-3"), Unchecked)
	if !slices.Equal(homesOf(t, p, clients), before) {
		t.Error("clients did not return")
	}
}

func TestIPHashHomesDoNotDependOnOrderOrHistory(t *testing.T) {
	specs := tenBackends()
	p := mustNew(t, "ip-hash", specs...)
	want := homesOf(t, p, 1000)
	p.Apply(Options{Algorithms: []string{"ip-hash"}}, parseSpecs(t, specs[:4]...))
	slices.Reverse(specs)
	p.Apply(Options{Algorithms: []string{"ip-hash"}}, parseSpecs(t, specs...))
	if !slices.Equal(homesOf(t, p, 1000), want) {
		t.Error("homes moved")
	}
}

func TestIPHashKeepsItsTableWhateverHealthAndOrderDo(t *testing.T) {
	p := mustNew(t, "ip-hash", "a", "b", "c")
	ring := func() *ring { return p.table.Load().groups[primaries].table() }
	first := ring()
	p.SetHealth(named(t, p, "a"), Down)
	p.SetMode(named(t, p, "b"), Drain)
	p.Apply(Options{Algorithms: []string{"ip-hash"}}, parseSpecs(t, "c max=3", "b", "a"))
	if ring() != first {
		t.Error("the Maglev table was built again")
	}
	p.SetWeight(named(t, p, "a"), 2)
	second := ring()
	p.Apply(Options{Algorithms: []string{"ip-hash"}, HashKey: "other"}, parseSpecs(t, "c", "b", "a weight=2"))
	if second == first || ring() == second {
		t.Error("a new weight or a new key kept the old Maglev table")
	}
}

func TestIPHashTakesAnAddressInWhateverFormItComes(t *testing.T) {
	p := mustNew(t, "ip-hash", tenBackends()...)
	for i := range 50 {
		plain := benchClient(i)
		for _, c := range [][2]netip.Addr{
			{plain, netip.AddrFrom16(plain.As16())},
			{netip.MustParseAddr(fmt.Sprintf("fe80::%x", i)), netip.MustParseAddr(fmt.Sprintf("fe80::%x%%eth0", i))},
		} {
			a, _ := p.Acquire(c[0], nil)
			b, _ := p.Acquire(c[1], nil)
			if a != b {
				t.Errorf("%s is at home with %s, %s with %s", c[0], a.Name(), c[1], b.Name())
			}
		}
	}
}

func TestIPHashFindsTheFewThatAreLeft(t *testing.T) {
	const clients, left = 3000, 3
	specs := make([]string, 1000)
	for i := range specs {
		specs[i] = fmt.Sprintf("b%d", i)
	}
	p := mustNew(t, "ip-hash", specs...)
	specs2 := parseSpecs(t, specs...)
	for i := left; i < len(specs2); i++ {
		specs2[i].MaxConnections = 1
	}
	if _, err := p.Apply(Options{Algorithms: []string{"ip-hash"}}, specs2); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Backends()[left:] {
		s.Backend.reserve(1) // full
	}
	counts := make(map[string]int)
	for _, name := range homesOf(t, p, clients) {
		counts[name]++
	}
	for _, name := range specs[:left] {
		if n := counts[name]; n < clients/left*8/10 || n > clients/left*12/10 {
			t.Errorf("%s: got %d of %d clients; want about %d", name, n, clients, clients/left)
		}
	}
}

func TestIPHashRendezvousFollowsWeights(t *testing.T) {
	p := mustNew(t, "ip-hash", "a weight=1", "b weight=3")
	tier := &p.table.Load().tiers[primaryUnchecked]
	counts := make(map[string]int)
	for i := range 8000 {
		b := tier.rendezvous(request{client: benchClient(i)})
		counts[b.Name()]++
		b.Release()
	}
	if n := counts["b"]; n < 5800 || n > 6200 {
		t.Errorf("b of weight 3 in 4: got %d of 8000 clients; want about 6000", n)
	}
}

func TestIPHashBackupsHaveNoClientsOfTheirOwn(t *testing.T) {
	alone := homesOf(t, mustNew(t, "ip-hash", "a", "b", "c"), 1000)
	p := mustNew(t, "ip-hash", "a", "b", "c", "x backup", "y backup")
	if !slices.Equal(homesOf(t, p, 1000), alone) {
		t.Error("backups moved the clients of primaries")
	}
	for _, name := range []string{"a", "b", "c"} {
		p.SetHealth(named(t, p, name), Down)
	}
	first := homesOf(t, p, 1000)
	if !slices.Contains(first, "x") || !slices.Contains(first, "y") || !slices.Equal(homesOf(t, p, 1000), first) {
		t.Error("backups do not share the clients, or do not keep them")
	}
}

func TestIPHashInAChainLeavesItsFallbackToTheNext(t *testing.T) {
	p := mustNew(t, "ip-hash,first", tenBackends()...)
	homes := homesOf(t, p, 200)
	p.SetMode(named(t, p, "pg-5"), Drain)
	for i, name := range homesOf(t, p, 200) {
		want := homes[i]
		if want == "pg-5" {
			want = "pg-0"
		}
		if name != want {
			t.Errorf("client %d: got %s; want %s", i, name, want)
		}
	}
}
