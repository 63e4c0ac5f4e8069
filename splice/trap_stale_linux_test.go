package splice

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice/internal/sys"
)

// Trap 13: an event that is still in the batch when its pair closes must meet
// nobody: neither the pair that has the descriptor now nor the one that has the slot.

// idleLoop is a loop that no thread runs.
func idleLoop(t *testing.T) *loop {
	t.Helper()
	l, err := newLoop(&reactor{o: Options{PipeSize: defaultPipeSize}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sys.Close(l.wakefd)
		sys.Close(l.ep)
	})
	return l
}

// deafSession hears how it ended and nothing else.
type deafSession struct{ ended []Result }

func (s *deafSession) Dial(last error) (Endpoint, error) { return Endpoint{}, last }
func (s *deafSession) Close(r Result)                    { s.ended = append(s.ended, r) }

// relayingPair is a pair between two sockets, whose other ends it answers.
func relayingPair(t *testing.T, l *loop) (p *pair, peers [2]int, s *deafSession) {
	t.Helper()
	s = &deafSession{}
	p = l.pairs.take()
	p.session, p.from, p.first, p.state = s, &listener{}, nobody, stateRelaying
	for side := range p.ends {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.ends[side] = end{fd: int32(fds[0]), writable: true}
		p.unix[side] = true
		peers[side] = fds[1]
		t.Cleanup(func() { unix.Close(fds[1]) })
	}
	return p, peers, s
}

// eventOf is what epoll reports for one end of p.
func eventOf(p *pair, s side, events uint32) sys.Event {
	return sys.Event{Events: events, Fd: int32(p.slot<<1 | uint32(s)), Pad: int32(p.gen)}
}

// handleBatch is a round of l in which the wait answers events.
func handleBatch(l *loop, events ...sys.Event) {
	l.now++
	for i := range events {
		l.handle(&events[i])
	}
	l.goOn()
	l.expireDue()
	l.recycle()
}

func TestTrap13EventBehindClose(t *testing.T) {
	l := idleLoop(t)
	p, peers, s := relayingPair(t, l)
	for side := range peers {
		unix.Shutdown(peers[side], unix.SHUT_WR)
	}
	const ended = unix.EPOLLIN | unix.EPOLLRDHUP
	handleBatch(l,
		eventOf(p, client, ended),
		eventOf(p, backend, ended), // closes the pair
		eventOf(p, client, ended|unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR),
		eventOf(p, backend, unix.EPOLLOUT),
	)
	if len(s.ended) != 1 {
		t.Errorf("Close was called %d times; want once", len(s.ended))
	}
	if n := l.stats.sessions.Load(); n != -1 {
		t.Errorf("the number of sessions changed by %d; want -1", n)
	}
}

func TestTrap13EventOfFormerDescriptor(t *testing.T) {
	l := idleLoop(t)
	old, _, _ := relayingPair(t, l)
	stale := eventOf(old, client, unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR)
	formerFd, formerSlot := old.ends[client].fd, old.slot
	l.close(old, ReasonKilled, 0, sys.Reset)

	// Within the batch: the descriptor is another's, the slot still the old pair's.
	next, peers, s := relayingPair(t, l)
	if next.ends[client].fd != formerFd {
		t.Fatalf("the next pair has descriptor %d; want %d, the former's", next.ends[client].fd, formerFd)
	}
	if next.slot == formerSlot {
		t.Fatal("a slot was used again within the batch")
	}
	unix.Write(peers[client], []byte("x"))
	handleBatch(l, stale)
	wantUntouched(t, next, s)

	// In the next batch the slot is another's as well.
	successor, peers, s := relayingPair(t, l)
	if successor.slot != formerSlot {
		t.Fatalf("the successor has slot %d; want %d, which is free", successor.slot, formerSlot)
	}
	unix.Write(peers[client], []byte("x"))
	handleBatch(l, stale)
	wantUntouched(t, successor, s)
	handleBatch(l, eventOf(successor, client, unix.EPOLLIN))
	if successor.flows[up].bytes != 1 {
		t.Errorf("its own event moved %d bytes; want 1", successor.flows[up].bytes)
	}
	l.close(next, ReasonKilled, 0, sys.Reset)
	l.close(successor, ReasonKilled, 0, sys.Reset)
}

// wantUntouched checks that a pair noticed nothing.
func wantUntouched(t *testing.T, p *pair, s *deafSession) {
	t.Helper()
	if e := p.ends[client]; e.readable || e.hup || e.dead || e.broken {
		t.Errorf("an event of a former pair marked a socket: %+v", e)
	}
	if p.flows[up].bytes != 0 || len(s.ended) != 0 || p.state != stateRelaying {
		t.Errorf("an event of a former pair moved %d bytes and ended %d sessions; want none", p.flows[up].bytes, len(s.ended))
	}
}

// TestTrap13QueueBehindClose has a flow that used up its turn close before the next,
// in which its slot is another's.
func TestTrap13QueueBehindClose(t *testing.T) {
	l := idleLoop(t)
	old, _, _ := relayingPair(t, l)
	l.again(old, up)
	l.close(old, ReasonKilled, 0, sys.Reset)
	l.recycle()
	next, peers, s := relayingPair(t, l)
	if next != old {
		t.Fatal("the slot was not used again")
	}
	unix.Write(peers[client], []byte("x"))
	handleBatch(l)
	wantUntouched(t, next, s)
	l.close(next, ReasonKilled, 0, sys.Reset)
}
