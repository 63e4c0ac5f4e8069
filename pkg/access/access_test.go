package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
)

func rules(deny bool, prefixes ...string) (all []Rule) {
	for i, p := range prefixes {
		all = append(all, Rule{Prefix: netip.MustParsePrefix(p), Deny: deny, Line: i + 1})
	}
	return all
}

func TestList(t *testing.T) {
	l := New(true,
		Source{"lime.toml", rules(false, "10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32", "192.0.2.1/32")},
		Source{"deny.txt", rules(true, "10.1.0.0/16", "192.0.2.1/32", "2001:db8:1::/48", "10.1.2.3/32")},
	)
	for _, test := range []struct {
		address string
		denied  bool
		rule    string
	}{
		{"10.0.0.1", false, "allow 10.0.0.0/8 (lime.toml:1)"},
		{"10.1.0.1", true, "deny 10.1.0.0/16 (deny.txt:1)"},
		{"10.1.2.1", false, "allow 10.1.2.0/24 (lime.toml:2)"},
		{"10.1.2.3", true, "deny 10.1.2.3/32 (deny.txt:4)"},
		{"::ffff:10.1.2.3", true, "deny 10.1.2.3/32 (deny.txt:4)"},
		{"::ffff:10.0.0.1", false, "allow 10.0.0.0/8 (lime.toml:1)"},
		{"192.0.2.1", true, "deny 192.0.2.1/32 (deny.txt:2)"}, // both: denied
		{"192.0.2.2", true, "deny by default"},
		{"2001:db8::1", false, "allow 2001:db8::/32 (lime.toml:3)"},
		{"2001:db8:1::1", true, "deny 2001:db8:1::/48 (deny.txt:3)"},
		{"fe80::1%eth0", true, "deny by default"},
	} {
		a := netip.MustParseAddr(test.address)
		if got := l.Denies(a); got != test.denied {
			t.Errorf("%s: denied %v; want %v", a, got, test.denied)
		}
		if got := l.Rule(a); got != test.rule {
			t.Errorf("%s: rule %q; want %q", a, got, test.rule)
		}
	}
	if l.Denies(netip.Addr{}) {
		t.Error("a client without an address is denied; want it allowed")
	}
	if n := l.Len(); n != 7 {
		t.Errorf("got %d prefixes; want 7", n)
	}
	var everybody List
	if a := netip.MustParseAddr("192.0.2.1"); everybody.Denies(a) || everybody.Rule(a) != "allow by default" {
		t.Error("the zero List denies; want everybody allowed")
	}
}

// The longest prefix decides, as a look at every rule does.
func TestListAgainstScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func() netip.Addr { // in few bits, so that prefixes meet
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)) << 6, byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(4)), byte(r.IntN(4)), 15: byte(r.IntN(4))})
	}
	for range 50 {
		var all []Rule
		for range r.IntN(200) {
			a := random()
			p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
			all = append(all, Rule{Prefix: p, Deny: r.IntN(2) == 0})
		}
		deny := r.IntN(2) == 0
		l := New(deny, Source{Rules: all})
		for range 500 {
			a := random()
			if got, want := l.Denies(a), scan(all, deny, a); got != want {
				t.Fatalf("seed %d: %s: denied %v; want %v", seed, a, got, want)
			}
		}
	}
}

func scan(all []Rule, deny bool, a netip.Addr) bool {
	longest := -1
	for _, r := range all {
		if r.Prefix.Contains(a) && (r.Prefix.Bits() > longest || r.Prefix.Bits() == longest && r.Deny) {
			longest, deny = r.Prefix.Bits(), r.Deny
		}
	}
	return deny
}

// BenchmarkDenies looks clients up among prefixes of the lengths that the Internet's
// routing table has (60 % of /24). Half of the clients are in one. What it costs is
// misses of the processor's caches: so it depends on how many clients come and go.
func BenchmarkDenies(b *testing.B) {
	for _, c := range []struct{ prefixes, clients int }{{1000, 1 << 12}, {1_000_000, 1 << 12}, {1_000_000, 1 << 16}} {
		b.Run(fmt.Sprintf("%d prefixes, %d clients", c.prefixes, c.clients), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			all := manyRules(r, c.prefixes)
			before := heap()
			l := New(false, Source{"list", all})
			each := float64(heap()-before) / float64(len(all))
			asked := make([]netip.Addr, c.clients)
			for i := range asked {
				asked[i] = someAddr(r)
				if i%2 == 0 {
					asked[i] = all[r.IntN(len(all))].Prefix.Addr()
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Denies(asked[i&(len(asked)-1)])
				i++
			}
			b.ReportMetric(each, "B/prefix")
			runtime.KeepAlive(l)
		})
	}
}

// manyRules deny n different prefixes, a tenth of them IPv6.
func manyRules(r *rand.Rand, n int) (all []Rule) {
	lengths := []int{24, 24, 24, 24, 24, 24, 22, 22, 23, 20, 19, 16}
	seen := map[netip.Prefix]bool{}
	for len(all) < n {
		a := someAddr(r)
		bits := lengths[r.IntN(len(lengths))]
		if a.Is6() {
			bits *= 2
		}
		if p, _ := a.Prefix(bits); !seen[p] {
			seen[p] = true
			all = append(all, Rule{Prefix: p, Deny: true, Line: len(all) + 1})
		}
	}
	return all
}

func someAddr(r *rand.Rand) netip.Addr {
	b := [16]byte{0x20 + byte(r.IntN(16))}
	for i := 1; i < len(b); i++ {
		b[i] = byte(r.IntN(256))
	}
	if r.IntN(10) == 0 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), b[1], b[2], b[3]})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
