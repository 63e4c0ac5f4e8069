package splice

import (
	"net/netip"
	"slices"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// socket is what one loop has of a listener.
type socket struct {
	from    *listener
	fd      int32
	number  uint32 // in the loop's table
	waiting bool   // for a permit
	retryAt int64  // while paused for want of a resource, else 0
	wake    func() // prebuilt: a permit may be free
}

// accept takes clients off the socket's queue until it is empty, no permit is
// left, or the batch is full.
func (l *loop) accept(s *socket) {
	if s.waiting || s.retryAt > l.now {
		return
	}
	for range acceptBatch {
		if !l.reserve(s) {
			return
		}
		fd, remote, e := sys.Accept(s.fd)
		if e == 0 {
			l.admit(s, fd, remote)
			continue
		}
		releaseAll(s.from.bind.Gates)
		switch e {
		case unix.EAGAIN, unix.EINVAL: // EINVAL: suspended
			l.resumed(s)
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.pause(s, e)
			return
		}
		// Anything else is the error of that one client, gone from the queue (accept(2)).
	}
	if !slices.Contains(l.hasty, s) {
		l.hasty = append(l.hasty, s)
	}
}

// reserve takes the permits for one client. Without them accepting stops until one
// comes back; what the kernel has queued waits.
func (l *loop) reserve(s *socket) bool {
	var asked *Gate
	for {
		full := reserveAll(s.from.bind.Gates)
		if full == nil {
			return true
		}
		if full == asked {
			s.waiting = true
			return false
		}
		full.await(s.wake) // and try again: a permit may have come back just before
		asked = full
	}
}

// admit makes a pair of an accepted client and begins to dial.
func (l *loop) admit(s *socket, fd int32, remote netip.AddrPort) {
	l.resumed(s)
	l.stats.accepted.Add(1)
	session, err := s.from.bind.Handler.Open(s.from.peer(fd, remote))
	if err != nil {
		sys.Reset(fd)
		releaseAll(s.from.bind.Gates)
		return
	}
	l.stats.sessions.Add(1)
	p := l.pairs.take()
	p.session, p.from, p.born = session, s.from, l.clock()
	p.first, p.unix[client] = nobody, s.from.bind.Unix != ""
	p.ends[client] = end{fd: fd, writable: true}
	p.ends[backend] = end{fd: -1}
	p.state = stateDialing
	if e := sys.EpollAdd(l.ep, fd, pairEvents, p.slot<<1|uint32(client), p.gen); e != 0 {
		l.close(p, ReasonError, e, sys.Reset)
		return
	}
	switch n, e := sys.Peek(fd, l.buf[:1]); {
	case n > 0 || e == unix.EAGAIN:
		l.dial(p, nil, n > 0)
	case e == 0:
		l.close(p, ReasonClientClosed, 0, sys.Close) // somebody who only looked whether we listen
	default:
		l.close(p, ReasonClientReset, e, sys.Reset)
	}
}

func (ln *listener) peer(fd int32, remote netip.AddrPort) Peer {
	if ln.bind.Unix != "" {
		return Peer{Unix: true}
	}
	local := ln.addr
	if local.Addr().IsUnspecified() {
		local, _ = sys.LocalAddr(fd)
	}
	return Peer{Remote: remote, Local: local}
}

// pause stops accepting for a moment: trying at once would only spin.
func (l *loop) pause(s *socket, e sys.Errno) {
	if s.retryAt == 0 {
		l.stats.pauses.Add(1)
		if l.r.o.OnAcceptPause != nil {
			l.r.o.OnAcceptPause(e)
		}
	}
	s.retryAt = l.now + int64(acceptRetry)
	if !slices.Contains(l.paused, s) {
		l.paused = append(l.paused, s)
	}
}

// resumed ends an episode of pauses.
func (l *loop) resumed(s *socket) { s.retryAt = 0 }

// retryAccepts goes on where a batch was full or a pause is over.
func (l *loop) retryAccepts() {
	for range len(l.hasty) {
		s := l.hasty[0]
		l.hasty = l.hasty[1:]
		if l.sockets[s.number] == s {
			l.accept(s)
		}
	}
	if len(l.hasty) == 0 {
		l.hasty = l.hasty[:0:0]
	}
	for i := 0; i < len(l.paused); {
		s := l.paused[i]
		if s.retryAt > l.now {
			i++
			continue
		}
		l.paused = append(l.paused[:i], l.paused[i+1:]...)
		if l.sockets[s.number] == s {
			l.accept(s)
		}
	}
}

// serve begins to accept on fd, and answers the socket.
func (l *loop) serve(ln *listener, fd int32) (*socket, sys.Errno) {
	l.number++
	s := &socket{from: ln, fd: fd, number: l.number}
	s.wake = func() {
		l.post(func() {
			s.waiting = false
			if l.sockets[s.number] == s {
				l.accept(s)
			}
		})
	}
	l.sockets[s.number] = s
	events := uint32(listenEvents)
	if ln.shared {
		events |= unix.EPOLLEXCLUSIVE
	}
	return s, sys.EpollAdd(l.ep, fd, events, s.number, 0)
}

// retire takes what the kernel has queued, as far as the permits go, and forgets
// the socket. The descriptor stays open.
func (l *loop) retire(s *socket) {
	s.retryAt = 0
	for {
		before := l.stats.accepted.Load()
		l.accept(s)
		if l.stats.accepted.Load() == before {
			break
		}
	}
	l.forget(s)
}

// forget accepts no more on s.
func (l *loop) forget(s *socket) {
	delete(l.sockets, s.number)
	sys.EpollDel(l.ep, s.fd)
}
