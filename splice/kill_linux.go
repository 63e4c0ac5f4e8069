package splice

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/limeload/limeload/splice/internal/sys"
)

const (
	// sweepLooks and sweepEnds are how many pairs a loop looks at, and how many sessions
	// it ends, before it sees to the others again: about 50 and 500 microseconds. Somebody
	// who cuts one session of a hundred thousand holds up none of the rest.
	sweepLooks = 4096
	sweepEnds  = 32
)

// sweep looks for sessions that match, and ends them. All loops take part, each a piece
// of its pairs in a turn.
type sweep struct {
	match  func(Session) bool // nil: all
	reason Reason
	most   int64 // sessions to end
	ended  atomic.Int64
	done   sync.WaitGroup // holds the loops that are still looking
}

func (r *reactor) Kill(match func(Session) bool, reason Reason) int {
	return r.sweep(&sweep{match: match, reason: reason, most: math.MaxInt64})
}

func (r *reactor) KillOne(match func(Session) bool, reason Reason) bool {
	return r.sweep(&sweep{match: match, reason: reason, most: 1}) == 1
}

func (r *reactor) sweep(s *sweep) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0
	}
	s.done.Add(len(r.loops))
	for _, l := range r.loops {
		l.post(func() { l.sweep(s, 0) })
	}
	s.done.Wait()
	return int(s.ended.Load())
}

// sweep looks at a piece of the pairs from slot on, and posts itself for the rest. Pairs
// do not move, and slots that are added meanwhile are looked at in their turn.
func (l *loop) sweep(s *sweep, slot uint32) {
	ends := 0
	for last := slot + sweepLooks; slot < l.pairs.slots() && s.ended.Load() < s.most; slot++ {
		if slot == last || ends == sweepEnds {
			l.post(func() { l.sweep(s, slot) })
			return
		}
		if p := l.pairs.at(slot); p.lives() && (s.match == nil || s.match(p.session)) && s.takeOne() {
			l.close(p, s.reason, 0, sys.Reset)
			ends++
		}
	}
	s.done.Done()
}

// takeOne reports whether one more may be ended, and counts it.
func (s *sweep) takeOne() bool {
	if s.ended.Add(1) <= s.most {
		return true
	}
	s.ended.Add(-1)
	return false
}

func (p *pair) lives() bool { return p.state != stateFree && p.state != stateClosed }
