package splice

import (
	"testing"

	"golang.org/x/sys/unix"
)

// newBulkPair answers a loop with one pair that relays in splice mode, and the far ends
// of its sockets.
func newBulkPair(t *testing.T) (l *loop, p *pair, far [2]int) {
	t.Helper()
	r := &reactor{o: Options{PipeSize: minPipeSize, SilentAfter: silentAfter}}
	r.budget.max, r.mostStuck = 4, 4
	l, err := newLoop(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.leave)
	p = l.pairs.take()
	p.state, p.first, p.unix = stateRelaying, nobody, [2]bool{true, true}
	for s := range p.ends {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			unix.Close(fds[0])
			unix.Close(fds[1])
		})
		p.ends[s] = end{fd: int32(fds[0]), readable: true, writable: true}
		p.flows[s].splicing = true
		far[s] = fds[1]
	}
	return l, p, far
}

// Rounds whose budget is used up by the first flow go on with the next one, also if both
// are of one pair.
func TestTurnovers(t *testing.T) {
	l, p, far := newBulkPair(t)
	const rounds, bite = 20, 16 << 10
	b := make([]byte, bite)
	for round := range rounds {
		for _, fd := range far {
			unix.Write(fd, b)
		}
		if l.left = 0; round == 0 { // of a round that others have used up
			l.pump(p, up)
			l.pump(p, down)
		}
		l.left = 1
		l.goOn()
		for _, fd := range far {
			unix.Read(fd, b)
		}
		if n := len(l.queue); n != 2 {
			t.Fatalf("after round %d: got %d flows that wait for their turn; want both, once", round+1, n)
		}
	}
	for d := range p.flows {
		if got := p.flows[d].bytes; got < rounds/2*bite {
			t.Errorf("flow %d moved %d bytes in %d rounds; want %d, half of the turns", d, got, rounds, rounds/2*bite)
		}
	}
}

// What a pair that has ended leaves in the queue is not for the next one in its slot.
func TestTurnoverOfAnEndedPair(t *testing.T) {
	l, p, far := newBulkPair(t)
	ends := p.ends
	l.again(p, up)
	l.pairs.free(p)
	if next := l.pairs.take(); next != p {
		t.Fatal("the slot was not used again")
	}
	p.state, p.first, p.unix, p.ends = stateRelaying, nobody, [2]bool{true, true}, ends
	p.flows[up].splicing = true
	l.again(p, up)
	unix.Write(far[client], make([]byte, 16<<10))
	l.left = 1
	l.goOn()
	if n := len(l.queue); n != 1 || p.flows[up].bytes == 0 {
		t.Errorf("after its turn, with %d bytes: got %d places in the queue; want one", p.flows[up].bytes, n)
	}
}

// A bounded flow whose turn came in a round that others had used up has it in the next one.
func TestTurnoverKeepsAReservedTurn(t *testing.T) {
	l, p, far := newBulkPair(t)
	const grant = 10 << 10
	p.limits, p.paces = new(Bandwidth), new([2]pace)
	p.limits.Set(Rates{Up: 1 << 20})
	ln, pc := &p.limits.lanes[up], &p.paces[up]
	ln.shared.take(l.now, 1<<20, 1<<20) // by all others: the next turn is far away
	if n := pc.reserve(ln, l.now, grant, func() int { return grant }); n != 0 {
		t.Fatalf("got %d bytes of a bucket that is used up; want a wait", n)
	}
	l.now = pc.due

	unix.Write(far[client], make([]byte, grant))
	l.left = 0
	l.takeTurns(p)
	ln.shared.take(l.now, 1<<20, 1<<20) // and again
	l.left = roundBudget
	l.goOn()
	if got := p.flows[up].bytes; got != grant {
		t.Errorf("the flow moved %d bytes in its turn; want %d", got, grant)
	}
}
