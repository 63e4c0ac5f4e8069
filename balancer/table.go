package balancer

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// The tiers of a table, in the order in which picks try them.
const (
	primaryUp = iota
	primaryUnchecked
	backupUp
	backupUnchecked
	tierCount
	onTrial = tierCount // added to a tier's number: there on trial
	noTier  = -1
)

// isTier tells the place of a plain member of a tier.
func isTier(place int8) bool { return place >= 0 && place < tierCount }

// tierGroups tells which group of ip-hash a tier's rows belong to.
var tierGroups = [tierCount]int{primaries, primaries, backups, backups}

// table is everything that a pick reads, immutable once it is published. A change of configuration makes
// all of it anew; a change of health or mode only what stands here, whose size is 5 bytes a backend and
// what the algorithms precompute.
type table struct {
	*layout
	places []int8 // by position in rows: the tier in which the row stands, maybe onTrial, or noTier
	tiers  [tierCount]tier
	usable int // rows in all tiers, those on trial included
}

// layout is the part of a table that follows from the configuration alone.
type layout struct {
	chain  []algorithm // at least one
	rows   []row       // all backends in the order of the configuration
	groups [groupCount]*group
	homes  [groupCount][]int32 // by seat in the group: the position in rows
}

// row is one backend as a pick sees it. It holds what a scan compares, next to each other, and leads to
// the count.
type row struct {
	backend *Backend
	limit   int64 // the count of sessions that active must not pass
	weight  int32 // in hundredths: 0..100*MaxWeight; at least 1 in a tier
	seat    int32 // in the group, if the weight is not 0
}

// unlimited is the limit of a row whose backend has none.
const unlimited = math.MaxInt64

// tier is a set of rows that are alike in precedence, numbered 0..size()-1 in the order of the configuration.
type tier struct {
	*table
	number   int
	members  []int32 // positions in rows
	trials   []int32 // likewise, of those on trial: they are no members
	rotation *rotation
	random   func(n uint64) uint64 // uniform in 0..n-1; nil: the rotation draws
	heaviest int32                 // the greatest weight

	schedule schedule // for roundRobin
	shares   shares   // for randomTwo
	ring     *ring    // for ipHash
}

func (t *tier) size() int      { return len(t.members) }
func (t *tier) row(i int) *row { return &t.rows[t.members[i]] }

// rotation is what picks in a tier carry from one to the next. It outlives tables: a change of health must
// not send the next session to the front again. The counters lie on lines of their own, since every
// processor writes them.
type rotation struct {
	turn atomic.Uint64 // roundRobin: turns drawn so far
	_    [cacheLine - 8]byte
	next atomic.Int64 // leastConnections: the row after the one taken last
	_    [cacheLine - 8]byte

	draws atomic.Uint64 // randomTwo: the state of its generator
	_     [cacheLine - 8]byte
}

// draw is uniform in 0..n-1 for a small n: the next number of splitmix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", 2014), whose state is a counter. So loops share it with one
// add, and the copy of a rotation draws what the rotation itself will.
func (r *rotation) draw(n uint64) uint64 {
	z := r.draws.Add(0x9e3779b97f4a7c15)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(z^z>>31, n)
	return hi
}

// acquire reserves a backend of the first tier that has a usable one.
func (t *table) acquire(q request) (*Backend, error) {
	if p := t.pick(q); p.backend != nil {
		return p.backend, nil
	}
	if t.haveTried(q) {
		return nil, ErrTried
	}
	return nil, ErrNoBackend
}

// picked is the outcome of a pick: a backend, or nil, and how it was come by.
type picked struct {
	backend *Backend
	tier    int
	link    int // of the chain
}

func (t *table) pick(q request) picked {
	for i := range t.tiers {
		tier := &t.tiers[i]
		if len(tier.trials) > 0 {
			if b := tier.try(q); b != nil {
				return picked{b, i, 0}
			}
		}
		if tier.size() > 0 {
			if p := tier.pick(q); p.backend != nil {
				return p
			}
		}
	}
	return picked{}
}

// pick goes down the chain: each algorithm but the last may only have the very backend that it proposes,
// the last one chooses among all that are usable.
func (t *tier) pick(q request) picked {
	last := len(t.chain) - 1
	for i, a := range t.chain[:last] {
		if r := a.propose(t, q); r != nil && q.take(r) {
			return picked{r.backend, t.number, i}
		}
	}
	return picked{t.chain[last].choose(t, q), t.number, last}
}

// haveTried reports whether there is a backend that lacks nothing but that the session failed on it.
func (t *table) haveTried(q request) bool {
	if q.tried.Len() == 0 {
		return false
	}
	for i := range t.rows {
		r := &t.rows[i]
		if isTier(t.places[i]) && q.tried.Has(r.backend) && r.backend.active.Load() < r.limit {
			return true
		}
	}
	return false
}
