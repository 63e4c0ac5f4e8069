package access

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// scan is what a list has to say, found by a look at every rule.
func scan(all []Rule, deny bool, a netip.Addr) (denied bool, longest netip.Prefix) {
	for _, r := range all {
		longer := !longest.IsValid() || r.Prefix.Bits() > longest.Bits()
		if r.Prefix.Contains(a) && (longer || r.Prefix == longest && r.Deny) {
			longest, deny = r.Prefix, r.Deny
		}
	}
	return deny, longest
}

// hold compares what a list says of an address, and which rule it names, with a scan.
func hold(t *testing.T, l *List, all []Rule, deny bool, a netip.Addr) {
	t.Helper()
	if a.Is4In6() {
		return // it is the IPv4 address, to a list
	}
	denied, longest := scan(all, deny, a)
	if got := l.Denies(a); got != denied {
		t.Fatalf("%s: denied %v; want %v by %v", a, got, denied, longest)
	}
	want := word(denied) + " by default"
	if longest.IsValid() {
		want = word(denied) + " " + longest.String()
	}
	if got := l.Rule(a); got != want {
		t.Fatalf("%s: rule %q; want %q", a, got, want)
	}
}

// edges are the addresses about where a prefix begins and ends.
func edges(p netip.Prefix) (all []netip.Addr) {
	v6 := p.Addr().Is6()
	first := toAddress(p.Addr())
	last := first
	ones := address{^uint64(0), ^uint64(0)}
	fixed := ones.masked(p.Bits())
	last.hi |= ones.hi &^ fixed.hi
	last.lo |= ones.lo &^ fixed.lo
	for _, a := range []netip.Addr{first.netip(v6), last.netip(v6)} {
		for _, b := range []netip.Addr{a.Prev(), a, a.Next()} {
			if b.IsValid() {
				all = append(all, b)
			}
		}
	}
	return all
}

// shapes are where the prefixes of a random list may lie.
var shapes = []struct {
	name string
	draw func(r *rand.Rand) netip.Prefix
}{
	{"IPv4/close together", func(r *rand.Rand) netip.Prefix {
		return prefix(netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)) << 6, byte(r.IntN(256))}), r.IntN(33))
	}},
	{"IPv4/everywhere", func(r *rand.Rand) netip.Prefix {
		return prefix(address{hi: r.Uint64()}.netip(false), 33-1-r.IntN(17)*r.IntN(2))
	}},
	{"IPv4/neighbours", func(r *rand.Rand) netip.Prefix {
		return prefix(netip.AddrFrom4([4]byte{192, 0, byte(r.IntN(8)), byte(r.IntN(256))}), 32)
	}},
	{"IPv4/both ends", func(r *rand.Rand) netip.Prefix {
		return prefix(address{hi: -uint64(r.IntN(2)) ^ uint64(r.IntN(9))<<32}.netip(false), r.IntN(33))
	}},
	{"IPv4/crowds far apart", func(r *rand.Rand) netip.Prefix {
		return prefix(address{hi: uint64(r.IntN(3))<<62 | uint64(r.IntN(1<<14))<<32}.netip(false), 32-r.IntN(4))
	}},
	{"IPv6/close together", func(r *rand.Rand) netip.Prefix {
		return prefix(netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(4)), byte(r.IntN(4)), 15: byte(r.IntN(4))}), r.IntN(129))
	}},
	{"IPv6/everywhere", func(r *rand.Rand) netip.Prefix {
		return prefix(address{r.Uint64(), r.Uint64()}.netip(true), 128-r.IntN(100)*r.IntN(2))
	}},
	{"IPv6/one network", func(r *rand.Rand) netip.Prefix {
		return prefix(address{0x20010db8 << 32, r.Uint64() >> r.IntN(64)}.netip(true), 128-r.IntN(20)*r.IntN(2))
	}},
	{"IPv6/a few networks, densely", func(r *rand.Rand) netip.Prefix {
		return prefix(address{0x20010db8<<32 | uint64(r.IntN(3))<<r.IntN(32), uint64(r.IntN(4000))}.netip(true), 128-r.IntN(2)*r.IntN(65))
	}},
	{"IPv6/ever closer", func(r *rand.Rand) netip.Prefix { // each level of nodes parts a few
		return prefix(address{1 << r.IntN(64), uint64(r.IntN(2)) << r.IntN(64)}.netip(true), 128-r.IntN(3))
	}},
	{"IPv6/both ends", func(r *rand.Rand) netip.Prefix {
		x := -uint64(r.IntN(2))
		return prefix(address{x, x ^ uint64(r.IntN(9))}.netip(true), r.IntN(129))
	}},
}

func prefix(a netip.Addr, bits int) netip.Prefix {
	p, _ := a.Prefix(bits)
	return p
}

// The longest prefix decides, and is named, as a look at every rule finds it: about the
// edges of every prefix, within it, and anywhere.
func TestListAgainstScan(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			for _, n := range []int{0, 1, 2, 3, 10, 100, 300, 3000} {
				all := make([]Rule, n)
				for i := range all {
					all[i] = Rule{Prefix: shape.draw(r), Deny: r.IntN(2) == 0}
				}
				deny := r.IntN(2) == 0
				l := New(deny, Source{Rules: all})
				v6 := shape.draw(r).Addr().Is6()
				for range 100 {
					hold(t, l, all, deny, address{r.Uint64(), r.Uint64()}.netip(v6))
					hold(t, l, all, deny, shape.draw(r).Addr())
					if n > 0 {
						p := all[r.IntN(n)].Prefix
						hold(t, l, all, deny, within(r, p))
						near := toAddress(p.Addr())
						near.hi ^= 1 << r.IntN(64)
						hold(t, l, all, deny, near.netip(v6))
						for _, a := range edges(p) {
							hold(t, l, all, deny, a)
						}
					}
				}
			}
		})
	}
}

// Prefixes that each lie in the one before are taken apart, to the last bit.
func TestListNested(t *testing.T) {
	for _, test := range []struct {
		innermost string
		bits      int
	}{{"10.11.12.13", 32}, {"0.0.0.0", 32}, {"255.255.255.255", 32}, {"2001:db8::1:2", 128}, {"::", 128}, {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128}} {
		var all []Rule
		for bits := range test.bits + 1 {
			all = append(all, Rule{Prefix: prefix(netip.MustParseAddr(test.innermost), bits), Deny: bits%2 == 0})
		}
		l := New(true, Source{Rules: all})
		for _, r := range all {
			for _, a := range edges(r.Prefix) {
				hold(t, l, all, true, a)
			}
		}
	}
}

// A prefix takes two steps, and what says nothing new takes none.
func TestListSteps(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules []Rule
		want  int
	}{
		{"one", written(true, "10.0.0.0/8"), 2},
		{"one that says what others have by default", written(false, "10.0.0.0/8"), 0},
		{"neighbours", written(true, "10.0.0.0/9", "10.128.0.0/9"), 2},
		{"one inside another", written(true, "10.0.0.0/8", "10.1.0.0/16"), 2},
		{"to the last address", written(true, "255.0.0.0/8"), 1},
		{"two kinds of neighbours", append(written(true, "10.0.0.0/8"), written(false, "10.0.0.0/9")...), 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := len(New(false, Source{Rules: test.rules}).families[0].steps.heads); got != test.want {
				t.Errorf("got %d steps; want %d", got, test.want)
			}
		})
	}
}

// FuzzList builds a list of what the bytes say, 18 a rule: family and verdict, length,
// address.
func FuzzList(f *testing.F) {
	f.Add([]byte("\x00\x08\x0a               \x03\x40\x20\x01              "), []byte("\x0a\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, tape, asked []byte) {
		var all []Rule
		for ; len(tape) >= 18 && len(all) < 2000; tape = tape[18:] {
			a := netip.AddrFrom16([16]byte(tape[2:18]))
			if tape[0]&1 == 0 {
				a = netip.AddrFrom4([4]byte(tape[2:6]))
			}
			if a.Is4In6() {
				continue // the configuration takes them for IPv4
			}
			all = append(all, Rule{Prefix: prefix(a, int(tape[1])%(a.BitLen()+1)), Deny: tape[0]&2 != 0})
		}
		l := New(len(asked)%2 == 0, Source{Rules: all})
		for _, r := range all {
			for _, a := range edges(r.Prefix) {
				hold(t, l, all, len(asked)%2 == 0, a)
			}
		}
		if len(asked) >= 4 {
			hold(t, l, all, len(asked)%2 == 0, netip.AddrFrom4([4]byte(asked)))
		}
	})
}
