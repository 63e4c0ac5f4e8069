package splice

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice/internal/sys"
)

// TestAcceptOfClientThatLeft accepts a client that has ended with nothing sent, as those
// do that only look whether somebody listens: no backend hears of it.
func TestAcceptOfClientThatLeft(t *testing.T) {
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
	var undialled leaving
	s, e := l.serve(&listener{addr: at, bind: Bind{Handler: &undialled}}, fd)
	if e != 0 {
		t.Fatal(e)
	}
	addr, _ := sys.LocalAddr(fd)
	client, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	closeWrite(client)
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(time.Millisecond) {
		if n, ok := unsent(client); ok && n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the system does not acknowledge the client's end")
		}
	}
	l.accept(s)
	if undialled.dials != 0 || undialled.result.Reason != ReasonClientClosed {
		t.Errorf("got %d dials and %v; want none and %v", undialled.dials, undialled.result.Reason, ReasonClientClosed)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client reads a byte; want an end")
	}
}

// leaving is a Handler and its one session, whose dials fail.
type leaving struct {
	dials  int
	result Result
}

func (s *leaving) Open(Peer) (Session, error) { return s, nil }

func (s *leaving) Dial(error) (Endpoint, error) {
	s.dials++
	return Endpoint{}, unix.ECONNREFUSED
}

func (s *leaving) Close(r Result) { s.result = r }
