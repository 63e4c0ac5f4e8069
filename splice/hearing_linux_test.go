package splice

import (
	"testing"

	"github.com/limeload/limeload/splice/internal/sys"
)

// Deadlines are judged as of a time up to which everything that happened was handled.
func TestHearing(t *testing.T) {
	const batch, sessions = 4, 3 // so 7 descriptors, with the one that wakes the loop
	type wait struct {
		since int64
		n     int
		want  int64 // until then the loop has heard of everything
	}
	for _, c := range []struct {
		name  string
		waits []wait
	}{
		{"a wait that brings nothing has brought all before it", []wait{{10, 0, 10}, {30, 0, 30}}},
		{"so has one that could have brought more", []wait{{10, 3, 10}, {20, 1, 20}}},
		{"a full one may have left some behind", []wait{{10, 0, 10}, {20, 4, 10}, {30, 2, 30}}},
		{"full ones without an end have brought what was ready at the first", []wait{{10, 0, 10}, {20, 4, 10}, {30, 4, 20}, {40, 4, 20}, {50, 4, 40}}},
		{"and are counted anew after one that was not", []wait{{10, 4, 0}, {20, 0, 20}, {30, 4, 20}, {40, 4, 30}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &loop{events: make([]sys.Event, batch)}
			l.stats.sessions.Store(sessions)
			for i, w := range c.waits {
				if l.heardOf(w.n, w.since); l.heard.until != w.want {
					t.Errorf("wait %d, of %d events since %d: heard until %d; want %d", i+1, w.n, w.since, l.heard.until, w.want)
				}
			}
		})
	}
}
