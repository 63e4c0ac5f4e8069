package server

import (
	"sync"
	"time"
)

// doorRetry is how long after a listener could not be suspended or resumed that is tried
// again: its port, path or descriptors may be free by then.
const doorRetry = time.Second

// door is locked while a pool's listeners are suspended or resumed.
type door struct {
	sync.Mutex
	again *time.Timer // the next try, if the last one failed; under the lock
}

// retry has tend called later, and not for any earlier failure as well. It needs the
// lock.
func (d *door) retry(tend func()) {
	if d.again != nil {
		d.again.Stop()
	}
	d.again = time.AfterFunc(doorRetry, tend)
}
