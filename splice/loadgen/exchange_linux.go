package loadgen

import (
	"errors"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

var (
	errEnded   = errors.New("the server ended the stream")
	errBytes   = errors.New("got other bytes than expected")
	errTooMany = errors.New("got more bytes than expected")
)

// beginMessage sends the next message, or as much of it as the socket takes.
func (t *thread) beginMessage(c *conn) {
	c.state, c.progress = working, t.now
	c.goal += uint64(c.job.Size)
	t.needWatch()
	t.send(c)
}

// send sends what is left of the message until the socket is full.
func (t *thread) send(c *conn) {
	for c.sent < c.goal {
		b := t.outgoing(c)
		n, e := sys.Send(c.fd, b)
		if e == unix.EAGAIN {
			return
		}
		if e != 0 {
			t.fail(c, openKind(e, Reset), "send to", e)
			return
		}
		c.sent += uint64(n)
		t.countUp(c, n)
		if n < len(b) {
			return
		}
	}
}

// outgoing is the next chunk of what is left of the message.
func (t *thread) outgoing(c *conn) []byte {
	n := int(min(c.goal-c.sent, chunkSize))
	b := stretch(t.table, c.phase, c.sent, n)
	if c.sent > 0 || t.r.options.Plain {
		return b
	}
	copy(t.first, b)
	t.first[0] = byte(Echo)
	return t.first[:n]
}

// echoed tells whether b is the echo of what was sent at the place that c has got to.
func (t *thread) echoed(c *conn, b []byte) bool {
	at := c.got
	if at == 0 && !t.r.options.Plain {
		if b[0] != byte(Echo) {
			return false
		}
		at, b = 1, b[1:]
	}
	return matches(t.table, c.phase, at, b)
}

// exchange receives echoes, completes the messages that they complete, and sends on.
func (t *thread) exchange(c *conn, events uint32) {
	if events&readEvents != 0 && !t.drain(c) {
		return
	}
	if c.state == working {
		t.send(c)
	}
}

// drain receives until the socket is empty, and tells whether c is still the same
// connection. If its end was announced it goes on until that comes.
func (t *thread) drain(c *conn) bool {
	for gen := c.gen; ; {
		n, e := sys.Recv(c.fd, t.buf)
		if e == unix.EAGAIN {
			return true
		}
		if !t.gotEcho(c, n, e) || c.gen != gen || c.fd < 0 {
			return false
		}
		if n < len(t.buf) && !c.ended {
			return true
		}
	}
}

// gotEcho handles one read, and tells whether c may go on.
func (t *thread) gotEcho(c *conn, n int, e sys.Errno) bool {
	switch {
	case e != 0:
		t.fail(c, openKind(e, Reset), "receive from", e)
		return false
	case n == 0:
		t.fail(c, Closed, "receive from", errEnded)
		return false
	case c.got+uint64(n) > c.sent:
		t.fail(c, Corrupt, "receive from", errTooMany)
		return false
	case t.compares(c.job) && !t.echoed(c, t.buf[:n]):
		t.fail(c, Corrupt, "receive from", errBytes)
		return false
	}
	c.got += uint64(n)
	c.progress = t.now
	t.countDown(c, n)
	if c.got == c.goal {
		t.complete(c)
	}
	return true
}

// compares tells whether the next read is to be compared.
func (t *thread) compares(j *job) bool {
	switch t.r.options.Verify {
	case VerifyAll:
		return true
	case VerifySample:
		j.reads++
		return j.reads%sampleEvery == 1
	}
	return false
}

// complete measures the operation that has ended and begins what comes next.
func (t *thread) complete(c *conn) {
	t.settle(c)
	if c.job.Mode == Connect {
		t.shut(c, false)
	}
	now := t.r.clock()
	if c.due != unscheduled {
		t.measure(c.job, c.due, now)
	}
	switch {
	case t.ending:
		t.depart(c)
	case c.job.Mode == Idle:
		c.state = still
	case c.job.pace.interval > 0:
		t.takeDueOrRest(c, now)
	default:
		c.due = now
		t.beginOperation(c)
	}
}

// takeDueOrRest gives c an operation that is overdue, or else nothing to do.
func (t *thread) takeDueOrRest(c *conn, now int64) {
	if c.job.pace.next() <= now {
		t.takeDue(c)
		return
	}
	c.state = still
	if c.fd < 0 {
		c.state = unused
	}
	c.job.free = append(c.job.free, c)
}

// takeDue begins the next operation of the schedule on c.
func (t *thread) takeDue(c *conn) {
	c.due = c.job.pace.take()
	c.job.live.taken.Store(c.job.pace.taken)
	t.beginOperation(c)
}

func (t *thread) beginOperation(c *conn) {
	if c.job.Mode == Connect {
		t.dial(c)
	} else {
		t.beginMessage(c)
	}
}
