package splice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice/internal/sys"
)

// Trap 20, seen from within: a loop that waits for a permit is woken by the gate that
// has none, and by nobody once the loop is over; one that gives a listener up before
// it knew of the clients in its queue serves them.

// TestTrap20RetireServesQueue retires a socket whose event is still to come.
func TestTrap20RetireServesQueue(t *testing.T) {
	l := idleLoop(t)
	at := netip.MustParseAddrPort("127.0.0.1:0")
	fd, e := openListener(at, 0, false)
	if e == 0 {
		e = sys.Listen(fd, 128)
	}
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(fd)
	opened := 0
	s, e := l.serve(&listener{addr: at, bind: Bind{Handler: refusing{&opened}}}, fd)
	if e != 0 {
		t.Fatal(e)
	}
	addr, _ := sys.LocalAddr(fd)
	const queued = acceptBatch + 10
	for range queued {
		client, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	l.retire(s)
	if opened != queued {
		t.Errorf("%d clients were served; want all %d that were queued", opened, queued)
	}
	if len(l.sockets) != 0 {
		t.Errorf("the loop knows %d sockets; want none", len(l.sockets))
	}
}

// TestTrap20PermitOfAnotherGate has the permit of one gate taken in the moment in
// which the other gets its own back: the loop has to wait for the first one then.
func TestTrap20PermitOfAnotherGate(t *testing.T) {
	l := idleLoop(t)
	shared, own := NewGate(1), NewGate(1)
	woken := false
	s := &socket{
		from: &listener{bind: Bind{Gates: []*Gate{shared, own}}},
		wake: func() { woken = true },
	}
	own.reserve()
	// reserve gives shared's permit back when it finds none of own: this is between its
	// first look and its await.
	shared.await(func() {
		own.release()
		shared.reserve()
	})
	if l.reserve(s) {
		t.Fatal("reserve got a permit of a gate that has none")
	}
	if !s.waiting {
		t.Error("the socket does not wait")
	}
	woken = false
	shared.release()
	if !woken {
		t.Error("the gate with the permit woke nobody")
	}
}

// TestTrap20GateOutlivesEngine wakes who waited for a permit in an engine that is no
// more: the descriptor through which its loop was woken is another's by then.
func TestTrap20GateOutlivesEngine(t *testing.T) {
	r, err := newReactor(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(1)
	gate.reserve()
	ln, err := r.Listen(Bind{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Handler: refusing{new(int)}, Gates: []*Gate{gate}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for deadline := time.Now().Add(40 * time.Second); !gate.waiting.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the loop does not wait for the permit")
		}
	}
	former := int(r.loops[0].wakefd)
	if err := r.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	other, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if other != former {
		if err := unix.Dup3(other, former, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(former)
	}
	gate.release()
	if n, err := unix.Read(other, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("the engine wrote %d bytes to a descriptor that is not its own: %v", n, err)
	}
}

// refusing counts those whom it does not admit.
type refusing struct{ n *int }

func (h refusing) Open(Peer) (Session, error) {
	*h.n++
	return nil, errors.New("not admitted")
}
