package proxy

import (
	"sync"
	"time"

	"github.com/limeload/limeload/splice"
)

// meter carries the bytes of one session after another to the totals of whom they
// belong to, while the sessions live:
//
//	engine --add--> live --settle, leave--> totals
//
// Only the difference to what was carried before is added, under mu: so a total never
// falls, no byte counts twice, and none is lost when a session ends.
type meter struct {
	live splice.Counters // of the current session; the engine adds to it

	mu        sync.Mutex // never held for more than a few adds; guards what is shown of the visit, too
	connected bool       // the session has totals to carry to
	moved     uint32     // when a settle last found new bytes, in tenths of a second after the session was opened; 0 = never
	up, down  uint64     // of the current session, carried already
}

// reset needs mu. The engine does not add any more.
func (m *meter) reset() {
	m.connected, m.moved, m.up, m.down = false, 0, 0, 0
	m.live.Up.Store(0)
	m.live.Down.Store(0)
}

// settle carries what has come together. Anyone may call it at any time.
//
// It is also what knows how long a session is idle: a look that finds new bytes notes
// its own time, so that the datapath has no clock to read and no more to write than the
// bytes. Who looks every few seconds knows it as exactly as that.
func (s *session) settle(now int64) {
	m := &s.meter
	m.mu.Lock()
	if s.carry(m.live.Up.Load(), m.live.Down.Load()) {
		m.moved = uint32(max(now-s.opened, 0) / int64(time.Second/10)) // opened after now: not long ago
	}
	m.mu.Unlock()
}

// carry needs mu. It reports whether there was anything new. What a Result claims may
// not take back what was counted.
func (s *session) carry(up, down uint64) bool {
	m := &s.meter
	up, down = max(up, m.up), max(down, m.down)
	if !m.connected || up == m.up && down == m.down {
		return false
	}
	for _, t := range [...]*splice.Counters{&s.listener.Counters, &s.conf.Pool.Counters, &s.target.Counters} {
		t.Up.Add(up - m.up)
		t.Down.Add(down - m.down)
	}
	m.up, m.down = up, down
	return true
}
