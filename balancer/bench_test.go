package balancer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// benchPool has n backends that are up, of weights 1..4, each with up to five sessions already.
func benchPool(b *testing.B, n int, algorithms ...string) *Pool {
	b.Helper()
	specs := make([]Spec, n)
	for i := range specs {
		specs[i] = Spec{
			Name: fmt.Sprintf("backend-%d", i), Address: fmt.Sprintf("10.0.0.1:%d", i),
			Weight: 1 + i%4, MaxConnections: 1 << 20,
		}
	}
	p, err := New(Options{Algorithms: algorithms}, specs)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range p.Backends() {
		p.SetHealth(s.Backend, Up)
		s.Backend.active.Store(r.Int64N(5) + 1)
	}
	return p
}

var benchSizes = []int{10, 1000, 10000}

func benchClient(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// BenchmarkAcquire measures one pick and its release.
func BenchmarkAcquire(b *testing.B) {
	for _, name := range Algorithms() {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d/one", name, n), func(b *testing.B) {
				p := benchPool(b, n, name)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					benchPick(b, p, i)
				}
			})
			b.Run(fmt.Sprintf("%s/%d/many", name, n), func(b *testing.B) {
				p := benchPool(b, n, name)
				b.ReportAllocs()
				b.SetParallelism(8)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(1 << 20); pb.Next(); i++ {
						benchPick(b, p, i)
					}
				})
			})
		}
	}
}

func benchPick(b *testing.B, p *Pool, i int) {
	k, err := p.Acquire(benchClient(i), nil)
	if err != nil {
		b.Fatal(err)
	}
	k.Release()
}

// BenchmarkSetHealth measures one change of health: a new table.
func BenchmarkSetHealth(b *testing.B) {
	for _, name := range Algorithms() {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p := benchPool(b, n, name)
				k := p.Backends()[n/2].Backend
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p.SetHealth(k, Health(i%2)+1)
				}
			})
		}
	}
}

// BenchmarkMaglev measures a table of slots, which only a change of configuration asks for.
func BenchmarkMaglev(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := newGroup(newHashKeys(""), 0, seatsNamed(n))
			for b.Loop() {
				newRing(g)
			}
		})
	}
}

func seatsNamed(n int) []seat {
	seats := make([]seat, n)
	for i := range seats {
		seats[i] = seat{fmt.Sprintf("backend-%d", i), 1}
	}
	return seats
}
