package splice

import (
	"runtime"
	"testing"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// TestTrap22CollectionEndsWait collects garbage while a loop waits without having told
// the scheduler. A collection needs every goroutine to stop for a moment: it has to end
// that wait, or it and all that wait for it would last as long.
func TestTrap22CollectionEndsWait(t *testing.T) {
	const wait = 20 * time.Second
	l := idleLoop(t)
	waited := make(chan time.Duration)
	go func() {
		began := time.Now()
		if n, e := sys.EpollPoll(l.ep, l.events, int(wait/time.Millisecond)); n != 0 || e != 0 {
			t.Errorf("the wait got %d events, %v; want none", n, e)
		}
		waited <- time.Since(began)
	}()
	for {
		runtime.GC() // the first ones may come before the wait
		select {
		case took := <-waited:
			if took > wait/2 {
				t.Errorf("collections left a wait of %v alone for %v; want it interrupted", wait, took)
			}
			return
		default:
		}
	}
}
