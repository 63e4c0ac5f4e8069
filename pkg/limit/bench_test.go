package limit

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
)

// address is one of 2^32 different IPv6 networks, or IPv4 addresses.
func address(n uint32, v6 bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	b := [16]byte{0x20, 0x01}
	binary.BigEndian.PutUint32(b[2:], n)
	return netip.AddrFrom16(b)
}

// BenchmarkSources is what a session costs that is counted by its source: one Take
// and one Release.
func BenchmarkSources(b *testing.B) {
	q := Quota{Connections: 10, Rate: PerSecond(100, 100)}
	for _, c := range []struct {
		name    string
		sources uint32
	}{{"one source", 1}, {"100k sources", 100_000}, {"10M sources, all new", 10_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			t := NewSources(1 << 20)
			var from atomic.Uint32
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				n := from.Add(1 << 20)
				for p.Next() {
					n++
					src := NewSource(1, address(n%c.sources, false), 32, 64)
					if slot, ok := t.Take(src, q, Now()); ok == Taken {
						t.Release(slot)
					}
				}
			})
		})
	}
}

func BenchmarkBucket(b *testing.B) {
	var bucket Bucket
	r := PerSecond(1_000_000, 1_000_000)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			bucket.Take(r, Now())
		}
	})
}

// A table that is full takes at most 64 bytes for each source.
func TestSourcesMemory(t *testing.T) {
	entries := 1 << 20
	if testing.Short() {
		entries = 1 << 16
	}
	before := heap()
	table := NewSources(entries)
	for n := range uint32(2 * entries) {
		slot, outcome := table.Take(NewSource(1, address(n, n%2 == 0), 32, 64), Quota{}, 0)
		if outcome == Taken && n%3 != 0 { // some stay live
			table.Release(slot)
		}
	}
	stats := table.Stats()
	each := float64(heap()-before) / float64(stats.Entries)
	t.Logf("%d sources, %.1f bytes each", stats.Entries, each)
	if stats.Entries > entries || stats.Entries < entries/64*63 {
		t.Errorf("sources known: got %d; want %d", stats.Entries, entries)
	}
	if each > 64 {
		t.Errorf("got %.1f bytes for a source; want at most 64", each)
	}
	runtime.KeepAlive(table)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
