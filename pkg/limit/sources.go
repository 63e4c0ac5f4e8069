package limit

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// Sources counts connections by where they come from: how many live, and how fast new
// ones come. It has a bound, so that no number of sources takes more memory than that
// (52 bytes for each, as far as there are any).
//
//	          Take                    Release of its last connection
//	unknown ───────> live ──────────────────────────────────> idle
//	   ^              ^  ^ Take                                │ │
//	   │              └──┴─────────────────────────────────────┘ │
//	   └───────────── the place is needed: least recently used ──┘
//
// A source with live connections is never forgotten: its count is exact whatever
// others do. If all are live, there is no room for another one.
//
// An idle source may be forgotten while its bucket is not full. What it had paid ahead
// (see Rate) is then owed by all who come new to that part of the table: they start
// with at most what is left of the latest such debt. So a flood of sources buys nobody
// a token, and costs newcomers, during the flood, their burst.
//
// The table is cut into shards by a hash with a secret seed; each has its own lock,
// held for one look-up. All operations are O(1).
type Sources struct {
	seed   maphash.Seed
	shards []shard
	shift  int // bits of a hash, and of a Slot, that number the shard

	mu     sync.Mutex
	scopes uint32
}

// MaxSources is the most entries that a table can have.
const MaxSources = 1 << 24

const (
	maxShards = 64
	// leastShard is how many entries make a shard worth its while.
	leastShard = 1024
)

// Source is who connects: an address or a network, within a scope.
type Source struct {
	prefix [16]byte // masked; IPv4 as IPv4-mapped
	scope  uint32   // scope<<8 | length of the prefix, of 128
}

// NewSource is the network of these many bits that an address, not IPv4-mapped, is in.
func NewSource(scope uint32, a netip.Addr, bits4, bits6 int) Source {
	n := bits6
	if a.Is4() {
		n = bits4 + 96
	}
	s := Source{prefix: a.As16(), scope: scope<<8 | uint32(n)}
	hi, lo := binary.BigEndian.Uint64(s.prefix[:8]), binary.BigEndian.Uint64(s.prefix[8:])
	if n < 64 {
		hi, lo = hi&^(1<<(64-n)-1), 0
	} else if n < 128 {
		lo &^= 1<<(128-n) - 1
	}
	binary.BigEndian.PutUint64(s.prefix[:8], hi)
	binary.BigEndian.PutUint64(s.prefix[8:], lo)
	return s
}

// Prefix is the network.
func (s Source) Prefix() netip.Prefix {
	a, n := netip.AddrFrom16(s.prefix), int(s.scope&0xff)
	if a.Is4In6() && n >= 96 {
		return netip.PrefixFrom(a.Unmap(), n-96)
	}
	return netip.PrefixFrom(a, n)
}

// Quota is what one source may take. Its zero value is no limit.
type Quota struct {
	Connections int // at one time; 0 = no limit
	Rate        Rate
}

// Outcome is Take's answer.
type Outcome uint8

const (
	Taken   Outcome = iota
	TooMany         // the source has as many connections as it may have
	TooFast         // it has no token left
	NoRoom          // it is new, and all that are known have live connections
)

// Slot stands for one live connection of a source; 0 is none.
type Slot uint32

// entry is one source. 48 bytes.
type entry struct {
	Source
	live         int32
	hash         uint32 // of the source
	next         uint32 // in the same bin
	older, newer uint32 // idle ones, by last use
	paid         int64  // see Rate
}

type chunk [256]entry

// shard is a part of the table. Entries are numbered from 1, so that 0 is none.
type shard struct {
	mu     sync.Mutex
	limit  uint32
	used   uint32   // numbers in use: 1..used
	heads  []uint32 // by hash; a power of two
	chunks []*chunk

	oldest, newest uint32 // idle entries
	debt           int64  // the greatest paid of an entry that was forgotten

	forgotten uint64
	_         [32]byte // a lock to a cache line
}

// NewSources makes a table for so many sources, 1..MaxSources; within a 64th, since
// each shard has its own bound.
func NewSources(entries int) *Sources {
	entries = min(max(entries, 1), MaxSources)
	n := 1
	for n < maxShards && entries/(2*n) >= leastShard {
		n *= 2
	}
	t := &Sources{seed: maphash.MakeSeed(), shards: make([]shard, n), shift: bits.Len(uint(n)) - 1}
	for i := range t.shards {
		t.shards[i].limit = uint32(entries / n)
	}
	return t
}

// NewScope answers a number for NewSource that no one else has: sources of one scope
// are counted apart from those of another.
func (t *Sources) NewScope() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scopes++
	return t.scopes & (1<<24 - 1)
}

// Take counts one more connection of src, if its quota allows that, until Release.
func (t *Sources) Take(src Source, q Quota, now int64) (Slot, Outcome) {
	n, hash := t.locate(src)
	s := &t.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	i, e := s.findOrAdd(src, hash, q.Rate, now)
	if e == nil {
		return 0, NoRoom
	}
	var outcome Outcome
	if e.paid, outcome = q.check(e.live, e.paid, now); outcome != Taken {
		if e.live == 0 {
			s.unlink(i)
			s.link(i) // it was used
		}
		return 0, outcome
	}
	s.enter(i)
	return t.slot(n, i), Taken
}

// check says what becomes of one more connection, and of paid.
func (q Quota) check(live int32, paid, now int64) (int64, Outcome) {
	if q.Connections > 0 && int(live) >= q.Connections {
		return paid, TooMany
	}
	if !q.Rate.IsZero() {
		var ok bool
		if paid, ok = q.Rate.take(paid, now); !ok {
			return paid, TooFast
		}
	}
	return paid, Taken
}

// Count counts a connection of src that lives already, whatever the quota. It answers
// 0 if there is no room.
func (t *Sources) Count(src Source) Slot {
	slot, _ := t.Take(src, Quota{}, 0)
	return slot
}

// Release ends the count of one connection.
func (t *Sources) Release(slot Slot) {
	n, i := t.split(slot)
	s := &t.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(i)
}

// Return takes back what Take with this rate has done: it counts for nothing.
func (t *Sources) Return(slot Slot, r Rate) {
	n, i := t.split(slot)
	s := &t.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(i).paid -= r.interval
	s.leave(i)
}

// Of answers whose slot it is.
func (t *Sources) Of(slot Slot) Source {
	n, i := t.split(slot)
	s := &t.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(i).Source
}

// Look says what Take would, without counting; how many connections of src live; and
// how long it is until it may have a token, 0 if it has one.
func (t *Sources) Look(src Source, q Quota, now int64) (o Outcome, live int, wait time.Duration) {
	n, hash := t.locate(src)
	s := &t.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	var paid int64
	if i := s.find(src, hash); i != 0 {
		e := s.at(i)
		live, paid = int(e.live), e.paid
	} else if debt, ok := s.debtAfter(); ok {
		paid = inherited(debt, q.Rate, now)
	} else {
		return NoRoom, 0, 0
	}
	_, o = q.check(int32(live), paid, now)
	return o, live, q.Rate.wait(paid, now)
}

// SourceStats are counts of a table.
type SourceStats struct {
	Limit     int
	Entries   int    // known, live or idle
	Forgotten uint64 // idle ones that gave their place to others
}

// Stats sums the shards up.
func (t *Sources) Stats() (all SourceStats) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all.Limit += int(s.limit)
		all.Entries += int(s.used)
		all.Forgotten += s.forgotten
		s.mu.Unlock()
	}
	return all
}

// locate answers the shard of src, and the hash for its table there.
func (t *Sources) locate(src Source) (shard, hash uint32) {
	h := maphash.Comparable(t.seed, src)
	return uint32(h) & (1<<t.shift - 1), uint32(h >> 32)
}

func (t *Sources) slot(shard, i uint32) Slot { return Slot(i<<t.shift | shard) }

func (t *Sources) split(s Slot) (shard, i uint32) {
	return uint32(s) & (1<<t.shift - 1), uint32(s) >> t.shift
}

// What follows needs mu.

func (s *shard) at(i uint32) *entry {
	const n = uint32(len(chunk{}))
	return &s.chunks[(i-1)/n][(i-1)%n]
}

func (s *shard) find(src Source, hash uint32) uint32 {
	if s.heads == nil {
		return 0
	}
	i := s.heads[s.bin(hash)]
	for i != 0 {
		e := s.at(i)
		if e.Source == src {
			break
		}
		i = e.next
	}
	return i
}

func (s *shard) bin(hash uint32) uint32 { return hash & uint32(len(s.heads)-1) }

// findOrAdd answers nil if src is new and there is no room.
func (s *shard) findOrAdd(src Source, hash uint32, r Rate, now int64) (uint32, *entry) {
	if i := s.find(src, hash); i != 0 {
		return i, s.at(i)
	}
	i := s.place()
	if i == 0 {
		return 0, nil
	}
	e := s.at(i)
	*e = entry{Source: src, hash: hash, paid: inherited(s.debt, r, now)}
	bin := &s.heads[s.bin(hash)]
	e.next, *bin = *bin, i
	s.link(i)
	return i, e
}

// inherited is what a source that is new has paid ahead: nothing, or as much of what
// forgotten ones had as its own rate lets anybody have.
func inherited(debt int64, r Rate, now int64) int64 { return min(debt, now+r.depth) }

// debtAfter is what debt will be when there is a place for one more source; not ok if
// there will be none.
func (s *shard) debtAfter() (debt int64, ok bool) {
	switch {
	case s.used < s.limit:
		return s.debt, true
	case s.oldest != 0:
		return max(s.debt, s.at(s.oldest).paid), true
	}
	return 0, false
}

// place answers a number for a new entry: one never used, or that of the source that
// was not used for longest; 0 if all are live.
func (s *shard) place() uint32 {
	switch {
	case s.used < s.limit:
		return s.grow()
	case s.oldest != 0:
		return s.forget(s.oldest)
	}
	return 0
}

func (s *shard) grow() uint32 {
	if s.heads == nil {
		s.heads = make([]uint32, 1<<bits.Len32(s.limit-1))
	}
	if int(s.used) == len(s.chunks)*len(chunk{}) {
		s.chunks = append(s.chunks, new(chunk))
	}
	s.used++
	return s.used
}

// forget takes an idle entry out of everything.
func (s *shard) forget(i uint32) uint32 {
	e := s.at(i)
	at := &s.heads[s.bin(e.hash)]
	for *at != i {
		at = &s.at(*at).next
	}
	*at = e.next
	s.unlink(i)
	s.debt = max(s.debt, e.paid)
	s.forgotten++
	return i
}

// enter counts a connection in.
func (s *shard) enter(i uint32) {
	e := s.at(i)
	if e.live == 0 {
		s.unlink(i)
	}
	e.live++
}

// leave counts a connection out.
func (s *shard) leave(i uint32) {
	e := s.at(i)
	if e.live--; e.live == 0 {
		s.link(i)
	} else if e.live < 0 {
		panic("limit: release of " + e.Prefix().String() + " without a take")
	}
}

// link makes i the idle entry that was used last.
func (s *shard) link(i uint32) {
	e := s.at(i)
	e.older, e.newer = s.newest, 0
	if s.newest != 0 {
		s.at(s.newest).newer = i
	} else {
		s.oldest = i
	}
	s.newest = i
}

// unlink takes i out of the idle ones.
func (s *shard) unlink(i uint32) {
	e := s.at(i)
	if e.newer != 0 {
		s.at(e.newer).older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != 0 {
		s.at(e.older).newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.older, e.newer = 0, 0
}
