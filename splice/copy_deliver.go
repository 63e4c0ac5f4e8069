package splice

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// What is left to do for a side whose peer broke: it gets all that came before, and then
// a reset, or an end if it takes its time. For why it is not just closed see
// deliver_linux.go, which does the same.

const (
	// deliveryPatience is how long a reset waits for the last acknowledgement.
	deliveryPatience = time.Second
	// deliveryLook is the longest interval at which that is looked up.
	deliveryLook = 100 * time.Millisecond
)

// resetDelivered resets s once it has everything that was written, for a reset discards
// what is still queued. One that takes longer gets an orderly end behind its bytes.
func (p *copyPair) resetDelivered(s *copySide) {
	left, ok := unsent(s.Conn)
	wait := backoff{min: time.Millisecond / 4, max: deliveryLook}
	alive := true
	for began := time.Now(); alive && ok && left > 0 && time.Since(began) < deliveryPatience; left, ok = unsent(s.Conn) {
		alive = dropFor(s.Conn, wait.next())
	}
	if !alive || ok && left == 0 {
		reset(s.Conn)
		return
	}
	closeWrite(s.Conn)
	p.deliver(s)
	dropFor(s.Conn, time.Millisecond)
	s.Close()
}

// deliver waits until s has acknowledged all bytes and the end behind them, has broken,
// or has had its time: that of a session that waits for a side which takes nothing, by
// its timeouts, counted from the last byte, and by the rule of silence.
func (p *copyPair) deliver(s *copySide) {
	if _, isUnix := s.Conn.(*net.UnixConn); isUnix {
		return // what it was sent waits where it reads
	}
	quiet, lifetime := p.timeouts.quiet(), p.timeouts.lifetime(p.seed())
	wait := backoff{min: time.Millisecond, max: deliveryLook}
	took := p.age()
	for least, ok := unsent(s.Conn); ok && least > 0; {
		alive := dropFor(s.Conn, wait.next())
		var left int
		if left, ok = unsent(s.Conn); left < least {
			least, took = left, p.age()
		}
		blocked := p.age() - took
		switch {
		case !alive,
			quiet > 0 && blocked >= quiet,
			lifetime > 0 && p.age() >= lifetime,
			blocked >= p.engine.silentAfter && isSilent(s.Conn, p.engine.silentAfter):
			return
		}
	}
}

// dropFor reads and forgets for a time what conn's peer sends to one that is gone. It
// answers false if the connection is no more.
func dropFor(conn net.Conn, d time.Duration) bool {
	conn.SetReadDeadline(time.Now().Add(d))
	for r := readerOf(conn); ; {
		buf, _, err := r.read(len(buffer{}))
		if buf != nil {
			buffers.Put(buf)
		}
		switch {
		case err == nil:
		case err == io.EOF: // it may still break
			broken := false
			awaitPeer(conn, func(peek func() peerState) bool {
				broken = peek().broken
				return broken
			})
			return !broken
		default:
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}
