package splice

import "time"

// look notes how the connection to the backend was, while it is open, for one session
// in pathEvery. The pair's mutex is held.
func (p *copyPair) look() {
	e := p.engine
	now, next := e.clock(), e.pathAt.Load()
	if p.backend == nil || p.path.RTT != 0 || now < next || !e.pathAt.CompareAndSwap(next, now+int64(pathEvery)) {
		return
	}
	p.path = pathOf(p.backend.Conn)
}

// pathEvery is the least time between two sessions whose path is looked at as they
// end: one call in 10 ms is not noticed.
const pathEvery = 10 * time.Millisecond
