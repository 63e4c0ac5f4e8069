package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
)

// BenchmarkDenies looks clients up among prefixes of the lengths that the Internet's
// routing table has (60 % of /24; twice as long in IPv6). Half of the clients are in
// one. What it costs is misses of the processor's caches: so it depends on how many
// clients come and go. IPv6 prefixes lie close together in a few parts of its space, as
// those that are in use do.
func BenchmarkDenies(b *testing.B) {
	for _, prefixes := range []int{1000, 1_000_000} {
		for _, v6 := range []bool{false, true} {
			r := rand.New(rand.NewPCG(1, 2))
			all := manyRules(r, prefixes, v6)
			before := heap()
			l := New(false, Source{"list", all})
			each := float64(heap()-before) / float64(len(all))
			for _, clients := range []int{1 << 12, 1 << 16} {
				asked := make([]netip.Addr, clients)
				for i := range asked {
					asked[i] = someAddr(r, v6)
					if i%2 == 0 {
						asked[i] = within(r, all[r.IntN(len(all))].Prefix)
					}
				}
				b.Run(fmt.Sprintf("%d prefixes/%s/%d clients", prefixes, familyName(v6), clients), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						l.Denies(asked[i&(len(asked)-1)])
					}
					b.ReportMetric(each, "B/prefix")
				})
			}
			runtime.KeepAlive(all)
			runtime.KeepAlive(l)
		}
	}
}

// BenchmarkNew makes a list of a million prefixes that have been read.
func BenchmarkNew(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		b.Run(familyName(v6), func(b *testing.B) {
			all := manyRules(rand.New(rand.NewPCG(1, 2)), 1_000_000, v6)
			for b.Loop() {
				New(false, Source{"list", all})
			}
		})
	}
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// manyRules deny n different prefixes.
func manyRules(r *rand.Rand, n int, v6 bool) (all []Rule) {
	lengths := []int{24, 24, 24, 24, 24, 24, 22, 22, 23, 20, 19, 16}
	seen := map[netip.Prefix]bool{}
	for len(all) < n {
		bits := lengths[r.IntN(len(lengths))]
		if v6 {
			bits *= 2
		}
		if p, _ := someAddr(r, v6).Prefix(bits); !seen[p] {
			seen[p] = true
			all = append(all, Rule{Prefix: p, Deny: true, Line: len(all) + 1})
		}
	}
	return all
}

// someAddr is in one of 223 /8, or of ten /16 with 1024 /29 each.
func someAddr(r *rand.Rand, v6 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	if !v6 {
		return netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), b[1], b[2], b[3]})
	}
	first := []uint16{0x2001, 0x2400, 0x2402, 0x2600, 0x2604, 0x2800, 0x2a00, 0x2a01, 0x2a02, 0x2c0f}[r.IntN(10)]
	b[0], b[1], b[2], b[3] = byte(first>>8), byte(first), b[2]&0x1f, b[3]&0xf8
	return netip.AddrFrom16(b)
}

// within is an address of p.
func within(r *rand.Rand, p netip.Prefix) netip.Addr {
	a := toAddress(p.Addr())
	x := address{r.Uint64(), r.Uint64()}
	fixed := x.masked(p.Bits())
	a.hi |= x.hi &^ fixed.hi
	a.lo |= x.lo &^ fixed.lo
	return a.netip(p.Addr().Is6())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
