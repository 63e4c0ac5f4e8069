package splice

import (
	"errors"
	"io"
	"os"
	"sync"
)

// relay moves bytes both ways until both directions are over.
func (p *copyPair) relay() {
	p.startTimeouts()
	down := make(chan struct{})
	go p.pumpDown(down)
	p.pump(&p.up)
	<-down
	p.stopTimeouts()
}

func (p *copyPair) pumpDown(done chan<- struct{}) {
	defer close(done)
	p.pump(&p.down)
}

// pump moves one direction to its end, and then says what that means for the pair:
//
//	sender's FIN      passed on; the reverse direction flows on
//	sender broke      all that came before has been written; the reverse direction
//	                  has nobody to go to and is stopped
//	receiver broke    what it sent before still flows in reverse
//	interrupted       the receiver broke, and the other pump saw it
func (p *copyPair) pump(f *copyFlow) {
	readErr, writeErr := f.move()
	switch {
	case writeErr != nil:
		p.broke(f.to, writeErr)
	case errors.Is(readErr, os.ErrDeadlineExceeded):
	case readErr != io.EOF || !p.passEnd(f):
		p.broke(f.from, readErr)
	}
	if p.flowOver(f) {
		p.watchBroken(f.from)
	}
}

// passEnd passes the end of f's sender on. It answers false if the sender is
// broken: the system tells of a reset only once, and a pump that wrote to the
// sender may have heard of it before the reader met an end of file. A sender that
// ended in order and was reset later is both: its end counts.
func (p *copyPair) passEnd(f *copyFlow) bool {
	p.mu.Lock()
	reset, left := false, error(nil)
	if !f.from.finSent {
		reset, left = howEnded(f.from.Conn)
	}
	if f.from.broken || reset {
		p.mu.Unlock()
		return false
	}
	if f.from.ended = true; !f.to.ended && !p.settled {
		p.reason = f.from.onClose
	}
	f.to.finSent = true
	p.mu.Unlock()
	closeWrite(f.to.Conn) // fails if it broke, which whoever reads from it meets
	if left != nil {
		p.broke(f.from, left)
	}
	return true
}

// flowOver notes that a direction is over. It answers true while the other one
// goes on and f's sender is alive and has to be watched.
func (p *copyPair) flowOver(f *copyFlow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.ended = true
	if p.up.ended && p.down.ended {
		p.over = true
		p.client.SetReadDeadline(longAgo)
		p.backend.SetReadDeadline(longAgo)
		return false
	}
	p.halfClosed = p.age()
	p.armWatchdog()
	return !f.from.broken
}

// watchBroken waits for the reset of a side from which nobody reads any more, until
// broke or flowOver interrupt it.
func (p *copyPair) watchBroken(s *copySide) {
	awaitPeer(s.Conn, func(peek func() peerState) bool {
		seen := peek()
		if seen.broken {
			p.broke(s, seen.err)
		}
		return seen.broken
	})
}

// broke notes that a side's connection is no more, and stops the pump that reads
// from the other side, since nobody is left to write to. The pump that reads from
// the broken side delivers what came before the break, and ends by itself.
func (p *copyPair) broke(s *copySide, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.broken = true
	p.settle(s.breakReason(), err)
	from, to := &p.up, &p.down
	if s == p.backend {
		from, to = to, from
	}
	to.from.SetReadDeadline(longAgo)
	to.stop()
	if from.ended {
		s.SetReadDeadline(longAgo) // its watch may have missed the one telling
	}
}

// breakReason is why the session of a broken side ends. One that had ended in order
// before it refused our bytes has only left early.
func (s *copySide) breakReason() Reason {
	if s.ended {
		return s.onClose
	}
	return s.onReset
}

// buffer is what one read can take.
type buffer [32 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// move copies until the sender ends, or a side breaks. It does not use io.Copy,
// which would hold a pipe on Linux while idle and tell of its bytes only at the
// end.
func (f *copyFlow) move() (readErr, writeErr error) {
	for {
		most, err := f.awaitTurn()
		if err != nil {
			return err, nil
		}
		buf, n, err := f.reader.read(most)
		f.turnOver(n)
		if n > 0 {
			writeErr = f.write(buf[:n])
		}
		if buf != nil {
			buffers.Put(buf)
		}
		if err != nil || writeErr != nil {
			return err, writeErr
		}
	}
}

// write hands b to the receiver. While it waits there, the watchdog can see since when.
func (f *copyFlow) write(b []byte) error {
	f.block()
	defer f.blocked.Store(0)
	return writeAll(f.to.Conn, b, f.took)
}

// block begins the time for which the receiver takes nothing.
func (f *copyFlow) block() {
	f.touch()
	f.blocked.Store(max(f.last.Load(), 1))
}

// took accounts n bytes that the receiver has taken of a write under way.
func (f *copyFlow) took(n int) {
	f.count(n)
	f.blocked.Store(max(f.last.Load(), 1))
}

// begun notes the first byte of a direction.
func (f *copyFlow) begun() {
	switch p := f.pair; {
	case f == &p.down:
		p.answered.Store(max(int64(p.age()), 1))
	case p.answered.Load() == 0:
		p.asked.Store(int64(p.age()))
	}
}

// count adds n bytes to everything that counts them.
func (f *copyFlow) count(n int) {
	if n > 0 && f.moved.Load() == 0 {
		f.begun()
	}
	f.touch()
	f.moved.Add(uint64(n))
	f.pair.engine.copied.Add(uint64(n))
	if f.counter != nil {
		f.counter.Add(uint64(n))
	}
}

// touch notes that a byte has moved.
func (f *copyFlow) touch() { f.last.Store(int64(f.pair.age())) }
