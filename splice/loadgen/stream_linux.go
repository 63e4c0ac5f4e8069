package loadgen

import (
	"fmt"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// beginStream tells the server what to do, and begins to do our part.
func (t *thread) beginStream(c *conn) {
	c.progress = t.now
	if !t.r.options.Plain {
		role := Sink
		if c.job.Mode == Download {
			role = Source
		}
		h := header(role, c.phase)
		if _, e := sys.Send(c.fd, h[:]); e != 0 { // the first bytes: there is room
			t.fail(c, openKind(e, Reset), "send to", e)
			return
		}
	}
	if c.job.Mode == Upload {
		t.settle(c)
		t.upload(c, unix.EPOLLOUT)
	}
}

// upload sends until the socket is full or the turn is used up, and listens to what
// the server has to say.
func (t *thread) upload(c *conn, events uint32) {
	if events&readEvents != 0 && !t.hear(c) {
		return
	}
	if c.state != working {
		return
	}
	for range turnCalls {
		n, e := sys.Send(c.fd, stretch(t.table, c.phase, c.sent, c.job.Size))
		if e == unix.EAGAIN {
			return
		}
		if e != 0 {
			t.fail(c, openKind(e, Reset), "send to", e)
			return
		}
		c.sent += uint64(n)
		c.progress = t.now
		t.countUp(c, n)
		if n < c.job.Size {
			return
		}
	}
	t.again(c)
}

// hear receives what a server says during an upload, the receipt at its end most of
// all, and tells whether c goes on.
func (t *thread) hear(c *conn) bool {
	for {
		n, e := sys.Recv(c.fd, t.buf[:receiptSize])
		switch {
		case e == unix.EAGAIN:
			return true
		case e != 0:
			t.fail(c, openKind(e, Reset), "receive from", e)
			return false
		case n == 0:
			t.heardEnd(c)
			return false
		case t.r.options.Plain:
			continue
		case c.state != closing || c.receipts+n > receiptSize:
			t.fail(c, Corrupt, "receive from", errTooMany)
			return false
		}
		c.receipts += copy(c.receipt[c.receipts:], t.buf[:n])
	}
}

// heardEnd judges an upload when the server has ended the connection.
func (t *thread) heardEnd(c *conn) {
	taken, wrong := readReceipt(c.receipt)
	switch {
	case c.state != closing, !t.r.options.Plain && c.receipts < receiptSize:
		t.fail(c, Closed, "upload to", errEnded)
	case !t.r.options.Plain && (taken != c.sent || wrong > 0):
		t.fail(c, Corrupt, "upload to", fmt.Errorf("sent %d bytes, %d arrived, %d reads held wrong ones", c.sent, taken, wrong))
	default:
		t.depart(c)
	}
}

// download receives until the socket is empty or the turn is used up.
func (t *thread) download(c *conn, events uint32) {
	if events&readEvents == 0 {
		return
	}
	for range turnCalls {
		n, right, e := t.readStream(c)
		switch {
		case e == unix.EAGAIN:
			return
		case e != 0:
			t.fail(c, openKind(e, Reset), "receive from", e)
			return
		case n == 0 && c.state == closing:
			t.depart(c)
			return
		case n == 0:
			t.fail(c, Closed, "receive from", errEnded)
			return
		case !right:
			t.fail(c, Corrupt, "receive from", errBytes)
			return
		}
		t.settle(c)
		c.got += uint64(n)
		c.progress = t.now
		t.countDown(c, n)
		if n < c.job.Size && !c.ended {
			return
		}
	}
	t.again(c)
}

// readStream receives once, and tells whether the bytes are right, as far as they
// are compared.
func (t *thread) readStream(c *conn) (n int, right bool, e sys.Errno) {
	if !t.compares(c.job) {
		n, e = sys.Discard(c.fd, c.job.Size)
		return n, true, e
	}
	b := t.buf[:c.job.Size]
	n, e = sys.Recv(c.fd, b)
	return n, matches(t.table, c.phase, c.got, b[:n]), e
}
