//go:build linux && simkernel

package sys

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a TCP socket and, through its exported methods, the far end of its
// connection. What is said of the kernel names its functions, as of Linux 6.x.
type Conn struct {
	inode

	// NoSplice is what splices from this socket answer, 0 to let them work.
	NoSplice Errno

	state         socketState
	local, remote netip.AddrPort
	closed        bool          // its descriptor is closed; a child may still hold it
	orphan        bool          // nobody holds it any more
	abort         bool          // linger 0
	reset         bool          // it sent a RST
	unread        bool          // because it was closed over bytes that nobody had read
	vanished      bool          // the far end answers nothing any more
	lost          time.Duration // since then

	rcv      []byte
	segments []int // lengths of what makes up rcv
	mark     int   // offset of the urgent byte in rcv; -1 = none
	rcvBuf   int

	snd      []byte
	sndBuf   int
	taken    int  // bytes that the program has written
	unacked  int  // SIOCOUTQ, which a reset does not bring to 0
	noSpace  bool // SOCK_NOSPACE: tell when there is space
	finished bool // our FIN is queued, or sent
	finAcked bool

	ended   bool // the far end's FIN is here (SOCK_DONE)
	noRead  bool // RCV_SHUTDOWN
	noWrite bool // SEND_SHUTDOWN
	err     Errno

	queue []*Conn // of clients, while listening
}

type socketState uint8

const (
	tcpClose socketState = iota
	tcpListen
	tcpSynSent
	tcpEstablished // and the states of an orderly end, which the flags tell apart
)

func newConn() *Conn {
	return &Conn{mark: -1, rcvBuf: kernel.RcvBuf, sndBuf: kernel.SndBuf}
}

// poll is tcp_poll.
func (s *Conn) poll() (ready uint32) {
	if s.state == tcpListen {
		if len(s.queue) > 0 {
			return unix.EPOLLIN
		}
		return 0
	}
	if s.noRead && s.noWrite || s.state == tcpClose {
		ready |= unix.EPOLLHUP
	}
	if s.noRead {
		ready |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if s.state != tcpSynSent {
		if len(s.rcv) > 1 || len(s.rcv) == 1 && s.mark != 0 {
			ready |= unix.EPOLLIN
		}
		if s.noWrite || s.Writable() {
			ready |= unix.EPOLLOUT
		} else {
			s.noSpace = true
		}
		if s.mark >= 0 {
			ready |= unix.EPOLLPRI
		}
	}
	if s.err != 0 {
		ready |= unix.EPOLLERR
	}
	return ready
}

// release is tcp_close.
func (s *Conn) release() {
	s.orphan = true
	for _, c := range s.queue {
		c.abandon()
	}
	s.queue = nil
	if s.state != tcpEstablished {
		s.state = tcpClose
		return
	}
	if s.abort || len(s.rcv) > 0 {
		s.unread = !s.abort
		s.abandon()
		return
	}
	s.finished = true
	s.mayEnd()
}

// abandon ends the connection with a RST; what it had queued is lost.
func (s *Conn) abandon() {
	if s.state == tcpEstablished {
		s.reset = true
	}
	s.state = tcpClose
	s.rcv, s.segments, s.mark, s.snd = nil, nil, -1, nil
}

// consume takes n bytes off the receive queue.
func (s *Conn) consume(n int) {
	s.rcv = s.rcv[n:]
	for left := n; left > 0; {
		m := min(left, s.segments[0])
		left -= m
		if s.segments[0] -= m; s.segments[0] == 0 {
			s.segments = s.segments[1:]
		}
	}
	if s.mark >= 0 {
		s.mark = max(s.mark-n, -1)
	}
}

// Error is what the program has yet to be told (SO_ERROR).
func (s *Conn) Error() Errno { return s.err }

// nothing is what a read answers that found no byte: 0 and 0 is the end.
func (s *Conn) nothing() Errno {
	switch {
	case s.ended:
		return 0
	case s.err != 0:
		return s.takeError()
	case s.noRead:
		return 0
	case s.state == tcpClose:
		return unix.ENOTCONN
	}
	return unix.EAGAIN
}

func (s *Conn) takeError() Errno {
	e := s.err
	s.err = 0
	if e != 0 {
		kernel.effects++
	}
	return e
}

// pending is what recv would find.
func (s *Conn) pending() int { return len(s.rcv) }

// recv is tcp_recvmsg_locked. A read ends in front of the urgent byte, and the next
// one steps over it.
func (s *Conn) recv(b []byte, peek bool) (int, Errno) {
	skip := 0
	if s.mark == 0 {
		skip = 1
	}
	n := min(len(b), len(s.rcv)-skip)
	if s.mark > 0 {
		n = min(n, s.mark)
	}
	if n > 0 {
		copy(b, s.rcv[skip:skip+n])
	}
	if !peek && skip+n > 0 {
		s.consume(skip + n)
		kernel.effects++
	}
	if n > 0 {
		return n, 0
	}
	return 0, s.nothing()
}

// send is tcp_sendmsg_locked.
func (s *Conn) send(b []byte) (int, Errno) {
	switch {
	case s.state == tcpSynSent:
		return 0, unix.EAGAIN
	case s.err != 0:
		return 0, s.takeError()
	case s.noWrite || s.state != tcpEstablished:
		return 0, unix.EPIPE
	}
	n := min(len(b), s.sndBuf-len(s.snd))
	if n < len(b) {
		s.noSpace = true
	}
	if n == 0 {
		return 0, unix.EAGAIN
	}
	s.snd = append(s.snd, b[:n]...)
	s.taken += n
	s.unacked += n
	kernel.effects++
	return n, 0
}

// mayEnd is tcp_done for a connection that both sides have ended.
func (s *Conn) mayEnd() {
	if s.ended && s.finAcked && s.state == tcpEstablished {
		s.state, s.noRead, s.noWrite = tcpClose, true, true
		s.wake(0)
	}
}

// Arrive has bytes of the far end come in as one segment, as many as the window
// permits, and answers their number. An orphan answers them with a RST.
func (s *Conn) Arrive(b []byte) int {
	if s.state != tcpEstablished || s.ended {
		return 0
	}
	if s.orphan {
		s.abandon()
		return 0
	}
	n := min(len(b), s.Window())
	if n > 0 {
		s.rcv = append(s.rcv, b[:n]...)
		s.segments = append(s.segments, n)
		s.wake(unix.EPOLLIN)
	}
	return n
}

// ArriveUrgent has an urgent byte come in, and reports whether it did: there is one
// mark at a time.
func (s *Conn) ArriveUrgent(b byte) bool {
	if s.state != tcpEstablished || s.ended || s.orphan || s.mark >= 0 || s.Window() == 0 {
		return false
	}
	s.mark = len(s.rcv)
	s.rcv = append(s.rcv, b)
	s.segments = append(s.segments, 1)
	s.wake(unix.EPOLLIN | unix.EPOLLPRI)
	return true
}

// ArriveEnd has the far end's FIN come in (tcp_fin).
func (s *Conn) ArriveEnd() {
	if s.state != tcpEstablished || s.ended {
		return
	}
	s.ended, s.noRead = true, true
	s.wake(0)
	s.mayEnd()
}

// ArriveReset has a RST come in (tcp_reset), or, for another error than ECONNRESET,
// the kernel give the connection up (tcp_write_err). What came before it stays
// readable.
func (s *Conn) ArriveReset(e Errno) {
	if s.state != tcpEstablished {
		return
	}
	if e == unix.ECONNRESET && s.ended && !s.finished {
		e = unix.EPIPE // CLOSE_WAIT
	}
	s.state, s.noRead, s.noWrite, s.err, s.snd = tcpClose, true, true, e, nil
	s.wake(0)
}

// Answer decides a connect that is under way: 0 is success.
func (s *Conn) Answer(e Errno) {
	if s.state != tcpSynSent {
		return
	}
	if s.state = tcpEstablished; e != 0 {
		s.state, s.noRead, s.noWrite, s.err = tcpClose, true, true, e
	}
	s.wake(0)
}

// Acknowledge has the far end take at most n bytes; the slice is valid until
// something is sent. end is our FIN behind them, reported once.
func (s *Conn) Acknowledge(n int) (b []byte, end bool) {
	if s.vanished || s.state != tcpEstablished {
		return nil, false
	}
	n = min(n, len(s.snd))
	b, s.snd = s.snd[:n:n], s.snd[n:]
	s.unacked -= n
	if s.noSpace && s.Writable() { // tcp_check_space, sk_stream_write_space
		s.noSpace = false
		s.wake(unix.EPOLLOUT)
	}
	if s.finished && !s.finAcked && len(s.snd) == 0 {
		s.finAcked, end = true, true
		s.unacked--
		s.wake(0)
		s.mayEnd()
	}
	return b, end
}

// Vanish has the far end go without a word. VanishedFor answers for how long it has
// been gone, Vanished whether it is.
func (s *Conn) Vanish() {
	if !s.vanished {
		s.vanished, s.lost = true, kernel.now
	}
}
func (s *Conn) Vanished() bool             { return s.vanished }
func (s *Conn) VanishedFor() time.Duration { return kernel.now - s.lost }

// Rouse wakes who watches the socket for no reason.
func (s *Conn) Rouse() { s.wake(0) }

// MeetItself makes the socket its own far end, as a simultaneous open does.
func (s *Conn) MeetItself()     { s.local = s.remote }
func (s *Conn) MetItself() bool { return s.remote.IsValid() && s.local == s.remote }

// Window is how many bytes may arrive, Queued how many have and wait to be read,
// with the urgent one.
func (s *Conn) Window() int { return max(s.rcvBuf-len(s.rcv), 0) }
func (s *Conn) Queued() int { return len(s.rcv) }

// Writable reports whether the kernel calls the socket writable, which is later
// than that a write takes a byte (sk_stream_is_writeable).
func (s *Conn) Writable() bool { return s.sndBuf-len(s.snd) >= len(s.snd)/2 }

// Taken is how many bytes the program has written in all, Unsent how many of them
// wait to be acknowledged.
func (s *Conn) Taken() int  { return s.taken }
func (s *Conn) Unsent() int { return len(s.snd) }

// Dialing, Dead, Finished, Closed and Reset tell the state: a connect under way;
// no connection any more; our FIN is queued or sent; the descriptor is closed; we
// sent a RST. Orphan is closed in the child as well; Unread is reset because it was
// closed in order over bytes that nobody had read.
func (s *Conn) Dialing() bool  { return s.state == tcpSynSent }
func (s *Conn) Dead() bool     { return s.state == tcpClose }
func (s *Conn) Finished() bool { return s.finished }
func (s *Conn) Closed() bool   { return s.closed }
func (s *Conn) Orphan() bool   { return s.orphan }
func (s *Conn) Reset() bool    { return s.reset }
func (s *Conn) Unread() bool   { return s.unread }
