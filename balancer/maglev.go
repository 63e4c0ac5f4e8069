package balancer

import (
	"cmp"
	"slices"
	"strings"
)

// Maglev hashing (Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016,
// section 3.4): a table of a prime number of slots, each a backend's. Every backend prefers the slots in an
// order of its own, and they take turns in claiming the best slot that is still free. So their counts differ
// by at most one, and when a backend leaves, few slots but its own change hands.

const (
	slotsUsual = 65537
	slotsMany  = 655373
	seatsMany  = 650 // above it a backend would have fewer than 100 of the usual slots
)

// seat is a backend as its Maglev table knows it: by what was configured, not by how it fares.
type seat struct {
	name   string
	weight int // 1..MaxWeight
}

// The groups of a pool. Each has a Maglev table of its own, so that backups have no clients at home with
// them while primaries do the work.
const (
	primaries = iota
	backups
	groupCount
)

// group is the set of backends that share a Maglev table.
type group struct {
	keys    hashKeys
	size    int              // slots
	seats   []seat           // the heaviest first, equal ones by name: no order of a configuration shows
	numbers map[string]int32 // by name: where in seats
	built   *ring            // nil until a table needs it
}

// newGroup sorts seats in place. A size of 0 is the usual one for that many.
func newGroup(keys hashKeys, size int, seats []seat) *group {
	slices.SortFunc(seats, func(a, b seat) int {
		return cmp.Or(b.weight-a.weight, strings.Compare(a.name, b.name))
	})
	switch {
	case size != 0:
	case len(seats) > seatsMany:
		size = slotsMany
	default:
		size = slotsUsual
	}
	numbers := make(map[string]int32, len(seats))
	for i, s := range seats {
		numbers[s.name] = int32(i)
	}
	return &group{keys: keys, size: size, seats: seats, numbers: numbers}
}

// equal reports whether g and h have the same Maglev table.
func (g *group) equal(h *group) bool {
	return g.keys == h.keys && g.size == h.size && slices.Equal(g.seats, h.seats)
}

// table builds the ring when it is asked for the first time.
func (g *group) table() *ring {
	if g.built == nil {
		g.built = newRing(g)
	}
	return g.built
}

// ring is a group's Maglev table. It is immutable.
type ring struct {
	keys  hashKeys
	seats []seat
	names []uint64 // by seat: the hash of its name
	slots []uint32 // the seat of each slot
}

// seatOf is the seat whose slot a hash leads to.
func (r *ring) seatOf(hash uint64) uint32 { return r.slots[hash%uint64(len(r.slots))] }

func newRing(g *group) *ring {
	r := &ring{keys: g.keys, seats: g.seats, names: make([]uint64, len(g.seats))}
	orders := make([]preference, len(g.seats))
	for i, s := range g.seats {
		r.names[i] = g.keys.name.sum([]byte(s.name))
		orders[i] = preferenceOf(r.names[i], g.size)
	}
	r.slots = claimSlots(g.size, g.seats, orders)
	return r
}

// preference is the order in which a backend claims slots: next, next+skip, next+2·skip and so on, modulo
// the number of slots, which is prime so that this reaches all of them.
type preference struct{ next, skip int }

// preferenceOf takes both numbers from one hash of the backend's name.
func preferenceOf(hash uint64, size int) preference {
	n := uint64(size)
	return preference{next: int(hash % n), skip: int(hash/n%(n-1)) + 1}
}

const freeSlot = ^uint32(0)

// claimSlots fills the table. In each round the heaviest seats claim one slot each; one of a w-th of their
// weight has its turn in every w-th round. seats stand heaviest first and are at least one.
func claimSlots(size int, seats []seat, orders []preference) []uint32 {
	slots := make([]uint32, size)
	for i := range slots {
		slots[i] = freeSlot
	}
	runs := runsOfWeight(seats)
	heaviest := seats[0].weight
	for round, free := 1, size; ; round++ {
		for k := range runs {
			run := &runs[k]
			if round*run.weight < run.due {
				continue
			}
			run.due += heaviest
			for i := run.from; i < run.to; i++ {
				orders[i].claim(slots, uint32(i))
				if free--; free == 0 {
					return slots
				}
			}
		}
	}
}

// claim gives seat the first free slot in its order.
func (p *preference) claim(slots []uint32, seat uint32) {
	for {
		slot := p.next
		if p.next += p.skip; p.next >= len(slots) {
			p.next -= len(slots)
		}
		if slots[slot] == freeSlot {
			slots[slot] = seat
			return
		}
	}
}

// run is a stretch of seats of the same weight, from..to. They are due for a turn together, in the first
// round whose number times weight reaches due; a turn adds the greatest weight of all to it.
type run struct{ from, to, weight, due int }

func runsOfWeight(seats []seat) []run {
	var runs []run
	for i, s := range seats {
		if i == 0 || s.weight != seats[i-1].weight {
			runs = append(runs, run{from: i, weight: s.weight})
		}
		runs[len(runs)-1].to = i + 1
	}
	return runs
}
