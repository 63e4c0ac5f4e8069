package standing

import (
	"sync/atomic"
	"time"
)

// Early is how soon after its connect a session's reset by the backend counts against the backend, and how
// long a trial's session has to live to have gone well.
const Early = time.Second

// Limits are the lengths of streaks that are worth a word; 0 is never. They are replaced, not changed.
type Limits struct {
	Failures int32         // connects in a row that failed or were slow
	Resets   int32         // sessions in a row that were reset early
	Slow     time.Duration // what is slow; 0 = nothing is
}

// Streaks count what went wrong with a backend in a row. The zero value is ready. Any number of goroutines may
// call the methods; in the good case each costs loads alone, of words that are rarely written.
type Streaks struct {
	connects atomic.Int32
	resets   atomic.Int32
}

// Failed notes a connect that failed by the backend's fault, and reports whether the streak is worth a word:
// at its limit, and again at each multiple.
func (s *Streaks) Failed(l *Limits) bool { return full(s.connects.Add(1), l.Failures) }

// Connected notes a connect that took so long, and reports whether a streak of failed and slow ones is worth a
// word.
func (s *Streaks) Connected(took time.Duration, l *Limits) (word bool) {
	if l.Slow > 0 && took > l.Slow {
		return full(s.connects.Add(1), l.Failures)
	}
	clear(&s.connects)
	return false
}

// Reset notes a session that the backend reset early, and reports whether the streak is worth a word.
func (s *Streaks) Reset(l *Limits) bool { return full(s.resets.Add(1), l.Resets) }

// Ended notes a session that ended otherwise, or later.
func (s *Streaks) Ended() { clear(&s.resets) }

// Forget begins both streaks anew.
func (s *Streaks) Forget() {
	clear(&s.connects)
	clear(&s.resets)
}

func full(n, limit int32) bool { return limit > 0 && n > 0 && n%limit == 0 }

// clear writes only where there is something to write: the word stays in every processor's cache.
func clear(n *atomic.Int32) {
	if n.Load() != 0 {
		n.Store(0)
	}
}
