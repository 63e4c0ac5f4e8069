package balancer

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Health is what probes say of a backend. The zero value is Unchecked.
type Health uint8

const (
	Unchecked Health = iota // no probe has answered yet
	Up
	Down
)

// String gives the word that logs and the API use: unchecked, up, down.
func (h Health) String() string {
	return word("health", int(h), "unchecked", "up", "down")
}

// Mode is what a person says of a backend. The zero value is Ready.
type Mode uint8

const (
	Ready       Mode = iota
	Drain            // no new sessions; live ones run to their end
	Maintenance      // no new sessions; what becomes of live ones is the owner's choice
)

// String gives the word that logs and the API use: ready, drain, maintenance.
func (m Mode) String() string {
	return word("mode", int(m), "ready", "drain", "maintenance")
}

func word(kind string, i int, words ...string) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("%s(%d)", kind, i)
}

// cacheLine is the distance in bytes at which two counters do not slow each other down.
const cacheLine = 64

// Backend is one destination of a pool. Its pointer is its identity: it stays the same over every change
// of health, mode, weight and configuration as long as the name and the address stay.
//
// A Backend that was removed from its pool is never picked again, but works on for the sessions that hold it.
type Backend struct {
	active        atomic.Int64
	name, address string
	value         atomic.Pointer[any]
	trial         atomic.Uint64 // see trial.go

	_ [cacheLine - 56]byte // fills the line on a 64-bit machine; the allocator then starts each on its own
}

// Name is the backend's name, unique in its pool.
func (b *Backend) Name() string { return b.name }

// Address is the backend's address as its Spec gave it.
func (b *Backend) Address() string { return b.address }

// Value is the Value of the Spec that was applied last, nil if it had none.
func (b *Backend) Value() any { return *b.value.Load() }

// Active counts the acquisitions that were not released yet: live splices and dials under way.
func (b *Backend) Active() int64 { return b.active.Load() }

// Release gives back one acquisition. It must be called exactly once for each successful Acquire and
// panics when there is none to give back, because the count would mislead every pick from then on.
func (b *Backend) Release() {
	if b.active.Add(-1) < 0 {
		panic("balancer: release of backend " + b.name + " without an acquire")
	}
}

// reserve counts one more active session unless that would pass limit. It is the only way up for active,
// so no concurrency of picks overshoots a limit.
func (b *Backend) reserve(limit int64) bool {
	for {
		n := b.active.Load()
		if n >= limit {
			return false
		}
		if b.active.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Tried is the set of backends on which one session has failed. The zero value is an empty set. It is not
// safe for concurrent use.
type Tried struct {
	few  [4]*Backend // the first ones, so that a session with the usual attempts allocates nothing
	n    int         // how many of few are set
	more []*Backend
}

// Add puts b into the set.
func (t *Tried) Add(b *Backend) {
	switch {
	case t.Has(b):
	case t.n < len(t.few):
		t.few[t.n] = b
		t.n++
	default:
		t.more = append(t.more, b)
	}
}

// Has reports whether b is in the set. A nil Tried is an empty set.
func (t *Tried) Has(b *Backend) bool {
	return t != nil && (slices.Contains(t.few[:t.n], b) || slices.Contains(t.more, b))
}

// Len is the number of backends in the set. A nil Tried is an empty set.
func (t *Tried) Len() int {
	if t == nil {
		return 0
	}
	return t.n + len(t.more)
}

// Reset empties the set, for the round in which the same backends are tried again.
func (t *Tried) Reset() { *t = Tried{more: t.more[:0]} }
