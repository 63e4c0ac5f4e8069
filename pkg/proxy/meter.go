package proxy

import (
	"sync"

	"github.com/limeload/limeload/splice"
)

// meter carries the bytes of one session after another to the totals of whom they
// belong to, while the sessions live:
//
//	engine --add--> live --settle, stop--> totals
//
// Only the difference to what was carried before is added, under mu: so a total never
// falls, no byte counts twice, and none is lost when a session ends.
type meter struct {
	live splice.Counters // of the current session; the engine adds to it

	mu       sync.Mutex          // never held for more than a few adds
	to       [3]*splice.Counters // totals; nil while no session is connected
	up, down uint64              // of the current session, carried already
}

// start begins to carry to the totals.
func (m *meter) start(to [3]*splice.Counters) {
	m.mu.Lock()
	m.to = to
	m.mu.Unlock()
}

// settle carries what has come together. Anyone may call it at any time.
func (m *meter) settle() {
	m.mu.Lock()
	m.carry(m.live.Up.Load(), m.live.Down.Load())
	m.mu.Unlock()
}

// stop carries the rest of a session that moved so much in all, and makes the meter
// ready for the next one. The engine does not add any more.
func (m *meter) stop(up, down uint64) {
	m.mu.Lock()
	m.carry(up, down)
	m.to, m.up, m.down = [3]*splice.Counters{}, 0, 0
	m.live.Up.Store(0)
	m.live.Down.Store(0)
	m.mu.Unlock()
}

// carry needs mu. What a Result claims may not take back what was counted.
func (m *meter) carry(up, down uint64) {
	up, down = max(up, m.up), max(down, m.down)
	if m.to[0] == nil || up == m.up && down == m.down {
		return
	}
	for _, t := range m.to {
		t.Up.Add(up - m.up)
		t.Down.Add(down - m.down)
	}
	m.up, m.down = up, down
}
