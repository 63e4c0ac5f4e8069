package loadgen

import (
	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// served is one connection of a server.
type served struct {
	fd     int32 // -1: none
	slot   uint32
	gen    uint32
	queued bool // for the next turn
	hup    bool // its end was announced: read until it comes
	role   Role // ByFirstByte until that has come

	head  [headerSize]byte // of an upload or download
	heads uint8            // bytes of it that have come
	phase uint32
	moved uint64 // bytes of the stream after the header
	wrong uint64 // reads with bytes that do not match
	reads uint64

	rest  []byte // of an echo that could not be sent at once
	chunk []byte // what rest lies in
}

// stir handles an event.
func (l *serverLoop) stir(c *served, events uint32) {
	c.hup = c.hup || events&endEvents != 0
	if c.role != Source || events&readEvents != 0 {
		l.take(c)
	}
	if c.fd >= 0 && c.role == Source && (c.head[0] == 0 || c.heads == headerSize) {
		l.fill(c)
	}
}

// take reads until the socket is empty, the stream ends, an echo cannot be sent or
// the turn is used up.
func (l *serverLoop) take(c *served) {
	for range turnCalls {
		if !l.flush(c) {
			return
		}
		n, full, e := l.read(c)
		switch {
		case e == unix.EAGAIN:
			return
		case e != 0:
			l.drop(c)
			return
		case n == 0:
			l.end(c)
			return
		}
		l.s.in.Add(uint64(n))
		if !full && !c.hup {
			return
		}
	}
	l.again(c)
}

// read receives once and does with the bytes what the role asks; full tells that
// there may be more.
func (l *serverLoop) read(c *served) (n int, full bool, e sys.Errno) {
	if c.role == Sink && !l.compares(c) {
		n, e = sys.Discard(c.fd, chunkSize)
		c.moved += uint64(n)
		return n, n == chunkSize, e
	}
	buf := l.buf
	if c.role == Echo || c.role == ByFirstByte {
		buf = buf[:echoSize]
	}
	n, e = sys.Recv(c.fd, buf)
	if n > 0 {
		l.use(c, buf[:n])
	}
	return n, n == len(buf), e
}

// compares tells whether the next read of an upload is to be compared.
func (l *serverLoop) compares(c *served) bool {
	if c.head[0] == 0 {
		return false // a fixed role
	}
	c.reads++
	switch l.s.options.Verify {
	case VerifyAll:
		return true
	case VerifySample:
		return c.heads < headerSize || c.reads%sampleEvery == 1
	default:
		return c.heads < headerSize
	}
}

func (l *serverLoop) use(c *served, b []byte) {
	if c.role == ByFirstByte {
		if c.role = Role(b[0]); c.role == Sink || c.role == Source {
			c.head[0] = b[0]
		} else {
			c.role = Echo
		}
	}
	if c.role == Echo {
		l.echo(c, b)
		return
	}
	if c.head[0] != 0 && c.heads < headerSize {
		n := copy(c.head[c.heads:], b)
		b = b[n:]
		if c.heads += uint8(n); c.heads == headerSize {
			c.phase = phaseOf(c.head)
		}
	}
	if c.role == Sink && len(b) > 0 {
		if l.s.options.Verify != VerifyNone && !matches(l.table, c.phase, c.moved, b) {
			c.wrong++
			l.s.corrupt.Add(1)
		}
		c.moved += uint64(len(b))
	}
}

// echo sends b back and keeps what the socket does not take.
func (l *serverLoop) echo(c *served, b []byte) {
	n, e := sys.Send(c.fd, b)
	if e != 0 && e != unix.EAGAIN {
		return // the next read tells
	}
	l.s.out.Add(uint64(n))
	if n < len(b) {
		c.chunk = l.takeChunk()
		c.rest = c.chunk[:copy(c.chunk, b[n:])]
	}
}

func (l *serverLoop) takeChunk() []byte {
	last := len(l.chunks) - 1
	if last < 0 {
		return make([]byte, echoSize)
	}
	c := l.chunks[last]
	l.chunks = l.chunks[:last]
	return c
}

// flush sends what an echo still owes, and tells whether that was all.
func (l *serverLoop) flush(c *served) bool {
	for len(c.rest) > 0 {
		n, e := sys.Send(c.fd, c.rest)
		if e == unix.EAGAIN {
			return false
		}
		if e != 0 {
			l.drop(c)
			return false
		}
		l.s.out.Add(uint64(n))
		c.rest = c.rest[n:]
	}
	if c.chunk != nil {
		l.chunks = append(l.chunks, c.chunk)
		c.chunk = nil
	}
	return true
}

// fill sends until the socket is full or the turn is used up.
func (l *serverLoop) fill(c *served) {
	for range turnCalls {
		n, e := sys.Send(c.fd, stretch(l.table, c.phase, c.moved, chunkSize))
		if e == unix.EAGAIN {
			return
		}
		if e != 0 {
			l.drop(c)
			return
		}
		c.moved += uint64(n)
		l.s.out.Add(uint64(n))
		if n < chunkSize {
			return
		}
	}
	l.again(c)
}

// end answers the end of the client's stream with ours.
func (l *serverLoop) end(c *served) {
	if c.role == Sink && c.heads == headerSize {
		r := receipt(c.moved, c.wrong)
		sys.Send(c.fd, r[:]) // the first bytes of this direction: there is room
	}
	l.drop(c)
}
