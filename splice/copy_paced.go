package splice

import (
	"os"
	"time"
)

// awaitTurn answers how many bytes the flow may read now. Where its bandwidth is
// bounded it waits until there are some, and then for its turn. The error is that of
// the wait: the connection's, or os.ErrDeadlineExceeded if the flow was stopped.
func (f *copyFlow) awaitTurn() (most int, err error) {
	for f.lane != nil && f.lane.bounded.Load() {
		if err := f.reader.await(); err != nil {
			return 0, err
		}
		if now := f.pair.engine.clock(); !f.pace.waits(f.lane, now) {
			if n := f.pace.reserve(f.lane, now, len(buffer{}), f.reader.pending); n > 0 {
				return n, nil
			}
		}
		if !f.sleep(time.Duration(f.pace.due - f.pair.engine.clock())) {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return len(buffer{}), nil
}

// turnOver ends a turn in which n bytes were read.
func (f *copyFlow) turnOver(n int) {
	switch {
	case f.lane == nil:
	case f.pace.due != 0:
		f.pace.settle(f.lane, n)
	case n > 0 && f.lane.bounded.Load():
		f.pace.charge(f.lane, f.pair.engine.clock(), n)
	}
}

// sleep waits for a turn, or until the bounds have to be looked at again. It answers
// false if the flow was stopped.
func (f *copyFlow) sleep(d time.Duration) bool {
	f.pair.mu.Lock()
	if f.stopped {
		f.pair.mu.Unlock()
		return false
	}
	if f.halt == nil {
		f.halt = make(chan struct{})
	}
	f.pair.mu.Unlock()

	f.waits.Store(true)
	defer f.waits.Store(false)
	defer f.touch() // the wait was not idleness
	t := time.NewTimer(min(d, turnCheck))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.halt:
		return false
	}
}

// stop ends the wait for a turn for good. The pair's mutex is held.
func (f *copyFlow) stop() {
	if f.halt != nil && !f.stopped {
		close(f.halt)
	}
	f.stopped = true
}

// clock is the time on which turns are reserved, in nanoseconds.
func (e *copyEngine) clock() int64 { return int64(time.Since(e.base)) }
