package splice_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// stuck is a Handler that breaks its promise never to block.
type stuck struct{ entered, leave chan struct{} }

func (s stuck) Open(splice.Peer) (splice.Session, error) {
	s.entered <- struct{}{}
	<-s.leave
	return nil, errors.New("refused")
}

// One loop of several that does not go round is enough not to be alive, and it is
// alive again once it does.
func TestAliveNoticesALoopThatIsStuck(t *testing.T) {
	e, err := splice.New(splice.Options{Type: splice.TypeSplice, Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	h := stuck{make(chan struct{}), make(chan struct{})}
	l, err := e.Listen(splice.Bind{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	<-h.entered

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a loop that is stuck: got %v; want %v", err, context.DeadlineExceeded)
	}
	close(h.leave)
	if err := e.Alive(t.Context()); err != nil {
		t.Errorf("with all going round: got %v; want nil", err)
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
