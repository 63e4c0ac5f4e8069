package splice

import (
	"sync"
	"sync/atomic"
)

// Gate bounds how many sessions live at once. A permit is reserved before a
// client is accepted and given back after the session's Close, so a limit is never
// overshot, whatever number of loops accept at the same time; clients beyond it
// wait in the kernel's queue. The zero value has no limit and only counts.
type Gate struct {
	limit atomic.Int64 // 0 = none
	used  atomic.Int64

	waiting atomic.Bool // waiters is not empty
	mu      sync.Mutex
	waiters []func()
}

// NewGate makes a gate for limit sessions; 0 means no limit.
func NewGate(limit int) *Gate {
	g := &Gate{}
	g.limit.Store(int64(limit))
	return g
}

// SetLimit changes the limit; 0 means none. Sessions beyond a lowered limit go on,
// and no new one begins until enough of them have ended.
func (g *Gate) SetLimit(limit int) {
	g.limit.Store(int64(limit))
	g.wake()
}

// Limit is the number of permits, 0 for no limit.
func (g *Gate) Limit() int { return int(g.limit.Load()) }

// Used is the number of permits that are held now. Acceptors hold one each for the
// moment in which they ask the kernel for a client.
func (g *Gate) Used() int { return int(g.used.Load()) }

// reserve takes a permit if there is one.
func (g *Gate) reserve() bool {
	for {
		limit, used := g.limit.Load(), g.used.Load()
		if limit > 0 && used >= limit {
			return false
		}
		if g.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

// release gives a permit back and wakes who waits for one.
func (g *Gate) release() {
	g.used.Add(-1)
	if g.waiting.Load() {
		g.wake()
	}
}

// await has wake called, once, when a permit may have become free. The caller must
// try reserve again after await has returned, since a permit may have come back
// just before.
func (g *Gate) await(wake func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters = append(g.waiters, wake)
	g.waiting.Store(true)
}

func (g *Gate) wake() {
	g.mu.Lock()
	waiters := g.waiters
	g.waiters = nil
	g.waiting.Store(false)
	g.mu.Unlock()
	for _, wake := range waiters {
		wake()
	}
}

// reserveAll takes a permit of every gate, or none and the gate that had none.
func reserveAll(gates []*Gate) (full *Gate) {
	for i, g := range gates {
		if !g.reserve() {
			releaseAll(gates[:i])
			return g
		}
	}
	return nil
}

func releaseAll(gates []*Gate) {
	for _, g := range gates {
		g.release()
	}
}
